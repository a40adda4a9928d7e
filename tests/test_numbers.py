"""Numbers against a plain list: whatever is added, swept, renumbered and stored, both agree."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livelog.index import numbers
from livelog.index.numbers import Numbers, Values
from livelog.index.plan import finish
from livelog.store.reader import pieces
from livelog.store.reader.pieces import Row


@pytest.fixture(autouse=True, scope="module")
def small_bounds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbers, "_BLOCK", 8)
        patch.setattr(numbers, "_FREQUENT", 3)
        patch.setattr(numbers, "_JOINED", 1)
        patch.setattr(numbers, "_SWEPT", 1)
        yield


values = st.sampled_from([0.0, -0.0, 1.0, 1.5, 2.0**53, 1.7e308]) | st.floats(
    allow_nan=False, allow_infinity=False
)
lists = st.lists(st.lists(values, max_size=3), max_size=60)
spans = st.lists(st.tuples(values, values).map(sorted), min_size=1, max_size=5)


def filled(said: list[list[float]]) -> Numbers:
    made = Numbers()
    for position, some in enumerate(said):
        assert not made.add([("a.b", value) for value in some], position)
    made._check()
    return made


def positions(said: list[list[float]], low: float, high: float, start: int = 0) -> list[int]:
    """Return the positions from `start` on with a number in a range."""
    found = enumerate(said)
    return [at for at, some in found if at >= start and any(low <= one <= high for one in some)]


@given(lists, spans, st.integers(0, 60))
def test_numbers_are_found_also_after_others_were_forgotten(
    said: list[list[float]], asked: list[list[float]], start: int
) -> None:
    made = filled(said)
    for low, high in asked:
        assert list(finish(made.between("a.b", low, high))) == positions(said, low, high)
    finish(made.sweep(start))
    made._check()
    lower = made.renumbered(start)
    lower._check()
    for low, high in asked:
        left = positions(said, low, high, start)
        assert list(finish(made.between("a.b", low, high))) == left
        assert list(finish(lower.between("a.b", low, high))) == [at - start for at in left]
    assert list(finish(made.below("a"))) == positions(said, -inf, inf, start)
    assert not finish(made.between("a", -inf, inf))
    assert bool(len(made)) == bool(positions(said, -inf, inf, start))


@given(lists, spans)
def test_a_search_is_not_disturbed_by_what_happens_in_its_pauses(
    said: list[list[float]], asked: list[list[float]]
) -> None:
    made = filled(said)
    for low, high in asked:
        searching = made.between("a.b", low, high)
        if next(searching, searching) is searching:
            continue  # too few to be interrupted
        for position, value in enumerate([low, high, 1.0, 1.0, 1.0, 2.0, *range(9)], len(said)):
            made.add([("a.b", float(value))], position)
        finish(made.sweep(0))
        found = [at for at in finish(searching) if at < len(said)]
        assert found == positions(said, low, high)
        made = filled(said)


@given(lists, spans, st.integers(0, 1000))
def test_stored_pieces_are_the_same_and_can_be_joined(
    said: list[list[float]], asked: list[list[float]], offset: int
) -> None:
    joined = Values()
    for number, (path, piece) in enumerate(filled(said).pieces()):
        assert path == "a.b"
        stored = pieces.unpacked(Row(number, piece.low, piece.high), pieces.packed(piece))
        assert sorted(set(stored.pairs())) == sorted(set(piece.pairs()))
        joined.extend(stored, offset)
    for low, high in asked:
        found = list(finish(joined.between(low, high)))
        assert found == [at + offset for at in positions(said, low, high)]


def test_numbers_of_very_many_paths_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "MAX_PATHS", 2)
    made = Numbers()
    said = [("a.b", 1.0), ("a.c", 1.0), ("a.d", 1.0), ("count", 1.0), ("a.b", 2.0)]
    assert made.add(said, 0) == {"a.d"}
    assert [path for path, _ in made.pieces()] == ["a.b", "a.c", "count"]
