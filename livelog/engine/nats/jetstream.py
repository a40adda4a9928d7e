"""The stream on NATS JetStream.

No consumers: live entries come by the stream's `republish` as plain messages, and everything else
is read by batched direct gets, which any replica answers, also without a majority.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import nats.errors
from nats.aio.msg import Msg

from livelog.engine.nats import batch, settings
from livelog.engine.nats.broker import ANSWER_SECONDS, Broker
from livelog.engine.nats.stream import AwayError, Bounds, Entry, StoppedError
from livelog.errors import SERVER_ERROR, ConfigError, RefusedError
from livelog.wire.timestamps import parse_moment

_log = logging.getLogger(__name__)

START_SECONDS = 5.0
"""Seconds in which the brokers have to be reached, and the stream be there, in one attempt."""

_ACKNOWLEDGE_SECONDS = 1.0
"""Seconds after which a batch is sent again."""

_PAUSE_SECONDS = 0.25
"""Seconds between two attempts to find or make the stream."""

_READ_ENTRIES = 200
_READ_BYTES = 4 * 2**20
"""Bounds of what is read at once."""

REPLICAS = 3
"""Brokers that have the stream; on a single broker it is one."""

_ID, _EXPECTED = "Nats-Msg-Id", "Nats-Expected-Stream"
_FORMAT, _BASE = "Livelog-Format", "Livelog-Base"
_BEHIND = "Nats-Expected-Last-Sequence"
_NUMBER, _PREVIOUS, _TIME = "Nats-Sequence", "Nats-Last-Sequence", "Nats-Time-Stamp"
_STATUS, _PENDING = "Status", "Nats-Num-Pending"

# Codes of JetStream's errors.
NOT_FOUND, TAKEN, ALONE, DISABLED = 10059, 10058, 10074, (10039, 10076)
_NO_PEERS = 10005
"""Too few brokers for the replicas, as while they start one after the other."""
_IN_PROCESS = 10158
"""An entry that is sent again while the brokers have yet to agree on it; it may still be lost."""

_BEGAN = datetime(1970, 1, 1, tzinfo=UTC)


class JetStream:
    """One node's view of the stream of the log called `name`.

    `servers` are URLs, `credentials` is the path of a file, "" without, as is `authorities`, with
    the certificates to be trusted. `least_bytes` is the size of the largest message that this node
    may publish.
    """

    def __init__(
        self,
        servers: Sequence[str],
        name: str,
        credentials: str = "",
        least_bytes: int = 0,
        clock: Callable[[], float] = time.time,
        authorities: str = "",
    ) -> None:
        self._name = name
        self._stream = settings.stream_of(name)
        self._clock = clock
        largest = max(least_bytes, batch.MAX_BYTES) + settings.HEAD_BYTES
        self.broker = Broker(servers, name, credentials, largest, authorities)
        self.broker.answered(self._on_answer)
        self.broker.subscribe(settings.live_of(name), self._on_live)
        self.broker.subscribe(settings.nodes_of(name), self._on_word)
        self._reads = 0
        self._answers: dict[str, asyncio.Queue[Msg]] = {}
        """Subject → the answers of the read under way there."""
        self._opened: Bounds | None = None
        self._came: Callable[[Entry], None] = _ignore
        self._heard: Callable[[bytes], None] = _ignore

    # Opening and closing.

    async def open(self) -> Bounds:
        """Connect, and make the stream or check that it fits. Raises `ConfigError`."""
        if self._opened is None:
            try:
                async with asyncio.timeout(START_SECONDS):
                    await self.broker.connect()
                    self._opened = await self._found()
            except (TimeoutError, nats.errors.Error, OSError) as error:
                if self.broker.is_connected and self.broker.forbids:
                    raise self.broker.wrong(self.broker.failure) from None
                raise self.broker.unanswered(error) from None
        return self._opened

    def listen(self, came: Callable[[Entry], None], doubt: Callable[[], None]) -> None:
        """Call `came` with live entries, and `doubt` when some may be missing."""
        self._came = came
        self.broker.keep(doubt)

    def hear(self, heard: Callable[[bytes], None]) -> None:
        """Call `heard` with what nodes say."""
        self._heard = heard

    async def say(self, word: bytes) -> None:
        """Say something to all nodes."""
        await self.broker.publish(settings.nodes_of(self._name), word)

    async def close(self) -> None:
        """Disconnect."""
        await self.broker.close()

    @property
    def max_bytes(self) -> int:
        """Largest body that the broker takes."""
        return (self.broker.max_payload or batch.MAX_BYTES) - settings.HEAD_BYTES

    # The stream.

    async def _found(self) -> Bounds:
        """Find or make the stream. Raises `ConfigError`."""
        while True:
            with suppress(AwayError):
                answer = await self._asked("INFO")
                code = code_of(answer)
                if not code:
                    bounds = self._read_bounds(answer)
                    return bounds._replace(certain=await self._certain(answer, bounds))
                if code in DISABLED:
                    raise self.broker.wrong("the broker has no JetStream")
                if code == NOT_FOUND:
                    await self._make(REPLICAS)
                    continue
                self.broker.failure = issue_of(answer)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _make(self, replicas: int) -> None:
        """Make the stream. Another node may do so at the same moment; one wins."""
        config = settings.wanted(self._name, self._clock(), replicas)
        answer = await self._asked("CREATE", config)
        code = code_of(answer)
        if code == ALONE:
            _log.warning("there is a single broker: what it loses is lost")
            await self._make(1)
        elif code and code != TAKEN:
            self.broker.failure = issue_of(answer)
            if answer["error"].get("code", 500) < 500 and code != _NO_PEERS:
                raise self.broker.wrong(
                    f"the stream {self._stream} cannot be made: {self.broker.failure}"
                )
            await asyncio.sleep(_PAUSE_SECONDS)
        elif not code:
            _log.info("made the stream %s with %d replicas", self._stream, replicas)

    async def _asked(self, what: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask for something about the stream. Raises `AwayError`."""
        data = b"" if body is None else json.dumps(body).encode()
        return await self.broker.request(f"$JS.API.STREAM.{what}.{self._stream}", data)

    def _read_bounds(self, answer: Any) -> Bounds:
        """Return what the broker says of the stream. Raises `ConfigError` if it does not fit."""
        if issue := settings.unfit(self._name, answer["config"]):
            raise self.broker.wrong(f"the stream {self._stream} is not one of livelog's: {issue}")
        return settings.bounds_of(answer)

    async def _certain(self, answer: Any, bounds: Bounds) -> int:
        """Return the number of the first entry a span behind the oldest, if some have gone."""
        if bounds.first <= 1 or bounds.first > bounds.last:
            return bounds.first
        oldest = parse_moment(answer["state"]["first_ts"], "")
        return await self.number_at(oldest + bounds.span)

    async def bounds(self) -> Bounds:
        """Ask the leader what is in the stream."""
        answer = await self._asked("INFO")
        if code_of(answer):
            raise AwayError(f"the stream: {issue_of(answer)}")
        try:
            return self._read_bounds(answer)
        except ConfigError as error:
            raise StoppedError(str(error)) from None

    async def newest(self, known: int) -> int:
        """Ask the leader for the newest entry that is there."""
        answer = await self._asked("INFO", {"deleted_details": True})
        if code_of(answer):
            raise AwayError(f"the stream: {issue_of(answer)}")
        state = answer["state"]
        deleted, number = set(state.get("deleted") or ()), int(state["last_seq"])
        if number < known:
            raise AwayError("the broker does not have yet what others have")
        while number in deleted:
            number -= 1
        return number if number >= state["first_seq"] else 0

    async def append(self, id: str, format: str, body: bytes, behind: int | None = None) -> int:
        """Publish an entry, and wait for the acknowledgement; at one place only, if it is given."""
        base = "" if self._opened is None else str(self._opened.base)
        headers = {_ID: id, _BASE: base, _FORMAT: format, _EXPECTED: self._stream}
        if behind is not None:
            headers[_BEHIND] = str(behind)
        subject = settings.subject_of(self._name)
        answer = await self.broker.request(subject, body, _ACKNOWLEDGE_SECONDS, headers)
        if not code_of(answer):
            return int(answer["seq"])
        issue = f"the broker refuses it: {issue_of(answer)}"
        if answer["error"].get("code", 500) < 500 and code_of(answer) != _IN_PROCESS:
            raise RefusedError(SERVER_ERROR, "", issue)
        raise AwayError(issue)

    async def read(self, after: int) -> tuple[Sequence[Entry], bool]:
        """Read the next entries, from any replica."""
        return await self._get({"seq": after + 1, "batch": _READ_ENTRIES, "max_bytes": _READ_BYTES})

    async def number_at(self, time: int) -> int:
        """Look for the first entry at a time or later."""
        moment = (_BEGAN + timedelta(microseconds=time)).isoformat().replace("+00:00", "Z")
        entries, _ = await self._get({"batch": 1, "start_time": moment})
        return entries[0].number if entries else (await self.bounds()).last + 1

    async def _get(self, wanted: Mapping[str, Any]) -> tuple[list[Entry], bool]:
        """Get entries. Raises `AwayError`, also for an answer that has lost a part on its way."""
        self._reads += 1
        inbox = f"{self.broker.inbox}.{self._reads}"
        answers = self._answers[inbox] = asyncio.Queue()
        subject = f"$JS.API.DIRECT.GET.{self._stream}"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.broker.publish(subject, json.dumps(wanted).encode(), reply=inbox)
                return await _collected(answers)
        except TimeoutError as error:
            raise self.broker.unanswered(error) from None
        finally:
            del self._answers[inbox]

    async def _on_answer(self, message: Msg) -> None:
        answers = self._answers.get(message.subject)
        if answers is not None:
            answers.put_nowait(message)

    async def _on_live(self, message: Msg) -> None:
        self._came(_entry(message, int((message.headers or {})[_PREVIOUS])))

    async def _on_word(self, message: Msg) -> None:
        self._heard(message.data)


