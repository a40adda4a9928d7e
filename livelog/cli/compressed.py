"""Files that may be compressed, with gzip or zstd: told by their name to write, by content to read.

Both forms allow several parts behind one another. So a file that is written can be cut where a part
ends, and continued there; one that is read must not end within a part.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, cast

from livelog.cli.exit import Failure
from livelog.errors import installing

_READ = 512
"""Bytes of one read: what they expand to is in memory. That is at most a thousand times as much
with gzip; with zstd, of which four bytes can stand for a block of 128 KiB, 16 MiB."""


class Compressor(Protocol):
    """One part of a file that is written; `zlib` and `zstandard` have it."""

    def compress(self, data: bytes, /) -> bytes:
        """Return what can be written so far."""

    def flush(self) -> bytes:
        """Return the rest of the part."""


class Decompressor(Protocol):
    """One part of a file that is read; `zlib` and `zstandard` have it."""

    @property
    def eof(self) -> bool:
        """Tell whether the part is complete."""

    @property
    def unused_data(self) -> bytes:
        """The bytes behind the part."""

    def decompress(self, data: bytes, /) -> bytes:
        """Return what the data holds. Raises an error of the library where it is damaged."""


class _Plain:
    """The form of a file that is not compressed."""

    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def compressor(name: str) -> Callable[[], Compressor]:
    """Return a function that begins a part of a file of this name. Raises `Failure`."""
    if name.endswith(".gz"):
        return lambda: zlib.compressobj(wbits=_GZIP_BITS)
    if name.endswith(".zst"):
        made = _zstandard().ZstdCompressor()
        return lambda: cast(Compressor, made.compressobj())
    return _Plain


def contents(path: Path, size: int) -> Iterator[bytes]:
    """Yield what a file holds, in pieces of `size` bytes. Raises `Failure` and `OSError`."""
    with path.open("rb") as file:
        begin = _decompressor(file.peek(4))
        pieces = iter(lambda: file.read(_READ), b"")
        held = bytearray()
        for piece in pieces if begin is None else _parts(begin, pieces, path):
            held += piece
            while len(held) >= size:
                yield bytes(held[:size])
                del held[:size]
        if held:
            yield bytes(held)


def _parts(
    begin: Callable[[], Decompressor], pieces: Iterator[bytes], path: Path
) -> Iterator[bytes]:
    part = None
    for piece in pieces:
        while piece:
            part = part or begin()
            try:
                yield part.decompress(piece)
            except Exception as error:  # zlib and zstandard have errors of their own
                raise Failure(f"{path} is damaged: {error}") from None
            piece = part.unused_data if part.eof else b""
            part = None if part.eof else part
    if part is not None:
        raise Failure(f"{path} is incomplete: it ends within a compressed part")


def _decompressor(start: bytes) -> Callable[[], Decompressor] | None:
    """Return a function that begins a part of a file with this start; None if it is plain."""
    if start.startswith(b"\x1f\x8b"):  # RFC 1952 section 2.3.1
        return lambda: cast(Decompressor, zlib.decompressobj(wbits=_GZIP_BITS))
    if start.startswith(b"\x28\xb5\x2f\xfd"):  # RFC 8878 section 3.1.1
        made = _zstandard().ZstdDecompressor()
        return lambda: cast(Decompressor, made.decompressobj())
    return None


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise Failure(f"zstd needs the extra: {installing('cli')}") from None
    return zstandard


_GZIP_BITS = 16 + zlib.MAX_WBITS
"""Window of zlib, with the header of gzip."""
