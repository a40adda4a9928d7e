"""Columns on disk: what is written with a segment counts as its posting lists do."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from pyroaring import BitMap

from livelog.index.analysis.question import Question
from livelog.index.query import EVERYTHING
from livelog.store.reader.storedcolumns import FEW, MOST, Columns, column_of
from tests.support.disk import Disk
from tests.test_analysis import counted_on, recorded, said


def stored(keys: list[tuple[str, BitMap]], count: int) -> dict[str, bytes]:
    """Write the columns of a segment with these keys."""
    columns, found = Columns(count), dict[str, bytes]()
    for key, places in keys:
        found |= columns.add(key, places)
    return found | dict(columns.end())


def users(count: int) -> list[tuple[str, BitMap]]:
    """Give each of so many users two messages, of which a neighbour has one, too."""
    return [(f"user_id=u{n:06}", BitMap([n, (n + 1) % count])) for n in range(count)]


def test_fields_with_few_values_and_with_too_many_have_no_column() -> None:
    assert not stored(users(FEW), FEW)
    assert list(stored(users(FEW + 1), FEW + 1)) == ["user_id"]
    assert list(stored(users(MOST), MOST)) == ["user_id"]
    assert not stored(users(MOST + 1), MOST + 1)
    channel = [("channel=general", BitMap([0]))]
    level = [(f"metadata.user_id=u{n:06}", BitMap([n])) for n in range(FEW + 1)]
    found = stored([*channel, *level, *users(FEW + 1), ("username=x", BitMap([0]))], FEW + 1)
    assert list(found) == ["user_id"]


def test_more_values_than_two_bytes_can_number() -> None:
    count = (1 << 16) + 100
    column = column_of(stored(users(count), count)["user_id"])
    assert len(column.values) == count + 1
    counts = Counter[int]()
    column.count(BitMap([0, 65_540, 65_541]), counts)
    named = {column.values[number]: n for number, n in counts.items()}
    assert named == {
        "u000000": 1, f"u{count - 1:06}": 1, "u065539": 1, "u065540": 2, "u065541": 1,
    }  # fmt: skip
    numbers = BitMap()
    column.collect(BitMap([65_540]), numbers)
    assert [column.values[number] for number in numbers] == ["u065539", "u065540"]


def test_a_damaged_column_is_noticed(tmp_path: Path) -> None:
    records = recorded([said(f"u{n}", "Ann") for n in range(2 * FEW)])
    disk = Disk(tmp_path / "live.db")
    disk.write(records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("livelog.store.reader.segments.SEALED_AT", len(records))
        disk.settle()
    disk.reader._segments._check()
    question = Question("user_id", limit=3)
    assert counted_on(disk, EVERYTHING, len(records), question).total == len(records)
    disk.reopen()
    connection = disk.reader._segments._connection
    fields = connection.execute("SELECT field FROM counted ORDER BY field").fetchall()
    assert fields == [("author_id",), ("user_id",)]
    connection.execute("UPDATE counted SET data = CAST(substr(data, 1, 50) || 'x' AS BLOB)")
    with pytest.raises(sqlite3.DatabaseError, match="column user_id"):
        counted_on(disk, EVERYTHING, len(records), question)
    disk.close()
