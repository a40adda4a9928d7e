"""The herald: tells the other nodes of this one, and the log of what has changed, once per change.

It goes on when this node has stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from livelog.engine.base import Node, Present
from livelog.engine.nats import batch
from livelog.engine.nats.gossip import SAID_EVERY, USERS, Nodes, Word, encoded
from livelog.engine.nats.questions import Questions
from livelog.engine.nats.stream import AwayError, Stream
from livelog.engine.users import Talk

_log = logging.getLogger(__name__)

_LOOKED_EVERY = 1.0
"""Seconds between two looks whether something has changed."""

_TOLD_EVERY = 5.0
"""Seconds between two lines in the log about a node that is not ready."""


class Health(NamedTuple):
    """How this node is."""

    seq: int
    lag: float
    issue: str
    """Empty if it is well."""
    impaired: str
    """The same, but for what is told elsewhere or passes at once."""
    unready: str
    """The reason why it has not had all there is so far; empty once it has had."""


class Herald:
    """The voice and the ears of one node. `id` is that of the process."""

    def __init__(self, stream: Stream, id: str, health: Callable[[], Health]) -> None:
        self.present: Present = _absent
        self.talk: Talk | None = None
        self._stream = stream
        self._id = id
        self._health = health
        self._nodes = Nodes(id)
        self.questions = Questions(id, stream.say)
        self._loop: asyncio.AbstractEventLoop
        self._tasks: list[asyncio.Task[None]] = []
        self._there: set[str] = set()
        """Ids of the nodes that were heard when this one spoke last."""

    def start(self) -> None:
        """Begin to say, to hear and to tell."""
        self._loop = asyncio.get_running_loop()
        self._stream.hear(self._hear)
        self._tasks = [self._loop.create_task(main()) for main in (self._say, self._tell)]

    def _hear(self, word: bytes) -> None:
        if self.questions.hear(word):
            return
        self._nodes.hear(word, self._loop.time())
        if self.talk is not None and word.startswith(USERS) and not self._is_own(word):
            self.talk.hear(word)

    def _is_own(self, word: bytes) -> bool:
        return word[len(USERS) :].startswith(b'["%b"' % self._id.encode())

    async def ask(self, question: bytes, seconds: float) -> dict[str, bytes | None]:
        """Return by name what the other nodes answer, None of those that do not in time."""
        others = {node.id: node.name for node in self.nodes if node.id != self._id}
        answers = await self.questions.ask(question, others, seconds)
        return {name: answers.get(id) for id, name in others.items()}

    @property
    def nodes(self) -> list[Node]:
        """The nodes that were heard, this one included."""
        return self._nodes.nodes(self._loop.time())

    def all_read(self, format: str) -> bool:
        """Tell whether all nodes that are heard read a format; False while none is."""
        nodes = self.nodes
        return bool(nodes) and all(format in node.formats for node in nodes)

    async def close(self) -> None:
        """Say that this node leaves, and be silent."""
        self.questions.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
            with suppress(AwayError):
                await self._speak(leaving=True)

    async def _say(self) -> None:
        """Say how this node is, again and again."""
        while True:
            with suppress(AwayError):
                await self._speak()
            await asyncio.sleep(SAID_EVERY)

    async def _speak(self, *, leaving: bool = False) -> None:
        """Say how this node is, once its doors are open. Raises `AwayError`."""
        if (present := self.present()) is None:
            return
        health = self._health()
        word = Word(
            id=self._id,
            node=present.name,
            version=present.version,
            formats=sorted(batch.FORMATS),
            seq=health.seq,
            lag=health.lag,
            connections=present.connections,
            users=present.users,
            keeps_from=present.keeps_from,
            issue=health.issue or present.impaired,
            leaving=leaving,
        )
        await self._stream.say(encoded(word))
        if self.talk is not None and not leaving:
            self._note_nodes(self.talk)
            for about_users in self.talk.words(self._id):
                await self._stream.say(about_users)

    def _note_nodes(self, talk: Talk) -> None:
        there = {node.id for node in self.nodes}
        talk.among(self._id, there, bool(there - self._there))
        self._there = there

    async def _tell(self) -> None:
        """Log how far this node is while it starts, and who comes and goes, and what is wrong."""
        told, due, ill = "", self._loop.time() + _TOLD_EVERY, False
        while True:
            await asyncio.sleep(_LOOKED_EVERY)
            health, now = self._health(), self._loop.time()
            if health.unready not in ("", told) and now >= due:
                _log.warning("not ready: %s", health.unready)
                told, due = health.unready, now + _TOLD_EVERY
            if not health.unready and bool(health.impaired) != ill:
                ill = not ill
                _log.warning("degraded: %s" if ill else "well again%s", health.impaired)
            news, faults = self._nodes.news()
            for line in news:
                _log.info("%s", line)
            for line in faults:
                _log.warning("%s", line)


def _absent() -> None:
    """Return None: nobody has said yet how this server is."""
