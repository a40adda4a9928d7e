"""How a command becomes an act: given to the engine, and noted with who, when and why."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.net.admin.asking import Asking
from livelog.wire import acts
from livelog.wire.acts import Act, Operate
from livelog.wire.timestamps import timestamp

_log = logging.getLogger(__name__)


async def enact(asking: Asking, kind: type[Act], reason: str, **fields: Any) -> int:
    """Have every server apply an act, and return its seq. Raises `RefusedError`.

    The one who asks may have been blocked since: to find what is meant may take a while.
    """
    asking.check_is_welcome()
    return await _enacted(asking, kind, reason, **fields)


async def _enacted(asking: Asking, kind: type[Act], reason: str, **fields: Any) -> int:
    context = asking.context
    at = timestamp(context.clock())
    act = kind(by=asking.principal.id, at=at, reason=reason, **fields)
    _check(act)
    answered: asyncio.Future[int | RefusedError] = context.loop.create_future()

    def done(outcome: int | RefusedError) -> None:
        if not answered.done():  # the one who asked may have gone
            answered.set_result(outcome)

    context.ingest.act(act, done)
    outcome = await answered
    if isinstance(outcome, RefusedError):
        raise outcome
    return outcome


def _check(act: Act) -> None:
    """Check that every log can keep an act, before any has it. Raises `RefusedError`."""
    try:
        size = len(acts.encode(act))
    except UnicodeEncodeError:  # no JSON can have it, but what a program gives
        raise RefusedError(PROTOCOL_ERROR, "", "a text holds half a surrogate pair") from None
    if size > acts.MAX_BYTES:
        issue = f"makes an act of {size} bytes, of {acts.MAX_BYTES} at most; narrow it"
        raise RefusedError(PROTOCOL_ERROR, "", issue)


async def note(asking: Asking, command: str, reason: str, detail: str = "") -> dict[str, Any]:
    """Note what was done to this server, and return what the reply says of that.

    When the disk is full, the log level can be set all the same; then nothing is noted but here.
    """
    node = asking.context.node()
    return await noted(asking, command, Operate, reason, command=command, node=node, detail=detail)


async def noted(
    asking: Asking, what: str, kind: type[Act], reason: str, **fields: Any
) -> dict[str, Any]:
    """Note that `what` was done, by an act, and return what the reply says of that."""
    try:
        await _enacted(asking, kind, reason, **fields)
    except RefusedError as refused:
        who = asking.principal.id
        _log.warning("%s by %s is not in the audit log: %s", what, who, refused)
        return {"audited": False}
    return {"audited": True}
