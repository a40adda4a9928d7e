"""Calls from the server to its reading process, and their form on the wire.

MessagePack behind a length of four bytes. An answer begins with a byte that tells whether it is the
result (`OK`) or the reason why there is none (`FAULT`). One call is under way at a time. The first
thing sent is the key of the store, empty if it is not encrypted: among the arguments of a process
every user of the machine could read it.
"""

from __future__ import annotations

import struct

import msgspec
from msgspec import Struct

from livelog.index.paging import Span
from livelog.index.query import Query
from livelog.wire.messages import MessageType

LENGTH = struct.Struct("!I")
OK, FAULT = b"\0", b"\1"


class PageCall(Struct, frozen=True, tag="page", array_like=True):
    """Ask for a page of the matches with a seq in `(after, upto]`: see `StoreReader.page`."""

    query: Query
    after: int
    upto: int
    span: Span
    ahead: int


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


Call = PageCall | ChunkCall | RecordsCall | DamageCall

encoder = msgspec.msgpack.Encoder()
call_decoder = msgspec.msgpack.Decoder(Call)


def framed(data: bytes) -> bytes:
    """Return `data` behind its length."""
    return LENGTH.pack(len(data)) + data
