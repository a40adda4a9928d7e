"""Questions of one node to all others, and their answers, on the subject of the gossip.

They are for what people are shown, such as who is connected where. A node that does not answer in
time holds nobody up. All nodes hear all answers, so a question is for people to ask, not for
programs to repeat. The number of answers under way is bounded, as is the size of each.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection

import msgspec

from livelog.engine.base import Answer
from livelog.engine.nats.stream import AwayError

_log = logging.getLogger(__name__)

_MOST_UNDER_WAY = 8
_MAX_QUESTION, _MAX_ANSWER = 16 * 2**10, 2**20
"""Bytes."""


class Question(msgspec.Struct, frozen=True, tag="question", tag_field="kind"):
    """A question of a node."""

    id: str
    node: str
    """Id of the process that asks."""
    body: msgspec.Raw


class Reply(msgspec.Struct, frozen=True, tag="answer", tag_field="kind"):
    """An answer of a node."""

    id: str
    """That of the question."""
    node: str
    body: msgspec.Raw


_BEGIN = b'{"kind":"'
_decoder = msgspec.json.Decoder(Question | Reply)


class _Open:
    """A question that waits for answers."""

    def __init__(self, wanted: Collection[str]) -> None:
        self.wanted = set(wanted)
        self.answers: dict[str, bytes] = {}
        self.complete = asyncio.Event()

    def take(self, reply: Reply) -> None:
        if reply.node in self.wanted:
            self.answers[reply.node] = bytes(reply.body)
        if self.answers.keys() == self.wanted:
            self.complete.set()


class Questions:
    """The questions and answers of one node. `own` is its id, `say` tells something to all."""

    def __init__(self, own: str, say: Callable[[bytes], Awaitable[None]]) -> None:
        self.answer: Answer | None = None
        self._own = own
        self._say = say
        self._open: dict[str, _Open] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def ask(
        self, question: bytes, nodes: Collection[str], seconds: float
    ) -> dict[str, bytes]:
        """Return what these nodes answer in time, by their ids; `question` is JSON."""
        if not nodes:
            return {}
        id = secrets.token_hex(8)
        self._open[id] = waiting = _Open(nodes)
        try:
            async with asyncio.timeout(seconds):
                body = msgspec.json.encode(Question(id, self._own, msgspec.Raw(question)))
                await self._say(body)
                await waiting.complete.wait()
        except (TimeoutError, AwayError):
            pass
        finally:
            del self._open[id]
        return waiting.answers

    def hear(self, body: bytes) -> bool:
        """Take a question or an answer; False if it is something else."""
        if not body.startswith(_BEGIN):
            return False
        if len(body) <= _MAX_ANSWER:
            try:
                self._take(_decoder.decode(body))
            except ValueError as error:
                _log.debug("a question or an answer is malformed, and passed over: %s", error)
        return True

    def close(self) -> None:
        """Answer nothing more."""
        for task in self._answering:
            task.cancel()

    def _take(self, item: Question | Reply) -> None:
        if isinstance(item, Reply):
            if item.id in self._open:
                self._open[item.id].take(item)
        elif item.node != self._own and len(item.body) <= _MAX_QUESTION:
            self._begin(item)

    def _begin(self, question: Question) -> None:
        if self.answer is not None and len(self._answering) < _MOST_UNDER_WAY:
            task = asyncio.get_running_loop().create_task(self._reply(question, self.answer))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _reply(self, question: Question, answer: Answer) -> None:
        try:
            body = msgspec.Raw(await answer(bytes(question.body)))
            await self._say(msgspec.json.encode(Reply(question.id, self._own, body)))
        except AwayError:
            pass  # the one who asks is told that there is no answer
        except Exception:
            _log.exception("a question of another node could not be answered")
