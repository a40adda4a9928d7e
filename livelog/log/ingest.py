"""Ingest: every message passes here before the log, wherever it came in.

`admit` does what needs no order: it checks who may publish the message and what the schema cannot
express, stamps what is missing and encodes. `publish` hands admitted messages to the engine, which
recognizes repeated ids, gives the others their order and answers with their places. A door that
takes several messages admits them all before it publishes any, so that one wrong message refuses
them all. Before each publication it waits for its owner to have room in the backlog.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from livelog.auth.principal import Principal
from livelog.budget.backlog import Backlog
from livelog.budget.durations import Durations
from livelog.budget.memory import Memory
from livelog.budget.owner import INTERNAL, Owner
from livelog.engine.base import ActDone, Done, Engine, Node, Outcome
from livelog.errors import MESSAGE_TOO_BIG, PROTOCOL_ERROR, RefusedError
from livelog.index.plan import finish
from livelog.index.terms import finding_terms
from livelog.wire import validation
from livelog.wire.acts import Act
from livelog.wire.ids import uuid7
from livelog.wire.messages import AnyMessage, Message, decoder, encoder
from livelog.wire.record import Draft
from livelog.wire.timestamps import parse_moment, timestamp

Door = Literal["websocket", "http", "program"]
"""Where a message came in."""
Place = Mapping[str, int]
"""Place of a message among several, for the details of a refusal."""

_STEP_BYTES = 4096
"""Bytes of short messages that are admitted in one step: some tenths of a millisecond."""

_ASKED_EACH = 64
"""Messages of which the first is refused when nothing can be taken; what has been admitted has no
place in memory yet, and waits for room when it is published."""


class Ingest:
    """Takes messages in.

    `clock` tells Unix time in seconds, `memory` whether there is room, `backlog` for whom.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], float],
        max_bytes: int,
        memory: Memory | None = None,
        backlog: Backlog | None = None,
    ) -> None:
        self._backlog = backlog or Backlog()
        self._memory = memory
        self._engine = engine
        self._clock = clock
        self._max_bytes = max_bytes
        self.published: Counter[tuple[str, str]] = Counter()
        """Door and type → messages that were published so far, whatever became of them."""
        self.waits = Durations()
        """Times from a publication to its outcome."""

    def admit(self, principal: Principal, message: AnyMessage) -> Draft:
        """Check, stamp and encode one message that `principal` publishes, as `admitting` does."""
        return finish(self.admitting(principal, message))

    def admitting(self, principal: Principal, message: AnyMessage) -> Generator[None, None, Draft]:
        """Check, stamp and encode one message that `principal` publishes, in steps if it is long.

        Raises `RefusedError` when the principal may not publish it, when its id has a U+0000 or is
        known to be that of a message by somebody else, when its timestamp is invalid, when a free
        object is nested too deeply or cannot be written as JSON, when the whole is too big, or when
        nothing can be taken now.
        """
        principal.check_publishes(message)
        _raise(self.refusal)
        return (yield from self._drafting(message))

    def admitting_all(
        self, principal: Principal, several: Iterable[tuple[Place, bytes] | None]
    ) -> Generator[None, None, tuple[list[Place], list[Draft]]]:
        """Do the same with several, given as JSON with their places, in steps; None is a pause.

        Raises `RefusedError` for the first that is wrong, with its place. Whether anything can be
        taken now is asked of some together: that takes as long as to read a short one.
        """
        places, drafts = list[Place](), list[Draft]()
        size = 0
        for found in several:
            if found is None:
                yield
                continue
            place, raw = found
            try:
                message = decode(raw)
                principal.check_publishes(message)
                if len(drafts) % _ASKED_EACH == 0:
                    _raise(self.refusal)
                drafts.append((yield from self._drafting(message)))
            except RefusedError as refused:
                raise refused.explain(place) from None
            places.append(place)
            size += len(raw)
            if size >= _STEP_BYTES:
                size = 0
                yield
        return places, drafts

    def _drafting(self, message: AnyMessage) -> Generator[None, None, Draft]:
        now = self._clock()
        named = message.id is not UNSET
        if message.id is not UNSET:
            if "\0" in message.id:  # SQLite's JSON functions would cut it there
                raise RefusedError(PROTOCOL_ERROR, "id", "must not contain U+0000")
        else:
            message.id = message.prefix + uuid7(int(now * 1000))
        if message.timestamp is UNSET:
            message.timestamp = timestamp(now)
            time = int(now * 1000) * 1000
        else:
            time = parse_moment(message.timestamp, "timestamp")
        keys, text, numbers = yield from finding_terms(message)
        payload = _encode(message)
        if len(payload) > self._max_bytes:
            issue = f"{len(payload)} bytes, at most {self._max_bytes} are allowed"
            raise RefusedError(MESSAGE_TOO_BIG, "", issue)
        tag = message.__struct_config__.tag
        draft = Draft(message.id, tag, time, keys, text, numbers, payload, named)  # type: ignore[arg-type]  # a tag is a MessageType
        if named:
            _raise(self._engine.refusal(draft))
        return draft

    @property
    def refusal(self) -> RefusedError | None:
        """The reason why nothing can be taken now, None when it can."""
        refused = self._engine.refusal()
        return refused if refused or self._memory is None else self._memory.refusal

    @property
    def lag(self) -> float | None:
        """Seconds for which the log may have been ahead of this server; None if it is here."""
        return self._engine.lag

    @property
    def kept_seconds(self) -> float | None:
        """Seconds for which a message stays where a shared log is ordered; None if it is here."""
        return self._engine.kept_seconds

    @property
    def unready(self) -> str:
        """The reason why clients should go to another server; empty without."""
        return self._engine.unready

    @property
    def nodes(self) -> Sequence[Node] | None:
        """The servers that share the log, as far as they were heard; None if it is here alone."""
        return self._engine.nodes

    @property
    def impaired(self) -> str:
        """A fault of the engine that does not show in `refusal`; empty without."""
        return self._engine.impaired

    def has_room(self, owner: Owner, size: int) -> bool:
        """Tell whether `owner` may publish so many bytes now."""
        return self._backlog.has_room(owner, size)

    def making_room(self, owner: Owner, draft: Draft) -> Generator[None, None, None]:
        """Work until there is room for `draft` of `owner` in the backlog, in steps."""
        return self._backlog.making_room(owner, len(draft.payload))

    async def ask(self, question: bytes, seconds: float) -> Mapping[str, bytes | None]:
        """Ask the other servers that share the log; return what each answers, None of silence."""
        return await self._engine.ask(question, seconds)

    def act(self, act: Act, done: ActDone) -> None:
        """Give an act to the engine, which has every server apply it."""
        self._engine.act(act, done)

    def publish(
        self,
        drafts: Sequence[Draft],
        done: Done,
        owner: Owner = INTERNAL,
        door: Door = "program",
    ) -> None:
        """Have `drafts` placed and committed; delivery follows in the next iteration of the loop.

        `done` is called once, with one outcome per draft: perhaps before this returns, perhaps much
        later. A message whose id is known is not taken again: its receipt is the first one's.
        """
        started = perf_counter()

        def answered(outcomes: Sequence[Outcome]) -> None:
            self.waits.add(perf_counter() - started)
            done(outcomes)

        for tag, count in Counter([draft.type for draft in drafts]).items():
            self.published[door, tag] += count
        self._backlog.add(owner, sum([len(draft.payload) for draft in drafts]))
        self._engine.submit(drafts, answered)


