"""Checksums of the index on disk: each blob begins with one, which also covers where it stands.

So a blob that has been changed, or moved to another place, is noticed when it is read.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Sequence
from hashlib import blake2b

from pyroaring import BitMap

_CHECK = struct.Struct("<I")


def packed(id: int, term: str, positions: BitMap) -> bytes:
    """Return a posting list as it is stored."""
    positions.run_optimize()
    return sealed(id, term, positions.serialize())


def unpacked(id: int, term: str, data: bytes) -> BitMap:
    """Return the posting list that was stored so."""
    return BitMap.deserialize(checked(id, term, data))


def sealed(id: int, place: str, data: bytes) -> bytes:
    """Return `data` behind its checksum, which also covers the place it belongs to."""
    return _CHECK.pack(zlib.crc32(data, zlib.crc32(place.encode(), id))) + data


def checked(id: int, place: str, blob: object) -> bytes:
    """Return the data behind a checksum. Raises `sqlite3.DatabaseError` if it is not that.

    A damaged value may be of any type, in the column of a strict table, too.
    """
    if not isinstance(blob, bytes):
        raise damaged(id, place)
    data = blob[_CHECK.size :]
    if blob[: _CHECK.size] != _CHECK.pack(zlib.crc32(data, zlib.crc32(place.encode(), id))):
        raise damaged(id, place)
    return data


def resealed(id: int, other: int, place: bytes, blob: object) -> tuple[bytes, bytes]:
    """Return the data behind a checksum, and the same sealed for this place of another segment.

    Raises `sqlite3.DatabaseError` as `checked`.
    """
    if type(blob) is bytes:
        data = blob[_CHECK.size :]
        if blob[: _CHECK.size] == _CHECK.pack(zlib.crc32(data, zlib.crc32(place, id))):
            return data, _CHECK.pack(zlib.crc32(data, zlib.crc32(place, other))) + data
    raise damaged(id, place.decode(errors="replace"))


def checksum_of(columns: Sequence[int]) -> int:
    """Return the checksum of the columns of a segment."""
    return zlib.crc32(repr(list(columns)).encode())


def hash_of(key: str) -> int:
    """Return the hash by which a segment lists a key."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")


def damaged(id: int, what: str) -> sqlite3.DatabaseError:
    """Return the error of a segment that is not what was stored."""
    return sqlite3.DatabaseError(f"segment {id} is damaged: {what}")
