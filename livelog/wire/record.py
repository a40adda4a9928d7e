"""A message before it has a place in the log, and after.

A `Draft` is checked and encoded, but has no seq. Once the engine has given it one it becomes a
`Record`. The frame of a record is made once: subscribers get these bytes, and history pages are cut
from them.
"""

from typing import NamedTuple

import msgspec

from livelog.wire import frames
from livelog.wire.messages import MessageType


class Draft(NamedTuple):
    """A checked and encoded message without a place in the log."""

    id: str
    type: MessageType
    time: int
    keys: tuple[str, ...]
    """`field=value` for every filter field that the message has a value for, and other terms."""
    text: str
    """The searchable text, case-folded."""
    numbers: tuple[tuple[str, float], ...]
    """Path and value of every number."""
    payload: bytes
    named: bool = True
    """True when the producer chose the id, so that it may be known already."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A message with its place in the log."""

    seq: int
    id: str
    type: MessageType
    time: int
    """The message's timestamp in microseconds since 1970."""
    keys: tuple[str, ...]
    text: str
    numbers: tuple[tuple[str, float], ...]
    frame: bytes

    @property
    def payload(self) -> bytes:
        """The message as JSON, with its `seq`."""
        return frames.payload(self.frame)


def place(draft: Draft, seq: int) -> Record:
    """Make the record of `draft` at `seq`: append `seq` to its JSON as last field, and frame it."""
    frame = frames.text(b'%b,"seq":%d}' % (draft.payload[:-1], seq))
    id, tag, time, keys, text, numbers, _, _ = draft
    return Record(seq, id, tag, time, keys, text, numbers, frame)


class _Identified(msgspec.Struct):
    id: str


class Author(msgspec.Struct):
    """The author of a message: the user who says it. Of the other types it is the game."""

    type: str
    user_id: str = ""
    from_user_id: str = ""


class _Placed(msgspec.Struct):
    seq: int


_seq_decoder = msgspec.json.Decoder(_Placed)
_id_decoder = msgspec.json.Decoder(_Identified)
_author_decoder = msgspec.json.Decoder(Author)


def id_of(payload: bytes) -> str:
    """Return the id in a payload."""
    return _id_decoder.decode(payload).id


def seq_of(payload: bytes) -> int:
    """Return the seq in the payload of a delivered message."""
    return _seq_decoder.decode(payload).seq


def author_of(payload: bytes) -> Author:
    """Return the author of a message, given as JSON with or without its seq."""
    return _author_decoder.decode(payload)


class Origin(NamedTuple):
    """The extent of a log that is ordered elsewhere, as far as it can still be had."""

    began: int
    """Seq above which all of its seqs are. It names the log: no two have the same."""
    joins_from: int
    """Lowest seq at which a store may end that misses nothing of what is gone elsewhere."""
    gone_upto: int
    """Seq up to which a store that does miss something has to do without."""


UNKNOWN = Origin(0, 0, 0)
"""The extent of a log that cannot be asked for now: what is here is shown until it can."""


class Known(NamedTuple):
    """A message that is in the log already, found by its id."""

    seq: int
    payload: bytes


class Receipt(NamedTuple):
    """The id and the seq of a published message.

    >>> receipt = Receipt("msg_1", 1764763200000000)
    >>> receipt.seq
    1764763200000000
    """

    id: str
    seq: int
