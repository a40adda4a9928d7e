"""`livelog export`: the stored messages of a server, to a file that can be imported again.

The file grows under the name FILE.part. FILE.checkpoint says up to which message and byte it is
whole: from there an export that was interrupted goes on, however it ended. At its end the file gets
its own name.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import msgspec

from livelog.cli import options
from livelog.cli.compressed import compressor
from livelog.cli.exit import INTERRUPTED, Failure, outcome, say
from livelog.cli.format import counted
from livelog.cli.moments import place
from livelog.cli.progress import progress
from livelog.cli.reading import Selection, stored
from livelog.client.client import Client, connect
from livelog.client.url import shown
from livelog.wire.events import Gap

_EXAMPLES = """\
  livelog export everything.ndjson.gz
  livelog export december.ndjson.zst --since 2025-12-01 --until 2026-01-01
  livelog export - --type user --where 'channel:general' | jq -r .content

Messages come oldest first, one JSON object a line, compressed if the name ends
with .gz or .zst. Run the same again to go on where an export was interrupted.
"""
_PART_BYTES = 4 * 2**20
"""Bytes of messages between two checkpoints, about."""


class Checkpoint(msgspec.Struct, frozen=True):
    """The place up to which a file is whole."""

    selection: str
    """The server and the options that select messages: others belong to another file."""
    seq: int | None = None
    """Seq of the last message in it."""
    bytes: int = 0
    messages: int = 0


def main(arguments: Sequence[str]) -> int:
    """Export messages and return the exit code."""
    given = make_parser(arguments[0]).parse_args(arguments[1:])
    return outcome(lambda: _export(given))


def make_parser(name: str) -> options.Parser:
    """Make the parser of `export`."""
    parser = options.parser(name, "Write stored messages to a file.", _EXAMPLES)
    parser.add_argument(
        "file", metavar="FILE", help="File to write, which must not exist; '-' is stdout."
    )
    options.add_selection(parser, json=None)
    for option, which in (
        ("--since", "after this seq, or since"),
        ("--until", "up to this seq or"),
    ):
        parser.add_argument(
            option,
            type=_checked,
            metavar="PLACE",
            help=f"Export messages {which} this time: 7d for so long ago, 2025-12-03.",
        )
    return parser


def _checked(text: str) -> str:
    """Return a place as it was written: `7d` means the same when an export goes on tomorrow."""
    place(text)
    return text


def _export(given: argparse.Namespace) -> int:
    with ExitStack() as stack:
        if given.file == "-":
            target: _Target = _Stdout()
        else:
            target = _File(Path(given.file), _selection(given))
            stack.callback(target.close)
        try:
            asyncio.run(_fetch(given, target, stack))
        except KeyboardInterrupt:
            target.interrupted()
            return INTERRUPTED
        except BaseException:
            target.interrupted()
            raise
        target.finish()
    say(f"{counted(target.messages, 'message')} exported")
    return 0


def _selection(given: argparse.Namespace) -> str:
    """Return what tells one selection from another, as it was given; seqs are those of one log."""
    chosen = (options.types(given.type), options.filters(given), given.since, given.until)
    return repr((shown(given.url), *chosen))


async def _fetch(given: argparse.Namespace, target: _Target, stack: ExitStack) -> None:
    selection = Selection(options.types(given.type), options.filters(given))
    bounds = [None if text is None else place(text) for text in (given.since, given.until)]
    selection = selection.within(*bounds)
    since, until = (bound if isinstance(bound, int) else None for bound in bounds)
    async with connect(given.url, token=given.token) as log:
        advance = await _progress(log, selection, target, stack)
        async for item in stored(log, selection, target.seq or since, until):
            if isinstance(item, Gap):
                say(f"gap: messages after {item.from_} and up to {item.to} are no longer stored")
            else:
                target.write(item.seq, msgspec.json.encode(item) + b"\n")
                advance(1)


async def _progress(
    log: Client, selection: Selection, target: _Target, stack: ExitStack
) -> Callable[[int], object]:
    if not sys.stderr.isatty():
        return lambda done: None
    page = await log.history(filters=selection.of_history, limit=1)
    advance = progress("exporting", page.total, stack)
    advance(target.messages)
    return advance


class _Target(ABC):
    """Where messages are written to, and how many."""

    seq: int | None = None
    messages = 0

    @abstractmethod
    def write(self, seq: int, line: bytes) -> None:
        """Write a message."""

    @abstractmethod
    def interrupted(self) -> None:
        """Keep what is there, to go on from it."""

    @abstractmethod
    def finish(self) -> None:
        """Take note that everything is there."""


class _Stdout(_Target):
    """The standard output, which cannot be gone on with."""

    def write(self, seq: int, line: bytes) -> None:
        sys.stdout.buffer.write(line)
        self.messages += 1

    def interrupted(self) -> None:
        """Do nothing: the next export begins anew."""

    def finish(self) -> None:
        sys.stdout.buffer.flush()


class _File(_Target):
    """A file with its checkpoint. Raises `Failure` when it exists, and `OSError`."""

    def __init__(self, path: Path, selection: str) -> None:
        self._path = path
        self._check_is_new()
        self._part = path.with_name(f"{path.name}.part")
        self._checkpoint = path.with_name(f"{path.name}.checkpoint")
        self._begin = compressor(path.name)
        self._compressor = self._begin()
        self._unsaved = 0
        self._selection = selection
        self._file: BinaryIO = self._part.open("ab")  # which leaves it as it is, for now
        try:
            found = self._go_on()
        except BaseException:
            self.close()
            raise
        self.seq, self.messages = found.seq, found.messages
        if found.messages:
            say(f"going on behind {found.messages} messages of {self._part}")

    def _check_is_new(self) -> None:
        if self._path.exists():
            raise Failure(f"{self._path} exists; remove it, or give another name")
        if self._path.is_symlink():  # the rename at the end would take its place
            issue = "is a symbolic link to a file that does not exist; remove it, or name that file"
            raise Failure(f"{self._path} {issue}")

    def _go_on(self) -> Checkpoint:
        """Cut the file where an earlier export of the same ended, and return that place."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"another export is writing {self._part}") from None
        self._check_is_new()  # again: the other may have come to its end just now
        found = self._found()
        self._file.truncate(found.bytes)  # what comes behind was never acknowledged as whole
        self._file.seek(found.bytes)
        return found

    def write(self, seq: int, line: bytes) -> None:
        self._file.write(self._compressor.compress(line))
        self.seq = seq
        self.messages += 1
        self._unsaved += len(line)
        if self._unsaved >= _PART_BYTES:
            self._save()

    def interrupted(self) -> None:
        if self._unsaved:
            self._save()
        if self.messages:
            say(f"interrupted after {self.messages} messages; run the same again to go on")

    def finish(self) -> None:
        self._file.write(self._compressor.flush())
        self._sync()
        self._part.rename(self._path)
        self._checkpoint.unlink(missing_ok=True)

    def close(self) -> None:
        self._file.close()

    def _found(self) -> Checkpoint:
        """Return where an earlier export of the same ended; at nothing without one."""
        try:
            found = msgspec.json.decode(self._checkpoint.read_bytes(), type=Checkpoint)
        except FileNotFoundError:
            return Checkpoint(self._selection)
        except ValueError:
            raise Failure(f"{self._checkpoint} is damaged; remove it to begin anew") from None
        if found.selection != self._selection:
            raise Failure(
                f"{self._part} holds another selection of messages, or is of another server; remove"
                f" {self._checkpoint} to begin anew, or give the same options"
            )
        if not 0 <= found.bytes <= self._part.stat().st_size:
            raise Failure(f"{self._part} is shorter than it was; remove {self._checkpoint}")
        return found

    def _save(self) -> None:
        """End a part of the file, and note that it is whole up to here."""
        self._file.write(self._compressor.flush())
        self._compressor = self._begin()
        self._unsaved = 0
        self._sync()
        now = Checkpoint(self._selection, self.seq, self._file.tell(), self.messages)
        fresh = self._checkpoint.with_name(f"{self._checkpoint.name}.new")
        fresh.write_bytes(msgspec.json.encode(now))
        fresh.replace(self._checkpoint)

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
