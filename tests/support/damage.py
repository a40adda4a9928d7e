"""Damage of a store's files, and of one that an earlier version wrote."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from livelog.store.database.file import APPLICATION_ID, connect
from livelog.store.database.state import read_state, write_state
from livelog.wire.record import Record
from tests.support.disk import Disk
from tests.support.keeping import sample
from tests.support.strategies import record
from tests.test_query import complete


def flip(path: Path, bit: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def spoil(path: Path, text: bytes) -> int:
    """Flip one bit of a text that stands in a file once; returns the place of the byte."""
    data = path.read_bytes()
    assert data.count(text) == 1, data.count(text)
    place = data.index(text)
    flip(path, place * 8)
    return place


def records(count: int) -> list[Record]:
    """Samples with the seqs 1000, 2000, …"""
    return [record(complete(sample(number)), 1000 * (number + 1)) for number in range(count)]


def written(path: Path, count: int, key: bytes = b"") -> list[Record]:
    """Write a store of samples, in some commits."""
    messages = records(count)
    disk = Disk(path, key)
    for first in range(0, count, 50):
        disk.write(messages[first : first + 50])
    disk.close()
    return messages


def killed(path: Path, count: int, key: bytes = b"") -> list[Record]:
    """The same, as the files are when the server has been killed: nothing is written back."""
    other = path.with_name("other.db")
    messages = records(count)
    disk = Disk(other, key)
    with closing(connect(str(other), key)) as connection:  # else they would be of another log
        write_state(connection, read_state(connection)._replace(began=0))
    for first in range(0, count, 50):
        disk.write(messages[first : first + 50])
    for suffix in ("", "-wal"):
        shutil.copy(f"{other}{suffix}", f"{path}{suffix}")
    disk.close()
    return messages


FORMAT_1 = f"""
    CREATE TABLE message(
        position INTEGER PRIMARY KEY,
        seq INTEGER NOT NULL UNIQUE,
        id TEXT NOT NULL,
        payload TEXT NOT NULL
    ) STRICT;
    CREATE INDEX message_by_id ON message(id);
    CREATE TABLE log(
        name TEXT NOT NULL,
        began INTEGER NOT NULL,
        trimmed_upto INTEGER NOT NULL
    ) STRICT;
    INSERT INTO log VALUES ('a log', 0, 0);
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = 1;
"""


def of_format_1(path: Path, count: int) -> list[Record]:
    """Write a store as the first version did."""
    messages = records(count)
    path.touch(0o600)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(FORMAT_1)
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO message VALUES (?, ?, ?, ?)",
            [(at, one.seq, one.id, one.payload.decode()) for at, one in enumerate(messages, 1)],
        )
        connection.execute("COMMIT")
    return messages
