"""Retention by age: what is too old, and clocks that say so wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from livelog.store.age import _SUSPENDED_SECONDS, FIRST_CUT_SECONDS, Age
from livelog.store.database.connection import Connection
from livelog.store.database.file import open_file

DAY = 86_400.0
START = 1_800_000_000.0


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    made, _ = open_file(str(tmp_path / "live.db"))
    with closing(made):
        yield made


class Clocks:
    """A wall clock that can be set, and the time that passes."""

    def __init__(self) -> None:
        self.offset = START
        self.passed = 0.0

    def wall(self) -> float:
        return self.offset + self.passed

    def age(self, connection: Connection, days: float = 1.0, clocked_upto: int = 0) -> Age:
        return Age(connection, days, clocked_upto, self.wall, lambda: self.passed)


def run(age: Age, clocks: Clocks, seconds: float, seq: int) -> None:
    """Let time pass, with a note a minute."""
    for _ in range(round(seconds / 60)):
        clocks.passed += 60
        age.note(seq)


def test_messages_go_when_they_are_old_enough(connection: Connection) -> None:
    clocks = Clocks()
    age = clocks.age(connection)
    age.note(10)
    run(age, clocks, DAY / 2, 10)
    run(age, clocks, DAY / 2 - 60, 20)
    assert age.cut() == 0
    run(age, clocks, 120, 20)
    assert age.cut() == 10
    run(age, clocks, DAY / 2, 30)
    assert age.cut() == 20
    age.forget(20)
    assert age.cut() == 0
    run(age, clocks, DAY, 30)
    assert age.cut() == 30


def test_a_new_process_goes_on_with_the_notes(connection: Connection) -> None:
    clocks = Clocks()
    age = clocks.age(connection)
    run(age, clocks, 3600, 10)
    clocks.passed += 2 * DAY
    age = clocks.age(connection)
    run(age, clocks, FIRST_CUT_SECONDS - 60, 10)
    assert age.cut() == 0, "not right after the start"
    run(age, clocks, 120, 10)
    assert age.cut() == 10


@pytest.mark.parametrize("step", [3 * DAY, 365 * DAY, 2 * 3600, -3 * DAY])
def test_a_step_of_the_clock_deletes_nothing(connection: Connection, step: float) -> None:
    clocks = Clocks()
    age = clocks.age(connection)
    run(age, clocks, 3600, 10)
    clocks.offset += step
    clocks.passed += 3
    age.note(20)
    assert age.cut() == 0
    clocks.offset -= step
    run(age, clocks, _SUSPENDED_SECONDS + 3600, 20)
    assert age.cut() == 0


def test_a_step_is_seen_without_a_note(connection: Connection) -> None:
    """As while nothing can be written."""
    clocks = Clocks()
    age = clocks.age(connection)
    run(age, clocks, 3600, 10)
    clocks.offset += 3 * DAY
    assert age.cut() == 0


def test_a_clock_that_stays_set_is_believed_after_an_hour(connection: Connection) -> None:
    clocks = Clocks()
    age = clocks.age(connection)
    run(age, clocks, 3600, 10)
    age = clocks.age(connection)
    clocks.offset += 3 * DAY
    run(age, clocks, _SUSPENDED_SECONDS - 60, 10)
    assert age.cut() == 0
    run(age, clocks, 180, 10)
    assert age.cut() == 10


@pytest.mark.parametrize("before", [0.0, DAY])
def test_a_clock_that_is_set_after_the_start_makes_nothing_older(
    connection: Connection, before: float
) -> None:
    """A machine without a clock of its own begins in the past, until the network tells the time."""
    clocks = Clocks()
    run(clocks.age(connection), clocks, before, 5)
    clocks.offset -= 30 * DAY
    age = clocks.age(connection)
    run(age, clocks, 1800, 20)
    clocks.offset += 60 * DAY
    run(age, clocks, DAY - 3600, 30)
    assert age.cut() == (5 if before else 0)
    run(age, clocks, 3900, 30)
    assert age.cut() == 30


def test_a_clock_that_drifts_is_no_step(connection: Connection) -> None:
    clocks = Clocks()
    age = clocks.age(connection)
    run(age, clocks, 3600, 10)
    for _ in range(2000):
        clocks.offset += 0.5
        run(age, clocks, 60, 10)
    assert age.cut() == 10


def test_a_damaged_note_deletes_nothing(connection: Connection) -> None:
    clocks = Clocks()
    age = clocks.age(connection)
    run(age, clocks, 3600, 10)
    connection.execute("UPDATE arrival SET time = 1")
    assert age.cut() == 0


def test_seqs_of_earlier_versions_are_times(connection: Connection) -> None:
    clocks = Clocks()
    last = int((START - DAY / 2) * 1_000_000)
    age = clocks.age(connection, clocked_upto=last)
    run(age, clocks, DAY / 4, last)
    assert age.cut() == int((clocks.wall() - DAY) * 1_000_000)
    run(age, clocks, DAY, last)
    assert age.cut() == last


def test_without_a_bound_nothing_is_too_old(connection: Connection) -> None:
    clocks = Clocks()
    age = clocks.age(connection, days=0)
    run(age, clocks, 3600, 10)
    clocks.passed += 1000 * DAY
    assert age.cut() == 0
