"""The order of calls in the reading process: owners share its time, short calls go first."""

from __future__ import annotations

from collections import Counter

import pytest

from livelog.budget.owner import Owner
from livelog.index.plan import Steps
from livelog.store.reader.schedule import Schedule, Task

SLICE = 0.02


def steps() -> Steps[None]:
    while True:
        yield


def calls(*owners: Owner) -> Schedule:
    schedule = Schedule()
    for number, owner in enumerate(owners, 1):
        schedule.add(Task(number, owner, steps()))
    return schedule


def turns(schedule: Schedule, count: int) -> list[int]:
    """The numbers of the calls that get the next turns."""
    found = []
    for _ in range(count):
        task = schedule.next()
        assert task is not None
        schedule.charge(task, SLICE)
        found.append(task.number)
    return found


def test_an_owner_with_many_calls_has_as_many_turns_as_one_with_a_single_call() -> None:
    busy, other = Owner("", "192.0.2.1"), Owner("", "192.0.2.2")
    schedule = calls(*[busy] * 20, other)
    assert Counter(turns(schedule, 40))[21] == 20


def test_many_users_at_an_address_share_its_turns() -> None:
    here = [Owner(f"u{number}", "192.0.2.1") for number in range(20)]
    schedule = calls(*here, Owner("other", "192.0.2.2"))
    found = Counter(turns(schedule, 42))
    assert 20 <= found[21] <= 22
    assert max(found[number] for number in range(1, 21)) == 2


def test_a_user_at_many_addresses_has_one_turn() -> None:
    everywhere = [Owner("u", f"192.0.2.{number}") for number in range(20)]
    schedule = calls(*everywhere, Owner("other", "192.0.2.99"))
    assert Counter(turns(schedule, 40))[21] == 20


def test_a_call_that_comes_again_and_again_does_not_keep_others_waiting() -> None:
    schedule = calls(Owner("", "192.0.2.1"), Owner("", "192.0.2.2"))
    turns(schedule, 1)
    for number in range(3, 20):
        schedule.drop(number - 1 if number > 3 else 1)
        schedule.add(Task(number, Owner("", "192.0.2.1"), steps()))
        if turns(schedule, 1) == [2]:
            return
    raise AssertionError("the other owner had no turn")


def test_a_short_call_goes_before_the_long_ones_of_its_owner() -> None:
    owner = Owner("", "192.0.2.1")
    schedule = calls(*[owner] * 5)
    turns(schedule, 10)
    schedule.add(Task(6, owner, steps()))
    assert turns(schedule, 1) == [6]


def test_long_calls_of_an_owner_are_carried_out_one_after_the_other() -> None:
    schedule = calls(*[Owner("", "192.0.2.1")] * 4)
    assert set(turns(schedule, 100)[50:]) == {1}


def test_a_call_that_is_dropped_has_no_turn_and_leaves_nothing() -> None:
    schedule = calls(Owner("u", "192.0.2.1"), Owner("u", "192.0.2.2"))
    schedule.drop(1)
    schedule.drop(7)
    assert turns(schedule, 2) == [2, 2]
    schedule.drop(2)
    assert schedule.next() is None
    assert not len(schedule)
    assert not schedule._shares._tags


def test_a_short_call_goes_before_those_of_any_number_of_busy_owners() -> None:
    schedule = calls(*[Owner("", f"192.0.2.{number}") for number in range(20)])
    turns(schedule, 50)
    for number in range(100, 110):
        schedule.add(Task(number, Owner("", "192.0.2.99"), steps()))
        task = schedule.next()
        assert task is not None
        assert task.number == number
        schedule.charge(task, SLICE / 100)
        schedule.drop(number)
        turns(schedule, 1)


def test_an_owner_that_leaves_and_comes_back_has_no_more_than_its_share() -> None:
    schedule = calls(Owner("", "192.0.2.1"), Owner("", "192.0.2.2"))
    found: list[int] = []
    for number in range(100, 160):  # an expensive call, given up after its slice
        schedule.add(Task(number, Owner("", "192.0.2.3"), steps()))
        found += turns(schedule, 1)
        schedule.drop(number)
    assert 15 <= sum(number >= 100 for number in found) <= 25


def test_an_owner_is_ahead_until_its_credit_is_used_up() -> None:
    schedule = calls(*[Owner("", f"192.0.2.{number}") for number in range(5)])
    turns(schedule, 50)
    task = Task(100, Owner("", "192.0.2.99"), steps())
    schedule.add(task)
    assert schedule.is_ahead(task)
    schedule.charge(task, 1.0)
    assert not schedule.is_ahead(task)


def test_no_number_of_owners_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livelog.budget.shares._REMEMBERED", 8)
    schedule = calls(Owner("", "192.0.2.1"))
    for number in range(2, 200):
        schedule.add(Task(number, Owner(f"u{number}", f"192.0.2.{number}"), steps()))
        turns(schedule, 1)
        schedule.drop(number)
    assert len(schedule._shares._tags) < 30
