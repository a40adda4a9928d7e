"""`livelog publish`: NDJSON from a file or a pipe into the log.

Each read is one batch: large ones from a file, and from a pipe whatever its writer has written so
far. A message without an id gets one made of the place and the content of its line. So publishing
the same file again after a failure delivers no message twice, while the server remembers the ids. A
pipe has no name; `--name` gives it one.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from hashlib import blake2b
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from livelog.cli import options
from livelog.cli.exit import FAILED, Failure, explained, outcome, say
from livelog.cli.format import counted
from livelog.cli.progress import progress
from livelog.client.backoff import DELAYS, Backoff, Clock
from livelog.client.errors import Lost, ResponseRefusedError
from livelog.client.http import HttpPublisher, PartlyRefusedError, Unavailable
from livelog.client.url import shown
from livelog.errors import PROTOCOL_ERROR, RefusedError, UnreachableError
from livelog.wire.bom import without_bom
from livelog.wire.ids import uuid7
from livelog.wire.messages import PREFIXES

_EXAMPLES = """\
  livelog publish events.ndjson
  producer | livelog publish
  producer | livelog publish - --name 2025-12-03 --keep-going
  echo '{"type":"user","user_id":"u1","username":"Ann","content":"hello"}' |
    livelog publish

Running the same file again is safe: a message without an id gets one made of
its line, and an id is delivered once. For a pipe --name does the same.
"""
READ = 256 * 2**10
"""Bytes of one read, and so of one batch, about."""
_LONGEST = 8 * 2**20
"""Largest line in bytes: the default limit of a server for one request."""
_ATTEMPTS = len(DELAYS) - 1
"""Attempts to publish a batch before giving up, over some seconds."""


class Line(NamedTuple):
    """A message to publish."""

    number: int
    data: bytes


def main(arguments: Sequence[str]) -> int:
    """Publish all messages and return the exit code."""
    given = make_parser(arguments[0]).parse_args(arguments[1:])
    return outcome(lambda: _publish(given), prints=False)


def make_parser(name: str) -> options.Parser:
    """Make the parser of `publish`."""
    description = "Publish messages from a file or a pipe, one JSON object a line."
    parser = options.parser(name, description, _EXAMPLES)
    parser.add_argument(
        "file",
        nargs="?",
        default="-",
        metavar="FILE",
        help="File of messages; '-', the default, is stdin.",
    )
    parser.add_argument(
        "--keep-going", action="store_true", help="Skip lines that the server refuses."
    )
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="Name of the input, used to make ids; needed to publish a pipe again safely.",
    )
    return parser


def _publish(given: argparse.Namespace) -> int:
    with ExitStack() as stack:
        source, size = _open(given.file, stack)
        advance = progress("publishing", size, stack)
        publisher = HttpPublisher(given.url, given.token)
        stack.callback(publisher.close)
        run = Run(given.url, publisher, _origin(given.file, given.name), given.keep_going)
        number = 1
        for lines in batches(lambda: os.read(source, READ)):
            goes_on = run.batch(number, lines)
            number += len(lines)
            advance(sum(map(len, lines)) + len(lines))
            if not goes_on:
                break
    return run.told()


def _open(file: str, stack: ExitStack) -> tuple[int, int | None]:
    """Return the file descriptor and, if it is known, the size."""
    if file == "-":
        if sys.stdin is None:
            raise Failure("stdin is closed")
        if sys.stdin.isatty():
            say("reading from the terminal, one JSON object a line; Ctrl-D ends it")
        return sys.stdin.fileno(), None
    try:
        source = os.open(file, os.O_RDONLY)
    except OSError as error:
        raise Failure(f"cannot read {file}: {(error.strerror or str(error)).lower()}") from None
    stack.callback(os.close, source)
    return source, os.fstat(source).st_size or None


def _origin(file: str, name: str | None) -> str:
    """Return a name that tells lines of this input from the same lines of another."""
    if name is not None:
        return name
    return uuid7(int(time.time() * 1000)) if file == "-" else str(Path(file).resolve())


def batches(read: Callable[[], bytes]) -> Iterator[list[bytes]]:
    """Yield the lines of the input, as many at a time as one read returns. Raises `Failure`."""
    rest = b""
    try:
        while data := read():
            *lines, rest = (rest + data).split(b"\n")
            if lines:
                yield lines
            if len(rest) > _LONGEST:
                raise Failure(f"a line is longer than {_LONGEST} bytes; is this NDJSON?")
    except OSError as error:
        raise Failure(f"cannot read the input: {(error.strerror or '').lower()}") from None
    if rest:
        yield [rest]


class Run:
    """One run of the command: publishes, retries, and counts published and wrong lines."""

    def __init__(self, url: str, publisher: HttpPublisher, origin: str, keep_going: bool) -> None:
        self.published = 0
        self.wrong = 0
        self.redacted = 0
        """Lines that hold the place of a redacted message, which are passed over."""
        self._url = url
        self._publisher = publisher
        self._origin = origin
        self._keep_going = keep_going
        self._reached = False

    def batch(self, first: int, lines: list[bytes]) -> bool:
        """Publish lines, the first of which has the number `first`; False to stop."""
        good: list[Line] = []
        for number, line in enumerate(lines, first):
            text = without_bom(line).strip()
            if not text:
                continue
            try:
                identified = _identified(text, number, self._origin)
                if identified is None:
                    self.redacted += 1
                else:
                    good.append(Line(number, identified))
            except RefusedError as refused:
                if not self._skip(number, refused):
                    self._send(good)
                    return False
        return self._send(good)

    def told(self) -> int:
        """Say how many lines were published and how many not; return the exit code."""
        counts = [(self.wrong, "refused"), (self.redacted, "redacted before and left out")]
        beside = "".join(f", {count} {what}" for count, what in counts if count)
        say(f"{counted(self.published, 'message')} published{beside}")
        return FAILED if self.wrong else 0

    def _send(self, lines: list[Line]) -> bool:
        """Publish lines, and those again that are refused for now; False to stop."""
        goes_on = True
        while lines:
            try:
                self._with_retries(lines)
                return goes_on
            except PartlyRefusedError as partly:
                self._count(len(lines) - len(partly.final) - len(partly.for_now))
                for at, refused in partly.final.items():
                    goes_on = self._skip(lines[at].number, refused)
                lines = [lines[at] for at in partly.for_now]
                if lines:
                    _pause(partly.loss.why, partly.loss.wait or 0)
            except ResponseRefusedError as refused:
                at = _wrong_line(refused, len(lines))
                if not self._skip(lines[at].number, refused):
                    self._send(lines[:at])
                    return False
                del lines[at]
        return goes_on

    def _count(self, published: int) -> None:
        self._reached = True
        self.published += published

    def _skip(self, number: int, refused: RefusedError) -> bool:
        """Report a wrong line, and tell whether to go on without it."""
        self.wrong += 1
        end = "" if self._keep_going else " (--keep-going would skip it)"
        say(f"line {number}: {explained(refused)}{end}")
        return self._keep_going

    def _with_retries(self, lines: list[Line]) -> None:
        backoff = Backoff(Clock())
        for left in reversed(range(_ATTEMPTS)):
            try:
                self._publisher.post([line.data for line in lines])
            except Lost as lost:
                if not (self._reached or isinstance(lost, Unavailable)):
                    raise UnreachableError(f"cannot reach {shown(self._url)}: {lost}") from None
                loss = lost.loss
            else:
                self._count(len(lines))
                return
            if left:
                _pause(loss.why, max(backoff.next(), loss.wait or 0))
        raise Failure(
            f"gave up: {loss.why}. {self.published} messages were acknowledged; "
            "run the same again to go on: no message is delivered twice"
        )


def _pause(why: str, seconds: float) -> None:
    say(f"not published: {why}; next attempt in {seconds:.1f} s")
    time.sleep(seconds)


def _wrong_line(refused: ResponseRefusedError, count: int) -> int:
    """Return the index of the line that a refusal is about. Raises it if it is about all."""
    single = count == 1 and refused.scope is None
    line = refused.details.get("line", 1 if single else None)
    if refused.status == HTTPStatus.UNAUTHORIZED or type(line) is not int or not 0 < line <= count:
        raise refused
    return line - 1


class _Peek(msgspec.Struct):
    id: Any = UNSET
    type: Any = UNSET
    seq: Any = UNSET
    redacted: Any = UNSET


_peek = msgspec.json.Decoder(_Peek)


def _identified(line: bytes, number: int, origin: str) -> bytes | None:
    """Return the line with an id and without a `seq`, which a message that was received has.

    None for what stands in the place of a redacted message. Raises `RefusedError` when it is not a
    JSON object.
    """
    try:
        peek = _peek.decode(line)
    except (ValueError, RecursionError) as error:
        raise RefusedError(PROTOCOL_ERROR, "", f"not a JSON object: {error}") from None
    if peek.redacted is True:
        return None
    if peek.seq is not UNSET:
        fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        del fields["seq"]
        line = msgspec.json.encode(fields)
    if peek.id is not UNSET:
        return line
    prefix = PREFIXES.get(peek.type, "") if isinstance(peek.type, str) else ""
    digest = blake2b(line, digest_size=16, key=_key(origin, number)).hexdigest()
    rest = line[1:].lstrip()
    comma = b"" if rest.startswith(b"}") else b","
    return b'{"id":"%b"%b%b' % (f"{prefix}{digest}".encode(), comma, rest)


def _key(origin: str, number: int) -> bytes:
    return blake2b(f"{number} {origin}".encode(errors="surrogateescape")).digest()