def _raise(refused: RefusedError | None) -> None:
    if refused is not None:
        raise refused


def decode(data: bytes) -> AnyMessage:
    """Return a message from JSON. Raises `RefusedError` with the field and what is allowed."""
    try:
        message: AnyMessage = decoder.decode(data)
        return message
    except (ValueError, RecursionError) as error:
        raise validation.refusal(error, AnyMessage, data) from None


def convert(message: Message | dict[str, Any]) -> AnyMessage:
    """Return a message from a struct or a dict, checked as strictly as one from outside."""
    plain = _plain(message) if isinstance(message, Message) else message
    try:
        checked: AnyMessage = msgspec.convert(plain, AnyMessage)
        return checked
    except (ValueError, RecursionError) as error:
        raise validation.refusal(error, AnyMessage, plain) from None


# Only a program that embeds the server can hand over what JSON cannot hold.
_UNWRITABLE = (TypeError, ValueError, RecursionError)


def _plain(message: Message) -> Any:
    try:
        return msgspec.to_builtins(message)
    except _UNWRITABLE as error:
        raise _unwritable(error) from None


def _encode(message: AnyMessage) -> bytes:
    try:
        return encoder.encode(message)
    except _UNWRITABLE as error:
        raise _unwritable(error) from None


def _unwritable(error: Exception) -> RefusedError:
    return RefusedError(PROTOCOL_ERROR, "", f"cannot be written as JSON: {error}")
