"""Power cuts without pulling a plug: the images that they could leave on the disk.

A server runs under a journal of its writes and syncs (`powercut.c`). A cut after any of them leaves
what was synced, and of the later writes to each file none, all or some, the last one perhaps torn
between two sectors.
"""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""

Survival = Literal["none", "all", "some", "torn"]
"""Writes since the last sync that survive the cut."""
SURVIVALS: tuple[Survival, ...] = ("none", "all", "some", "torn")

_HEAD = struct.Struct("=cIqI")


class Change(NamedTuple):
    """One entry of the journal."""

    kind: bytes
    path: str
    offset: int
    data: bytes


def build(folder: Path) -> Path:
    """Compile the library that keeps the journal."""
    library = folder / "powercut.so"
    source = Path(__file__).with_suffix(".c")
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


def read(journal: Path, upto: int) -> Iterator[Change]:
    """Yield the changes in the first `upto` bytes of a journal, but for one cut off at the end."""
    data = journal.read_bytes()[:upto]
    at = 0
    while at + _HEAD.size <= len(data):
        kind, length, offset, size = _HEAD.unpack_from(data, at)
        body = at + _HEAD.size
        at = body + length + size
        if at <= len(data):
            path = data[body : body + length].decode()
            yield Change(kind, path, offset, data[body + length : at])


class _File:
    """Contents of one file: what is on the disk for certain, and the changes since."""

    def __init__(self) -> None:
        self.synced = bytearray()
        self.pending: list[Change] = []

    def sync(self) -> None:
        """Make all changes durable."""
        for change in self.pending:
            _apply(self.synced, change)
        self.pending.clear()


def image(changes: Sequence[Change], survival: Survival, chance: random.Random) -> dict[str, bytes]:
    """Return path → contents after a cut behind `changes`."""
    files: dict[str, _File] = {}
    for change in changes:
        if change.kind == b"U":
            files.pop(change.path, None)
        elif change.kind == b"R":
            files[change.data.decode()] = files.pop(change.path)
        elif change.kind == b"S":
            files.setdefault(change.path, _File()).sync()
        else:
            files.setdefault(change.path, _File()).pending.append(change)
    left = {}
    for path, file in files.items():
        contents = bytearray(file.synced)
        for change in _surviving(file.pending, survival, chance):
            _apply(contents, change)
        left[path] = bytes(contents)
    return left


def _surviving(
    pending: list[Change], survival: Survival, chance: random.Random
) -> Iterator[Change]:
    if survival == "all":
        yield from pending
    elif survival == "some":  # a disk writes in any order
        yield from (change for change in pending if chance.random() < 0.5)
    elif survival == "torn" and pending:
        last = chance.randrange(len(pending))
        yield from pending[:last]
        torn = pending[last]
        sectors = chance.randrange(len(torn.data) // SECTOR + 1)
        yield torn._replace(data=torn.data[: sectors * SECTOR])


def _apply(contents: bytearray, change: Change) -> None:
    if change.kind == b"T":
        if change.offset < len(contents):
            del contents[change.offset :]
        else:
            contents.extend(bytes(change.offset - len(contents)))
        return
    end = change.offset + len(change.data)
    if change.data and len(contents) < end:
        contents.extend(bytes(end - len(contents)))
    contents[change.offset : end] = change.data
