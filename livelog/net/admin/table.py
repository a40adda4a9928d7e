"""The table of admin commands: the scope that each needs, and its handler.

Handlers take the one who asks and the checked struct, and return the result; what they do not grant
they raise as `RefusedError`, before anything has been done. The structs are in `wire/admin`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from livelog.auth.principal import ADMIN, MODERATE
from livelog.net.admin.asking import Asking
from livelog.net.admin.disconnecting import block, blocks, disconnect, unblock
from livelog.net.admin.erasing import erase
from livelog.net.admin.listing import connections
from livelog.net.admin.operating import drain, log_level, reload
from livelog.net.admin.records import announce, audit
from livelog.net.admin.redacting import redact
from livelog.wire import admin
from livelog.wire.events import AdminResult


class Entry(NamedTuple):
    """How a command is carried out."""

    scope: str
    """The scope that allows it, besides `admin`, which allows all."""
    handler: Callable[[Asking, Any], Awaitable[Mapping[str, Any]]]


COMMANDS: dict[str, Entry] = {
    "connections": Entry(MODERATE, connections),
    "disconnect": Entry(MODERATE, disconnect),
    "block": Entry(MODERATE, block),
    "unblock": Entry(MODERATE, unblock),
    "blocks": Entry(MODERATE, blocks),
    "audit": Entry(MODERATE, audit),
    "redact": Entry(MODERATE, redact),
    "erase": Entry(ADMIN, erase),
    "announce": Entry(MODERATE, announce),
    "log-level": Entry(ADMIN, log_level),
    "drain": Entry(ADMIN, drain),
    "reload": Entry(ADMIN, reload),
}


async def carry_out(asking: Asking, command: str, fields: dict[str, Any]) -> AdminResult:
    """Carry out a command that comes in at any door. Raises `RefusedError`."""
    entry = COMMANDS.get(command)
    asking.check_may(MODERATE if entry is None else entry.scope)
    checked = admin.decode(command, fields)
    assert entry is not None  # or it would be unknown
    result = await entry.handler(asking, checked)
    nodes = {asking.context.node(): "ok", **asking.nodes}
    return AdminResult(command=command, result={**result}, nodes=nodes)
