"""`log-level`, `drain` and `reload`: commands to one server.

Where several servers share a log they name the server. They work when the store does not: that is
when an operator needs them most.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from livelog.config import logs
from livelog.errors import POLICY_VIOLATION, PROTOCOL_ERROR, RefusedError
from livelog.net.admin.acting import note
from livelog.net.admin.asking import Asking
from livelog.net.admin.nodes import check_known, names
from livelog.net.drain import drain as draining_of
from livelog.wire.admin import Drain, LogLevel, Reload

Json = dict[str, Any]


async def log_level(asking: Asking, command: LogLevel) -> Json:
    """Set the least level of the lines that this server logs."""
    _check_here(asking, command.node)
    logs.set_level(command.level)
    noted = await note(asking, "log-level", command.reason, command.level)
    return {"level": command.level, **noted}


async def drain(asking: Asking, command: Drain) -> Json:
    """Begin to disconnect all clients of this server, or take clients again."""
    _check_here(asking, command.node)
    context = asking.context
    if context.draining.stopping:
        raise RefusedError(POLICY_VIOLATION, "", "the server is stopping")
    clients = len(context.limiter.connections.websockets)
    detail = "undo" if command.undo else ""
    noted = await note(asking, "drain", command.reason, detail)
    if command.undo:
        context.draining.cancel()
        context.ending.clear()
    elif not context.ending.is_set():
        draining = draining_of(context, asyncio.Event())
        context.draining.begin(context.loop.create_task(draining))
    return {"draining": not command.undo, "clients": clients, **noted}


async def reload(asking: Asking, command: Reload) -> Json:
    """Read certificate, API keys and settings again, and report what has changed."""
    _check_here(asking, command.node)
    assert asking.context.reload is not None  # a server that runs has one
    report: Json = msgspec.to_builtins(asking.context.reload())
    return {**report, **await note(asking, "reload", command.reason)}


def _check_here(asking: Asking, node: str | UnsetType) -> None:
    """Check that a command is for this server. Raises `RefusedError`."""
    here, known = asking.context.node(), names(asking)
    if node is UNSET:
        if len(known) > 1:
            issue = "required: several servers share the log"
            raise RefusedError(PROTOCOL_ERROR, "node", issue, allowed=known)
        return
    check_known(asking, node)
    if node != here:
        issue = f"is another server than this one, {here}: give the command there"
        raise RefusedError(PROTOCOL_ERROR, "node", issue)
