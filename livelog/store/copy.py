"""A copy of a log that another server has, over its HTTP door: the same messages, the same seqs.

A new node of a shared log has only what the stream still keeps; the copy gives it what was before.
The file has another name until it is complete, and a copy that was interrupted goes on from there.
The acts come last: what they have redacted or erased may have been copied before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple

import msgspec

from livelog.errors import ConfigError
from livelog.store.database.acts import last_act, write_act
from livelog.store.database.checksums import checksum
from livelog.store.database.connection import Connection
from livelog.store.database.erasure import erase
from livelog.store.database.file import Contents, open_file
from livelog.store.database.lock import Lock
from livelog.store.database.redaction import redact
from livelog.store.database.state import write_state
from livelog.wire.acts import Enacted, Erase, Redact
from livelog.wire.record import id_of, seq_of
from livelog.wire.stubs import is_stub

SUFFIX = "-copying"
"""Follows the name of a file that is not complete."""

_INSERT = "INSERT INTO message(position, seq, id, payload, checksum) VALUES (?, ?, ?, ?, ?)"

_PATH = "/api/log"
_ACTS_PATH = f"{_PATH}/acts"
_LIMIT = 1000

Get = Callable[[str], bytes]
"""Returns what the server answers at a path."""


class _Page(msgspec.Struct):
    messages: list[msgspec.Raw]
    incomplete: bool = False


class _Part(msgspec.Struct):
    """The extent of the log there, and some of its messages."""

    head_seq: int
    """Seq of the newest message or act."""
    began: int
    trimmed_upto: int
    page: _Page
    act_seq: int = 0
    """Seq of the newest act; 0 from a server that knows none."""


class Copied(NamedTuple):
    """Contents of a copy."""

    messages: int
    last_seq: int


def copy_log(get: Get, target: str, key: bytes) -> Copied:
    """Copy the log that `get` asks for into the new file `target`.

    Raises `ConfigError` when the log cannot be had or the file cannot be written, and what `get`
    raises; what has been copied by then is there for the next call.
    """
    if os.path.lexists(target):
        raise ConfigError(f"{target}: exists; name a file that does not")
    source = _asked(get, 0, 1)
    partial = f"{target}{SUFFIX}"
    with _opened(partial, key, source) as (connection, contents):
        position, seq = contents.last_position, contents.last_seq
        while seq < source.head_seq:
            part = _asked(get, seq, _LIMIT)
            if part.trimmed_upto > seq:
                raise _deleted(partial)
            rows = _rows(part.page, seq, position)
            if not rows:
                break
            connection.execute("BEGIN")
            connection.executemany(_INSERT, rows)
            stubs = [(row[0], source.began + 1) for row in rows if is_stub(row[3].encode())]
            connection.executemany("INSERT INTO redacted VALUES (?, ?)", stubs)
            connection.execute("COMMIT")
            position, seq = rows[-1][0], rows[-1][1]
        _copy_acts(get, connection, max(seq, source.head_seq))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    os.rename(partial, target)
    return Copied(position, seq)


def _copy_acts(get: Get, connection: Connection, upto: int) -> None:
    """Copy the acts up to a seq, up to which all messages are there, and apply redactions.

    What comes later the new server gets from the shared log.
    """
    known, before = last_act(connection), upto + 1
    if _asked(get, upto, 1).act_seq <= known:
        return
    connection.execute("BEGIN")
    erasures: list[Enacted] = []
    while True:
        some = _acts(get(f"{_ACTS_PATH}?before={before}"))
        fresh = [each for each in some if known < each.seq < before]
        for enacted in fresh:
            write_act(connection, enacted)
            if isinstance(enacted.act, Redact):
                redact(connection, enacted)
            elif isinstance(enacted.act, Erase):
                erasures.append(enacted)
        if not fresh:
            break
        before = fresh[-1].seq
    for enacted in reversed(erasures):  # in their order: of two the last has the last word
        erase(connection, enacted)
    connection.execute("COMMIT")


def _acts(answer: bytes) -> list[Enacted]:
    try:
        return msgspec.json.decode(answer, type=list[Enacted])
    except ValueError as error:
        raise ConfigError(f"the server's answer is not understood: {error}") from None


def _asked(get: Get, after: int, limit: int) -> _Part:
    """Ask for the messages behind a seq. Raises `ConfigError` for what is no answer."""
    try:
        part = msgspec.json.decode(get(f"{_PATH}?after={after}&limit={limit}"), type=_Part)
    except ValueError as error:
        raise ConfigError(f"the server's answer is not understood: {error}") from None
    if part.page.incomplete:
        raise ConfigError("the server cannot read its store now; try again")
    return part


def _deleted(partial: str) -> ConfigError:
    issue = "the server has deleted what comes next; delete it and start again"
    return ConfigError(f"{partial}: {issue}")


@contextmanager
def _opened(path: str, key: bytes, source: _Part) -> Iterator[tuple[Connection, Contents]]:
    """Open an unfinished copy, or begin one. Raises `ConfigError` for one of another log."""
    lock = Lock(path)
    try:
        connection, contents = open_file(path, key)
        with closing(connection):
            if not contents.last_position:
                state = contents.state._replace(
                    began=source.began, trimmed_upto=source.trimmed_upto, alive=0
                )
                write_state(connection, state)
                start = max(source.began, source.trimmed_upto)
                contents = contents._replace(state=state, last_seq=start)
            elif contents.began != source.began:
                raise ConfigError(f"{path}: is the copy of another log; move it away")
            elif contents.last_seq < source.trimmed_upto:
                raise _deleted(path)
            yield connection, contents
    finally:
        lock.release()


def _rows(page: _Page, after: int, last_position: int) -> Sequence[tuple[int, int, str, str, int]]:
    """Return the rows of the messages on a page, oldest first."""
    rows: list[tuple[int, int, str, str, int]] = []
    for raw in reversed(page.messages):
        payload, position = bytes(raw), last_position + len(rows) + 1
        seq, id = seq_of(payload), id_of(payload)
        if seq <= after:
            raise ConfigError("the server does not answer in the order of its log")
        crc = checksum(position, seq, id.encode(), payload)
        rows.append((position, seq, id, payload.decode(), crc))
        after = seq
    return rows
