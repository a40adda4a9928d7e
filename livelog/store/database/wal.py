"""The write-ahead log as a file: committed frames that SQLite would drop in silence.

Frames count up to the first one whose checksum fails; SQLite takes the rest for the remains of a
commit that a power cut interrupted. That is so at the end of the file. A commit behind a bad frame,
however, had been synced before: there the bad frame is damage, and acknowledged messages are lost.
Format: sqlite.org/fileformat2.html section 4.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_HEADER = struct.Struct(">8I")  # magic, version, page size, checkpoint, two salts, two sums
_FRAME = struct.Struct(">6I")  # page number, size after a commit or 0, two salts, two sums
MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
"""First number of the file → byte order of the words that are summed."""

_MASK = 0xFFFFFFFF
_BLOCK = 2**16

Sums = tuple[int, int]


class _Header(NamedTuple):
    order: str
    page_size: int
    salts: tuple[int, ...]
    sums: Sums


class WalFault(NamedTuple):
    """Damage of a write-ahead log."""

    frame: int
    """Number of the first bad frame, counted from 1; 0 is the header."""
    commits: int
    """Commits behind it, which are lost; not known of a bad header."""

    def __str__(self) -> str:
        place, lost = f"frame {self.frame}", f"{self.commits} commits behind it are lost"
        if not self.frame:
            place, lost = "the header", "what is in it is lost"
        return f"{place} of its write-ahead log is damaged: {lost}"


class LastFrame:
    """The end of the write-ahead log at `path` while it is used, by which it is known.

    What is committed is never changed until it is begun anew, with a first salt that is higher.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_lost = False
        self.forget()

    def forget(self) -> None:
        """Take the file as it is: its index is made anew, perhaps with other salts."""
        self._header = b""
        self._frame = b""
        """Header of the frame that ends the last commit; empty without any."""
        self._number = 0
        self._is_empty = False

    def is_lost(self) -> bool:
        """Tell whether the last frame that was found is not there any more, and find the next.

        Once lost it stays so: SQLite would write on behind a hole, and drop all of it at the next
        start. Raises `OSError` without a file.
        """
        with open(self._path, "rb", 0) as file:
            self._is_lost = self._is_lost or not self._goes_on(file.fileno())
        return self._is_lost

    def _goes_on(self, file: int) -> bool:
        header = os.pread(file, _HEADER.size, 0)
        if not header:  # by a checkpoint, or cut: then the next header is of zeros, or no other one
            self._frame, self._number, self._is_empty = b"", 0, True
            return True
        if len(header) < _HEADER.size:
            return False
        magic, _, page_size, *_ = _HEADER.unpack(header)
        if magic not in MAGIC:
            return False
        if header != self._header or self._is_empty:
            if self._header and not _follows(header, self._header):
                return False
            self._header, self._frame, self._number, self._is_empty = header, b"", 0, False
        return self._walk(file, _FRAME.size + page_size)

    def _walk(self, file: int, whole: int) -> bool:
        """Hold the last frame against the file, and go on to that of the newest commit."""
        salts, at = self._header[16:24], _HEADER.size + whole * self._number
        if self._number and os.pread(file, _FRAME.size, at - whole) != self._frame:
            return False
        number = self._number
        while (frame := os.pread(file, _FRAME.size, at))[8:16] == salts:
            number, at = number + 1, at + whole
            if any(frame[4:8]):  # behind the last commit there may be the rest of a failed one
                self._frame, self._number = frame, number
        return True


def _follows(header: bytes, before: bytes) -> bool:
    """Tell whether the file may have been begun anew with `header` since it had the one before."""
    [_, _, _, checkpoint, salt, *_] = _HEADER.unpack(header)
    [_, _, _, checkpoint_before, salt_before, *_] = _HEADER.unpack(before)
    if not (checkpoint or checkpoint_before):  # salts of who has not made a checkpoint are random
        return header != before
    ahead: int = (salt - salt_before) & _MASK
    return 0 < ahead <= _MASK >> 1


def find_fault(path: str, proven: int = 0) -> WalFault | None:
    """Look for damage in the write-ahead log at `path`; None without any, or without a file.

    `proven` is the number of its frames that SQLite has found good, which are not summed again.
    """
    try:
        with open(path, "rb") as file:
            return _fault(file, proven)
    except FileNotFoundError:
        return None


def _fault(file: BinaryIO, proven: int) -> WalFault | None:
    size = os.fstat(file.fileno()).st_size
    data = file.read(_HEADER.size)
    header = _header(data) if len(data) == _HEADER.size else None
    if header is None:
        # What follows cannot be told from old frames, but a header is synced before any frame. A
        # file of zeros was cut before that.
        return WalFault(0, 0) if any(map(any, iter(lambda: file.read(_BLOCK), b""))) else None
    commits = [number for number, commit in _frames(file, header, size) if commit]
    lost = [number for number in commits if number > proven]
    if not lost:
        return None
    bad = _first_bad(file, header, proven, lost[-1])
    behind = sum(number > bad for number in lost)
    return WalFault(bad, behind) if bad and behind else None


def _header(data: bytes) -> _Header | None:
    magic, _, page_size, _, *rest = _HEADER.unpack(data)
    order = MAGIC.get(magic)
    if order is None or _summed(order, data[:24], (0, 0)) != tuple(rest[2:]):
        return None
    return _Header(order, page_size, tuple(rest[:2]), (rest[2], rest[3]))


def _frames(file: BinaryIO, header: _Header, size: int) -> Iterator[tuple[int, int]]:
    """Yield the number of each frame with the salts of the header, and whether it commits."""
    whole = _FRAME.size + header.page_size
    for number in range(1, (size - _HEADER.size) // whole + 1):
        _, commit, *rest = _FRAME.unpack(_read(file, header, number, _FRAME.size))
        if tuple(rest[:2]) == header.salts:
            yield number, commit


def _first_bad(file: BinaryIO, header: _Header, proven: int, last: int) -> int:
    """Return the number of the first bad frame behind `proven` and up to `last`; 0 without one."""
    sums = header.sums
    if proven:
        sums = _FRAME.unpack(_read(file, header, proven, _FRAME.size))[4:]
    for number in range(proven + 1, last + 1):
        data = _read(file, header, number, _FRAME.size + header.page_size)
        _, _, *salts, first, second = _FRAME.unpack_from(data)
        sums = _summed(header.order, data[:8] + data[_FRAME.size :], sums)
        if tuple(salts) != header.salts or sums != (first, second):
            return number
    return 0


def _read(file: BinaryIO, header: _Header, number: int, size: int) -> bytes:
    file.seek(_HEADER.size + (number - 1) * (_FRAME.size + header.page_size))
    return file.read(size)


def _summed(order: str, data: bytes, sums: Sums) -> Sums:
    """Continue the running sums over `data`."""
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second