async def _collected(answers: asyncio.Queue[Msg]) -> tuple[list[Entry], bool]:
    """Return the entries of an answer, and whether there are more. Raises `AwayError`."""
    entries: list[Entry] = []
    previous = 0  # the broker begins each answer anew
    while True:
        message = await answers.get()
        headers = message.headers or {}
        status = headers.get(_STATUS)
        if status == "404":
            return entries, False
        if int(headers.get(_PREVIOUS, -1)) != previous:
            raise AwayError(f"the broker's answer has a hole (status {status})")
        if status == "204":
            return entries, int(headers.get(_PENDING, 0)) > 0
        entry = _entry(message, 0)
        entries.append(entry._replace(previous=entry.number - 1))
        previous = entry.number


def _entry(message: Msg, previous: int) -> Entry:
    headers = message.headers or {}
    return Entry(
        number=int(headers[_NUMBER]),
        previous=previous,
        time=parse_moment(headers[_TIME], _TIME),
        id=headers.get(_ID, ""),
        base=int(base) if (base := headers.get(_BASE, "")).isdecimal() else 0,
        format=headers.get(_FORMAT, ""),
        body=message.data,
    )


def code_of(answer: Any) -> int:
    """Return the code of the error in an answer, 0 without."""
    error = answer.get("error") or {}
    return int(error.get("err_code") or error.get("code") or 0)


def issue_of(answer: Any) -> str:
    """Return the error in an answer, in the broker's words."""
    return str(answer["error"].get("description", "unknown error"))


def _ignore(came: object) -> None:
    """Do nothing: the callback until somebody listens."""
