"""`publish`: one message at once if there is room for it, later if not.

Nearly every message is admitted in one step and has room: then it is published with others that
came in the same read, without a task. Others wait in a task of the connection, with what is behind
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial

from livelog.budget import backlog
from livelog.budget.slices import interleaved
from livelog.engine.base import Outcome
from livelog.errors import RefusedError
from livelog.net import queries
from livelog.net.websocket.caller import Caller, Reply
from livelog.wire.commands import Publish
from livelog.wire.events import Published
from livelog.wire.record import Draft

_ROOM_SECONDS = 5.0
"""Seconds that a message waits for what its publisher has sent before to be indexed."""


def publish(caller: Caller, command: Publish) -> Reply:
    """Append a message to the log; answer with its outcome, once the engine has said it."""
    ingest = caller.context.ingest
    owner = queries.owner(caller.principal, caller.address)
    steps = ingest.admitting(caller.principal, command.message)

    def answer(outcome: Outcome) -> None:
        if isinstance(outcome, RefusedError):
            refused = outcome.at("message") if outcome.field else outcome
            caller.refuse(refused, command.request_id, "publish")
            return
        caller.send_soon(Published(id=outcome.id, seq=outcome.seq, request_id=command.request_id))

    async def publish_later(draft: Draft | None) -> None:
        if draft is None:
            with _at_message():
                draft = await interleaved(steps, owner)
        try:
            async with asyncio.timeout(_ROOM_SECONDS):
                await interleaved(ingest.making_room(owner, draft), owner)
        except TimeoutError:
            raise backlog.refusal() from None
        ingest.publish([draft], lambda outcomes: answer(*outcomes), owner, "websocket")

    with _at_message():
        draft = _after_a_step(steps)
    if draft is None or not caller.context.gathering.add(owner, draft, answer):
        return partial(publish_later, draft)
    return None


def _after_a_step(steps: Generator[None, None, Draft]) -> Draft | None:
    """Return the message if one step is enough to admit it, as for nearly every one."""
    try:
        next(steps)
    except StopIteration as stop:
        draft: Draft = stop.value
        return draft
    return None


@contextmanager
def _at_message() -> Iterator[None]:
    """Refuse what is wrong with the message as wrong in that field of the command."""
    try:
        yield
    except RefusedError as refused:
        raise refused.at("message") from None
