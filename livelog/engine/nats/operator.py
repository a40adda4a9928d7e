"""An operator's view of a shared log: the stream as its leader tells of it, and the nodes heard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import nats.errors

from livelog.config.address import SharedLog
from livelog.engine.base import Node
from livelog.engine.nats import settings
from livelog.engine.nats.broker import named
from livelog.engine.nats.gossip import SAID_EVERY, Nodes
from livelog.engine.nats.jetstream import NOT_FOUND, START_SECONDS, JetStream, code_of, issue_of
from livelog.engine.nats.stream import AwayError, Bounds

_HEARD_SECONDS = 1.5 * SAID_EVERY
"""Seconds in which every node that is there says something."""


class Operator:
    """A connection that changes nothing by itself. Its methods raise `AwayError`."""

    def __init__(self, log: SharedLog, creds: str) -> None:
        self.name = log.name
        self.stream = JetStream(log.servers, log.name, creds)
        self._nodes = Nodes("")
        self.stream.hear(lambda word: self._nodes.hear(word, asyncio.get_running_loop().time()))

    async def info(self) -> Any:
        """Return what the stream's leader tells of it; None if there is no stream."""
        answer = await self.ask("INFO")
        if code_of(answer) == NOT_FOUND:
            return None
        return good(answer)

    async def change(self, what: str, config: Mapping[str, Any]) -> Any:
        """Make (`CREATE`) or change (`UPDATE`) the stream."""
        return good(await self.ask(what, config))

    async def nodes(self) -> list[Node]:
        """Listen until every node has said something."""
        await asyncio.sleep(_HEARD_SECONDS)
        return self._nodes.nodes(asyncio.get_running_loop().time())

    def bounds(self, info: Any) -> Bounds:
        """Return the bounds of a stream. Raises `ConfigError` for one that is not livelog's."""
        if issue := settings.unfit(self.name, info["config"]):
            raise self.stream.broker.wrong(f"the stream is not one of livelog's: {issue}")
        return settings.bounds_of(info)

    async def ask(self, what: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask for something about the stream; the answer may be an error."""
        subject = f"$JS.API.STREAM.{what}.{settings.stream_of(self.name)}"
        data = b"" if body is None else json.dumps(body).encode()
        return await self.stream.broker.request(subject, data)


def good(answer: Any) -> Any:
    """Return an answer of the brokers. Raises `AwayError` for an error."""
    if code_of(answer):
        raise AwayError(f"the brokers: {issue_of(answer)}")
    return answer


@asynccontextmanager
async def connected(log: SharedLog, creds: str) -> AsyncIterator[Operator]:
    """Connect to the brokers of a log.

    Raises `AwayError` when none answers, and `ConfigError` when they refuse.
    """
    operator = Operator(log, creds)
    try:
        try:
            async with asyncio.timeout(START_SECONDS):
                await operator.stream.broker.connect()
        except (TimeoutError, nats.errors.Error, OSError) as error:
            why = operator.stream.broker.failure or named(error)
            raise AwayError(f"no broker is reached: {why}") from None
        yield operator
    finally:
        await operator.stream.close()
