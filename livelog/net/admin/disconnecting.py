"""`disconnect`: close the connections of a user or an address, or one connection."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from livelog.budget.slices import interleaved
from livelog.net import queries
from livelog.net.admin.asking import Asking, UnknownTargetError
from livelog.net.admin.targets import Open, check_spares, found, one_target
from livelog.wire.admin import Disconnect

_STEP = 8
"""Connections that are closed in one step."""


async def disconnect(asking: Asking, command: Disconnect) -> dict[str, Any]:
    """Close the connections that are meant, and tell how many there were."""
    owner = queries.owner(asking.principal, asking.address)
    return {"disconnected": await interleaved(_disconnecting(asking, command), owner)}


def _disconnecting(asking: Asking, command: Disconnect) -> Generator[None, None, int]:
    fields = {
        "connection_id": command.connection_id,
        "user_id": command.user_id,
        "address": command.address,
    }
    target = one_target(**fields)
    if not command.force:
        yield from check_spares(asking, target)
    meant = yield from found(asking.context, target)
    if not meant:
        raise UnknownTargetError(_named(fields), "has no open connection")
    back_in = command.reconnect_after_seconds if command.reconnect else None
    yield from ending(meant, command.reason, back_in)
    return len(meant)


def ending(peers: list[Open], reason: str, back_in: float | None) -> Generator[None, None, None]:
    """Disconnect clients, in steps."""
    why = f"disconnected by a moderator: {reason}" if reason else "disconnected by a moderator"
    for start in range(0, len(peers), _STEP):
        for peer in peers[start : start + _STEP]:
            peer.disconnect(why, back_in)
        yield


def _named(fields: dict[str, Any]) -> str:
    return next(name for name, value in fields.items() if isinstance(value, str))
