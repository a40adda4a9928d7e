"""Columns in memory: kept while they are asked for, right while they are made, sparing reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given, settings
from pyroaring import BitMap

from livelog.index.analysis.answer import answer
from livelog.index.analysis.calendar import SECOND
from livelog.index.analysis.question import Part, Question
from livelog.index.analysis.tally import Tally
from livelog.index.column import Column
from livelog.index.index import Index
from livelog.index.plan import finish
from livelog.index.query import EVERYTHING
from livelog.wire.commands import KEY_FILTERS
from livelog.wire.record import Record
from tests.support.strategies import Json, messages
from tests.support.ways import counted
from tests.test_analysis import at, paths, plain, plainly, recorded, said, told, window_of
from tests.test_query import complete


def many(count: int, **more: Any) -> list[Record]:
    """Return messages by 90 users; every third is a direct message, which involves two."""
    dm = {"type": "dm", "from_username": "Ann", "content": "hi"}
    some = [
        {**dm, "id": "x", "from_user_id": f"u{n % 90}", "to_user_id": f"u{n % 7}"}
        if n % 3 == 0
        else said(f"u{n % 90}", f"Ann {n % 80}", metadata={"level": n % 100} | more)
        for n in range(count)
    ]
    return recorded([{**one, "timestamp": at(60 * n)} for n, one in enumerate(some)])


def index_of(records: list[Record]) -> Index:
    index = Index()
    for one in records:
        index.add(one)
    return index


def column_of(index: Index, field: str) -> Column:
    [column] = finish(index.columns(field)) or []
    return column


def test_columns_are_kept_while_they_are_asked_for() -> None:
    index = index_of(many(300))
    before = index.memory
    column = column_of(index, "user_id")
    assert not any(column.number())
    assert index.memory > before + 300 * column.numbers.itemsize
    index.add(recorded([said("new", "New")])[0])
    assert column_of(index, "user_id") is column
    assert column.end == index.end == 301
    assert "new" in column.values
    index._check()
    for field in ("username", "channel", "author_id", "metadata.level"):
        column_of(index, field)
    assert column_of(index, "user_id") is not column  # four others came after it
    column = column_of(index, "user_id")
    finish(index.sweep())
    assert column_of(index, "user_id") is column
    index.forget_before(160)
    finish(index.sweep())
    assert column_of(index, "user_id").first == 160  # most of the other one is forgotten
    index._check()
    finish(index.sweep())
    finish(index.sweep())  # nobody has asked meanwhile
    assert index._columns.memory == 0


@pytest.mark.parametrize("field", ["user_id", "username", "metadata.level"])
def test_two_count_at_once_while_messages_come(field: str) -> None:
    records = many(600)
    window = window_of(records[:300])
    question = Question(field, "user_id", 3600 * SECOND, limit=200)
    with counted("by number"):
        first = window.analyze(EVERYTHING, question)
        for _ in range(4):
            next(first)
        window.extend(records[300:450])
        while window.work():
            pass
        second = window.analyze(EVERYTHING, question)
        found, coming = dict[int, Tally](), records[450:]
        while len(found) < 2:
            for number, steps in enumerate((first, second)):
                try:
                    next(steps)
                except StopIteration as stop:
                    found.setdefault(number, stop.value and stop.value.tally)
            if coming:
                window.append(coming.pop(0))
                while window.work():
                    pass
    for number, tally in found.items():
        finish(tally.spell(window.at))
        shown = told(finish(answer(tally)))
        assert shown == plainly(records[: shown["total"]], question)
        assert shown["total"] >= (300, 450)[number]
    window._check()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(messages.map(complete), min_size=1, max_size=6),
    st.lists(messages.map(complete), min_size=1, max_size=6),
    st.booleans(),
)
def test_new_messages_are_added_to_columns_without_a_look_at_all_keys(
    some: list[Json], more: list[Json], numbered: bool
) -> None:
    index = index_of(recorded(some))
    fields = [*KEY_FILTERS, "author_id"][-4:]
    columns = {field: column_of(index, field) for field in fields}
    for column in columns.values() if numbered else ():
        assert not any(column.number())
    for one in recorded([*some, *more])[len(some) :]:
        assume(len(one.keys) <= 32)
        index.add(one)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Index, "strings", None)
        for field, column in columns.items():
            assert column_of(index, field) is column
            assert column.end == index.end
            assert column.is_numbered is numbered
    index._check()


def test_the_values_of_few_messages_are_looked_up_and_those_of_many_counted_by_list() -> None:
    index = index_of(many(300))
    column = column_of(index, "user_id")
    for among, is_numbered in ((range(300), False), (range(100, 200), True), (range(300), True)):
        expected = dict(enumerate(map(BitMap(among).intersection_cardinality, column.lists)))
        found = [one for some in column.counted(BitMap(among)) for one in some]
        assert column.is_numbered is is_numbered
        assert dict(found) == {number: count for number, count in expected.items() if count}


def test_an_empty_value_and_one_that_is_named_twice_are_told_apart() -> None:
    column = Column()
    column.append([["a"], []])
    assert not any(column.number())
    column.append([["", "a", ""], [], ["b", "b"]])
    counts = Counter[int]()
    column.count(BitMap(range(5)), counts)
    assert {column.values[n]: count for n, count in counts.items()} == {"a": 2, "": 1, "b": 1}
    assert list(column.having) == [0, 2, 4]
    column._check()


@settings(max_examples=100, deadline=None)
@given(st.lists(messages.map(complete), min_size=1, max_size=12))
def test_columns_have_of_each_field_what_messages_have(some: list[Json]) -> None:
    records = recorded(some)
    window = window_of(records)
    for field in [*paths, *plain]:
        found = list[Any]()
        for way in ("read", "by list"):
            with counted(way):
                tally = finish(window.analyze(EVERYTHING, Question(field, limit=20))).tally
            finish(tally.spell(window.at))
            found.append(told(finish(answer(tally))))
        assert found[0] == found[1], field
    window._check()


def test_messages_are_read_only_where_keys_do_not_tell() -> None:
    records = many(300) + recorded([said("u1", "Ann", metadata={"level": 2**53})])
    records += recorded([said("u1", "Ann", metadata={"level": "x" * 65})])
    records += recorded([said("u1", "Ann", metadata={str(n): n for n in range(200)})])
    index, read = index_of(records), list[int]()
    found = finish(index.with_any_number("metadata.level")) | index.of_type("user")

    def reading(positions: Any) -> Iterator[tuple[int, bytes]]:
        read.extend(positions)
        return ((position, records[position].payload) for position in positions)

    for field, expected in (("metadata.level", [300, 301, 302]), ("user_id", [])):
        tally = Tally(Question(field))
        read.clear()
        finish(tally.add(Part(found, index, reading, lambda position: position + 1)))
        assert read == expected
        right = plainly([one for one in records if one.type == "user"], Question(field))
        shown = told(finish(answer(tally)))
        assert shown["missing"] == right["missing"]
        assert sum(tally.groups.values()) == sum(n for _, n in right["groups"]) + right["others"]
