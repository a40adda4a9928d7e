"""One message on its way into the log, and at its place in it.

A `Draft` is a checked message: encoded, but without a place. Once the engine has given it a `seq`
it becomes a `Record`, whose frame is the very bytes every subscriber gets and every history page is
cut from.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from livelog.wire import frames
from livelog.wire.messages import MessageType


class Draft(NamedTuple):
    """A checked and encoded message that has no place in the log yet."""

    id: str
    type: MessageType
    time: int
    keys: tuple[str, ...]
    """`field=value` for every filter field that the message has a value for."""
    text: str
    """Everything a search looks into, folded."""
    payload: bytes
    named: bool = True
    """The producer has chosen the id, so that it may not be new."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A message at its place in the log."""

    seq: int
    id: str
    type: MessageType
    time: int
    """The message's timestamp in microseconds since 1970."""
    keys: tuple[str, ...]
    text: str
    frame: bytes

    @property
    def payload(self) -> bytes:
        """The message as JSON, with its `seq`."""
        return frames.payload(self.frame)


def place(draft: Draft, seq: int) -> Record:
    """Give `draft` its place: the payload gets its last field, `seq`, and is framed once."""
    frame = frames.text(b'%b,"seq":%d}' % (draft.payload[:-1], seq))
    return Record(seq, draft.id, draft.type, draft.time, draft.keys, draft.text, frame)


class _Identified(msgspec.Struct):
    id: str


_id_decoder = msgspec.json.Decoder(_Identified)


def id_of(payload: bytes) -> str:
    """The id in a record's payload."""
    return _id_decoder.decode(payload).id


class Receipt(NamedTuple):
    """Where a published message stands."""

    id: str
    seq: int
