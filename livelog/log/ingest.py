"""The way in: from a decoded message to its place in the log. All doors end here.

`prepare` does what needs no order: it checks what the schema cannot say, stamps what is missing
and encodes. `publish` gives the prepared messages their order and commits them. A door that takes
several messages prepares them all before it publishes any, which makes it all or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from livelog.engine.local import LocalEngine
from livelog.errors import MESSAGE_TOO_BIG, POLICY_VIOLATION, PROTOCOL_ERROR, RefusedError
from livelog.index.terms import terms
from livelog.log.log import Log
from livelog.wire import validation
from livelog.wire.ids import uuid7
from livelog.wire.messages import AnyMessage, Message, decoder, encoder
from livelog.wire.moments import parse_moment, timestamp
from livelog.wire.record import Draft, Receipt, Record, place

Done = Callable[[list[Receipt], RefusedError | None], None]
"""Called once when the messages are safe, or with the reason why they are not."""


class _Author(msgspec.Struct):
    """Who says something: an id is theirs. Of the other types the game is the only author."""

    type: str
    user_id: str = ""
    from_user_id: str = ""


_author = msgspec.json.Decoder(_Author)


class Ingest:
    """Takes messages in. `clock` tells Unix time in seconds."""

    def __init__(
        self, engine: LocalEngine, log: Log, clock: Callable[[], float], max_bytes: int
    ) -> None:
        self._engine = engine
        self._log = log
        self._clock = clock
        self._max_bytes = max_bytes

    def prepare(self, message: AnyMessage) -> Draft:
        """Check, stamp and encode one message.

        Raises `RefusedError` when its id has a U+0000 or is that of a message by somebody else,
        when its timestamp is none, when a free object is nested too deeply or cannot be written as
        JSON, when the whole is too big, or when the log takes nothing now.
        """
        if (refusal := self._log.refusal) is not None:
            raise refusal
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
        keys, text = terms(message)
        payload = _encode(message)
        if len(payload) > self._max_bytes:
            issue = f"{len(payload)} bytes, at most {self._max_bytes} are allowed"
            raise RefusedError(MESSAGE_TOO_BIG, "", issue)
        if named:
            self._check_owner(message.id, payload)
        tag = message.__struct_config__.tag
        return Draft(message.id, tag, time, keys, text, payload, named)  # type: ignore[arg-type]  # a tag is a MessageType

    def publish(self, drafts: Sequence[Draft], done: Done) -> list[Receipt]:
        """Give `drafts` their order and commit them; delivery follows in the next tick.

        A message whose id is in the window already is not taken again: its receipt is the first
        one's.
        """
        receipts: list[Receipt] = []
        fresh: dict[str, Record] = {}
        for draft in drafts:
            seq = self._known(draft, fresh) if draft.named else None
            if seq is None:
                seq = self._engine.next(self._clock())
                fresh[draft.id] = place(draft, seq)
            receipts.append(Receipt(draft.id, seq))
        self._log.commit(list(fresh.values()), lambda refused: done(receipts, refused))
        return receipts

    def _check_owner(self, id: str, payload: bytes) -> None:
        """Whoever used an id first may repeat the message; from others it would only be lost."""
        first = self._log.payload_of(id)
        if first is not None and _author.decode(first) != _author.decode(payload):
            raise RefusedError(POLICY_VIOLATION, "id", "is that of a message by somebody else")

    def _known(self, draft: Draft, fresh: dict[str, Record]) -> int | None:
        """The seq of the message with this id, if there is one."""
        return fresh[draft.id].seq if draft.id in fresh else self._log.seq_of(draft.id)


def decode(data: bytes) -> AnyMessage:
    """A message from JSON. Raises `RefusedError` that names the field and what is allowed."""
    try:
        message: AnyMessage = decoder.decode(data)
        return message
    except (ValueError, RecursionError) as error:
        raise validation.refusal(error, AnyMessage, data) from None


def convert(message: Message | dict[str, Any]) -> AnyMessage:
    """A message from a struct or a plain dict, checked as strictly as one from outside."""
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
