"""Reading over plain HTTP: pages of the past, analyses, presence, and the stream of what comes.

A URL stands for the command that a WebSocket client would send; `net/queries` makes it of the
parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from livelog.auth.principal import Principal
from livelog.errors import POLICY_VIOLATION, RefusedError
from livelog.net import queries
from livelog.net.context import Context
from livelog.net.http.memory import held, owner_of, reserve
from livelog.net.http.message import Request, Response, json_response
from livelog.net.http.stream.connection import Stream
from livelog.net.http.stream.request import Follow
from livelog.net.online import OPEN
from livelog.wire.commands import Command, Presence


async def page(
    shape: type[Command], read: queries.Read, context: Context, request: Request
) -> Response:
    """Return a page of the past, as the command `shape` asks for it and `read` finds it."""
    context.limiter.spend("commands", request.address, request.principal)
    with parameters():
        command = queries.command_of(shape, request.parameters)
        return await read_page(context, request, request.principal, read, command)


async def presence(context: Context, request: Request) -> Response:
    """Return who is on line."""
    context.limiter.spend("commands", request.address, request.principal)
    if context.online is None:
        raise RefusedError(POLICY_VIOLATION, "path", OPEN)
    command = queries.command_of(Presence, request.parameters)
    return json_response(context.online.answer(request.principal, command))


async def stream(context: Context, request: Request) -> Response | Stream:
    """Return live messages, or live counts of them, without an end."""
    context.limiter.spend("commands", request.address, request.principal)
    made = Stream(context, request)
    with parameters():
        command = queries.command_of(Follow, request.parameters)
        await made.prepare(command, request.header("last-event-id"))
    return made.head if request.method == "HEAD" else made


async def read_page(
    context: Context, request: Request, principal: Principal, read: queries.Read, command: Any
) -> Response:
    """Read a page as large as the memory allows, as `principal` may."""
    most = reserve(context, request)
    now = context.clock()
    found = await read(context.log, principal, owner_of(request), command, now, most)
    await queries.pause(found)
    return held(context, request, json_response(found))


@contextmanager
def parameters() -> Iterator[None]:
    """A URL has no objects: what is wrong with `filters.date_from` is wrong with `date_from`."""
    try:
        yield
    except RefusedError as refused:
        raise refused.rename(refused.field.removeprefix("filters.")) from None
