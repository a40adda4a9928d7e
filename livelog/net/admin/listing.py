"""`connections`: a page of those of this server, or of all servers that share the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from livelog.budget.slices import interleaved, long_step
from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.net import queries
from livelog.net.admin.asking import Asking
from livelog.net.admin.connections import page
from livelog.net.admin.nodes import ask_others, check_known
from livelog.wire.admin import Connections

Json = dict[str, Any]

_MOST = 1000
"""Connections that are listed of several servers: each tells as many, of which the first are."""

_ORDERS: dict[str, Callable[[Json], Any]] = {
    "since": lambda row: row["since"],
    "behind": lambda row: -row["behind"],
    "bytes_sent": lambda row: -(row["bytes_sent"] or 0),
}
"""Order → the key by which rows are sorted."""


async def connections(asking: Asking, command: Connections) -> Json:
    """List a page of the open connections, and tell how many there are in all."""
    here, node = asking.context.node(), command.node
    if node is not UNSET:
        check_known(asking, node)
    several = asking.context.ingest.nodes is not None and node is UNSET
    asked = _from_the_first(command) if several else command
    pages = list((await ask_others(asking, asked)).values())
    if node in (UNSET, here):
        owner = queries.owner(asking.principal, asking.address)
        pages.insert(0, await interleaved(page(asking.context, asked), owner))
    await long_step()  # to sort and encode a thousand rows is not cut
    rows = [row for each in pages for row in each["connections"]]
    if several:
        rows.sort(key=_ORDERS[command.sort])
        rows = rows[command.offset : command.offset + command.limit]
    return {
        "connections": rows,
        "total_count": sum(each["total_count"] for each in pages),
        "limit": command.limit,
        "offset": command.offset,
    }


def _from_the_first(command: Connections) -> Connections:
    """Ask for all rows up to the page's end: each server may have all of them."""
    end = command.offset + command.limit
    if end > _MOST:
        issue = f"of several servers the first {_MOST} are listed; name one as node for more"
        raise RefusedError(PROTOCOL_ERROR, "offset", issue)
    return replace(command, offset=0, limit=end)
