"""Messages between the server and its reading process, and their form on the wire.

A length of four bytes, and JSON to the process, since a bound of an expression may be an integer of
more than 64 bits, MessagePack from it. The server sends an `Opening`, then calls (`Ask`), each
with a number, calls that nobody waits for any more (`Drop`), and `Beat`s, to which the process
answers at once as long as it lives. An answer is the number of its call and a byte that tells
whether the result follows (`OK`), a `Fault`, or a part of a long result (`PART`), of which the rest
comes later; calls are answered in any order. The key is in the
`Opening`, because among the arguments of a process every user of the machine could read it.
"""

from __future__ import annotations

import signal
import struct
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from livelog.budget.owner import Owner
from livelog.index.analysis.question import Question
from livelog.index.paging import Span
from livelog.index.query import Query
from livelog.wire.messages import MessageType

LENGTH = struct.Struct("!I")
HEAD = struct.Struct("!Ic")
"""Number of the call, and `OK`, `FAULT` or `PART`."""
OK, FAULT, PART = b"\0", b"\1", b"\2"
BEAT = 0
"""Number of the answers to beats; calls have higher ones."""

LARGEST = 1 << 28
"""Bytes of the largest message; a longer one is the noise of a process that has gone wrong."""

SPARED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that are for the server alone, also when all processes of its group get them."""

INDEX_FAILED = 3
"""Exit code of a process that has deleted its index because it was damaged."""

MEMORY_BYTES = 96 << 20
"""Memory that the reading process may use for its index by default."""


class PageCall(Struct, frozen=True, tag="page", array_like=True):
    """Ask for a page of the matches with a seq in `(after, upto]`: see `StoreReader.page`."""

    query: Query
    after: int
    upto: int
    span: Span
    ahead: int


class AnalyzeCall(Struct, frozen=True, tag="analyze", array_like=True):
    """Ask for counts of the matches with a seq in `(after, upto]`: see `StoreReader.analyze`."""

    query: Query
    after: int
    upto: int
    question: Question


class ChunkCall(Struct, frozen=True, tag="chunk", array_like=True):
    """Ask for the next messages after `cursor`: see `StoreReader.chunk`."""

    cursor: int
    upto: int
    parts: tuple[tuple[MessageType, Query], ...]
    max_bytes: int


class RecordsCall(Struct, frozen=True, tag="records", array_like=True):
    """Ask for whole messages in their order: see `StoreReader.records`."""

    cursor: int
    upto: int
    limit: int


class DamageCall(Struct, frozen=True, tag="damage", array_like=True):
    """Ask for the damage that has been found so far: see `rows.Damage`."""


class CleanCall(Struct, frozen=True, tag="clean", array_like=True):
    """Ask whether the index has nothing any more of what was redacted."""


Call = PageCall | AnalyzeCall | ChunkCall | RecordsCall | DamageCall | CleanCall


class Opening(Struct, frozen=True, array_like=True):
    """The first message: what the process needs besides the path."""

    key: bytes
    """Key of the store, empty if it is not encrypted."""
    memory_bytes: int
    rest: float = 0.0
    """Seconds for which no index is made, since it has failed again and again."""


class Ask(Struct, frozen=True, tag="ask", array_like=True):
    """A call, and the owner whose turns it takes."""

    number: int
    owner: Owner
    call: Call


class Drop(Struct, frozen=True, tag="drop", array_like=True):
    """The call of this number is not waited for any more."""

    number: int


class Beat(Struct, frozen=True, tag="beat", array_like=True):
    """A request for a sign of life, which is the `Progress` of the index."""


class Progress(Struct, frozen=True, array_like=True):
    """Messages that are indexed, of those in the store."""

    indexed: int
    count: int


class Fault(Struct, frozen=True, array_like=True):
    """The reason why a call has no result."""

    issue: str
    retry_after: float | None = None
    """Seconds after which the same call may have one; None if waiting does not help."""
    indexed: float | None = None
    """Share of the messages that can be searched, where that is the reason."""


call_encoder = msgspec.json.Encoder()
"""Encoder of what the server sends."""
opening_decoder = msgspec.json.Decoder(Opening)
message_decoder = msgspec.json.Decoder(Ask | Drop | Beat)

encoder = msgspec.msgpack.Encoder()
"""Encoder of what the process sends."""
fault_decoder = msgspec.msgpack.Decoder(Fault)
progress_decoder = msgspec.msgpack.Decoder(Progress)


def framed(data: bytes) -> bytes:
    """Return `data` behind its length."""
    return LENGTH.pack(len(data)) + data


def unframed(received: bytearray) -> Iterator[bytes]:
    """Take every whole message out of what was received."""
    while len(received) >= LENGTH.size:
        [length] = LENGTH.unpack_from(received)
        end = LENGTH.size + length
        if len(received) < end:
            return
        data = bytes(received[LENGTH.size : end])
        del received[:end]
        yield data
