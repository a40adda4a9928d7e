"""Columns on disk: what is written with a segment counts as its posting lists do."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest
from pyroaring import BitMap

from livelog.index.analysis.cells import Cells
from livelog.index.analysis.distinct import Distinct
from livelog.index.analysis.question import Question
from livelog.index.column import Column
from livelog.index.plan import finish
from livelog.index.query import EVERYTHING
from livelog.store.reader.storedcolumns import FEW, MOST, Columns, Numbering, StoredColumn
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
    column = Numbering().column_of(stored(users(count), count)["user_id"])
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


def of_users(numbering: Numbering, numbers: range) -> StoredColumn:
    """Return the column of a segment with one message of each of these users."""
    keys = [(f"user_id=u{n:06}", BitMap([n - numbers.start])) for n in numbers]
    return numbering.column_of(stored(keys, len(numbers))["user_id"])


def different(columns: Sequence[Column]) -> Distinct:
    """Find the different values of columns, whose parts lie in two buckets each."""
    found = Distinct(1 << 30)
    for column in columns:
        half = column.end // 2
        cells = Cells()
        cells.add_runs([0, 1], [0, half], [BitMap(range(half)), BitMap(range(half, column.end))])
        finish(found.add(column, BitMap(range(column.end)), cells))
    return found


def test_columns_of_several_segments_share_the_numbers_of_their_values() -> None:
    numbering = Numbering()
    first, second = (of_users(numbering, range(start, start + 200)) for start in (0, 100))
    assert first.values is second.values
    assert len(first.values) == 1 + 300
    assert second.memory < first.memory
    both = BitMap()
    for column in (first, second):
        column.collect(BitMap(range(200)), both)
    assert sorted(first.values[number] for number in both) == [f"u{n:06}" for n in range(300)]


def test_an_empty_value_is_not_that_of_no_value() -> None:
    keys = [("user_id=", BitMap([1])), *users(FEW + 3)[2:-1]]
    column = Numbering().column_of(stored(keys, FEW + 3)["user_id"])
    counts = Counter[int]()
    column.count(BitMap([0, 1]), counts)
    assert [(column.values[number], n) for number, n in counts.items()] == [("", 1)]


def test_a_numbering_that_is_full_begins_anew_and_leaves_its_columns_as_they_are() -> None:
    numbering = Numbering()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("livelog.store.reader.storedcolumns.MOST", 200)
        first, second, third = (of_users(numbering, range(n, n + 199)) for n in (0, 100, 299))
    assert first.values is second.values is not third.values
    assert third.values[1] == "u000299"
    found = different([first, second, third])
    assert set(found.values) == {f"u{n:06}" for n in range(498)}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_kept_and_translated_numbers_name_the_same_values(order: tuple[int, ...]) -> None:
    numbering, other = Numbering(), Numbering()
    starts = ((numbering, 0), (numbering, 100), (other, 150))
    made = [(of_users(one, range(at, at + 200)), at) for one, at in starts]
    chosen = [made[place] for place in order]
    found = different([column for column, _ in chosen])
    named = {number: value for value, number in found.values.items()}
    assert len(named) == len(found.values) == 350
    for bucket in (0, 1):
        expected = {f"u{at + 100 * bucket + n:06}" for _, at in chosen for n in range(100)}
        assert {named[number] for number in found.buckets[bucket]} == expected


def test_a_damaged_column_is_noticed(tmp_path: Path) -> None:
    records = recorded([said(f"u{n}", "Ann") for n in range(2 * FEW)])
    disk = Disk(tmp_path / "live.db")
    disk.write(records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("livelog.store.reader.segments.SEALED_AT", len(records))
        disk.settle()
    disk.reader._stored.segments._check()
    question = Question("user_id", limit=3)
    assert counted_on(disk, EVERYTHING, len(records), question).total == len(records)
    disk.reopen()
    connection = disk.reader._stored.segments._connection
    fields = connection.execute("SELECT field FROM counted ORDER BY field").fetchall()
    assert fields == [("author_id",), ("user_id",)]
    connection.execute("UPDATE counted SET data = CAST(substr(data, 1, 50) || 'x' AS BLOB)")
    with pytest.raises(sqlite3.DatabaseError, match="column user_id"):
        counted_on(disk, EVERYTHING, len(records), question)
    disk.close()
