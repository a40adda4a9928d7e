"""`livelog import`: an exported file, or other NDJSON, into a log.

FILE.imported says up to which line the messages are acknowledged, and where: from there an import
that was interrupted goes on, however large the file. The messages keep their ids and times and get
new seqs. What comes twice, around the place where it was interrupted, is known by its id.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec

from livelog.cli import options
from livelog.cli.compressed import contents
from livelog.cli.exit import Failure, outcome, say
from livelog.cli.progress import progress
from livelog.cli.publish import READ, Run, batches
from livelog.client.http import HttpPublisher
from livelog.client.url import shown

_EXAMPLES = """\
  livelog import everything.ndjson.gz
  livelog import december.ndjson.zst --url wss://logs.example.com

It takes what `livelog export` writes, compressed or not, and any messages as
JSON, one a line. Run the same again to go on where an import was interrupted.
A key needs the scope publish:any for messages that others have written.
"""


class Checkpoint(msgspec.Struct, frozen=True):
    """How much of a file is in a log."""

    url: str
    """Address of the server, without the query."""
    lines: int = 0
    bytes: int = 0
    modified: int = 0
    """Size of the file and when it was written, by which another file of the same name is told."""


def main(arguments: Sequence[str]) -> int:
    """Import messages and return the exit code."""
    given = make_parser(arguments[0]).parse_args(arguments[1:])
    return outcome(lambda: _import(given), prints=False)


def make_parser(name: str) -> options.Parser:
    """Make the parser of `import`."""
    parser = options.parser(name, "Publish the messages of an exported file.", _EXAMPLES)
    parser.add_argument("file", metavar="FILE", help="File of messages, compressed or not.")
    parser.add_argument(
        "--keep-going", action="store_true", help="Skip lines that the server refuses."
    )
    return parser


def _import(given: argparse.Namespace) -> int:
    with ExitStack() as stack:
        place = _Place(Path(given.file), shown(given.url))
        publisher = HttpPublisher(given.url, given.token)
        stack.callback(publisher.close)
        advance = progress("importing", None, stack)
        run = Run(given.url, publisher, str(place.path.resolve()), given.keep_going)
        number = 1
        pieces = contents(place.path, READ)
        for lines in batches(lambda: next(pieces, b"")):
            first, number = number, number + len(lines)
            fresh = lines[max(0, place.lines - first + 1) :]
            if fresh and not run.batch(number - len(fresh), fresh):
                break
            if fresh:
                place.note(number - 1)
                advance(len(fresh))
        else:
            place.forget()
    return run.told()


class _Place:
    """How far the import of a file is, kept beside it. Raises `Failure`."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self._file = path.with_name(f"{path.name}.imported")
        self._keeps = True
        found = path.stat() if path.exists() else None
        self._now = Checkpoint(url)
        if found is not None:
            self._now = Checkpoint(url, 0, found.st_size, found.st_mtime_ns)
        try:
            kept = msgspec.json.decode(self._file.read_bytes(), type=Checkpoint)
        except FileNotFoundError:
            kept = self._now
        except ValueError:
            raise Failure(f"{self._file} is damaged; remove it to begin anew") from None
        if msgspec.structs.replace(kept, lines=0) != self._now:
            raise Failure(f"{self._file} is about another server or file; remove it to begin anew")
        self._now = kept
        if kept.lines:
            say(f"going on behind line {kept.lines}")

    @property
    def lines(self) -> int:
        """The lines that are acknowledged."""
        return self._now.lines

    def note(self, lines: int) -> None:
        """Keep that so many lines are acknowledged, if it can be kept."""
        self._now = msgspec.structs.replace(self._now, lines=lines)
        fresh = self._file.with_name(f"{self._file.name}.new")
        if not self._keeps:
            return
        try:
            fresh.write_bytes(msgspec.json.encode(self._now))
            fresh.replace(self._file)
        except OSError as error:  # the file may be on a disk that can only be read
            self._keeps = False
            why = (error.strerror or str(error)).lower()
            say(f"cannot write {self._file}: {why}; if interrupted, the import begins anew")

    def forget(self) -> None:
        """Take note that everything is in the log."""
        with suppress(OSError):  # said by `note`
            self._file.unlink(missing_ok=True)
