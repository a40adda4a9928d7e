"""The roster: counts and changes against plain sets, over nodes that come, go and lose words."""

from __future__ import annotations

import random
import sys

import msgspec
import pytest
from sortedcontainers import SortedList

from livelog.net.roster import SLOTS, WORD, Roster, _slot_of

NOW = 1_764_763_200.0


def told(source: Roster, target: Roster, node: str = "aa", lost: float = 0.0) -> None:
    """Let one node say what it has to say, of which a part may get lost."""
    for word in source.words(node):
        if random.random() >= lost:
            target.hear(word)


def test_a_user_is_one_whatever_the_number_of_connections() -> None:
    roster = Roster()
    for _ in range(3):
        roster.enter("ann", NOW)
    roster.enter("bob", NOW + 1)
    assert (len(roster), roster.here, "ann" in roster) == (2, 2, True)
    assert roster.spell("ann") == (3, NOW)
    assert roster.changes == {"ann": True, "bob": True}
    for _ in range(3):
        roster.leave("ann")
    assert len(roster) == 1
    assert roster.changes == {"bob": True}  # ann is where she was
    roster._check()


def test_a_user_at_two_nodes_is_one_and_on_line_since_the_first() -> None:
    here, there = Roster(), Roster()
    here.enter("ann", NOW)
    there.enter("ann", NOW - 5)
    there.enter("bob", NOW)
    told(there, here)
    assert sorted(here) == ["ann", "bob"]
    assert here.spell("ann") == (2, NOW - 5)
    here.changes.clear()
    here.leave("ann")
    assert here.changes == {}
    here.keep({"bb"})  # the other node is gone
    assert (len(here), here.changes) == (0, {"ann": False, "bob": False})
    here._check()


def test_what_is_lost_is_said_again_in_turn() -> None:
    here, there = Roster(), Roster()
    for number in range(300):
        there.enter(f"user-{number}", NOW)
    told(there, here, lost=1.0)
    assert len(here) == 0
    for _ in range(SLOTS // 8):  # a minute of rounds
        told(there, here)
    assert sorted(here) == sorted(there)
    here._check()


def test_what_could_not_be_said_stays_to_be_said() -> None:
    here, there = Roster(), Roster()
    for number in range(300):
        there.enter(f"user-{number}", NOW)
    words = there.words("aa")
    for _ in range(10):
        here.hear(next(words))
    del words  # the broker is away
    told(there, here)
    assert sorted(here) == sorted(there)


def test_a_node_that_is_new_is_told_everything_at_once() -> None:
    here, there = Roster(), Roster()
    for number in range(300):
        there.enter(f"user-{number}", NOW)
    assert [*there.words("aa")]
    there.repeat()
    told(there, here)
    assert len(here) == 300


@pytest.mark.parametrize(
    "word",
    [
        b"", b"{}", b'["aa",256,{}]', b'["aa",-1,{}]', b'["aa",0,{"x":[0,1]}]',
        b'["aa",0,{"x":[1]}]', b'["aa",0,{"x":[1,NaN]}]',
        b'["aa",0,{"' + b"x" * 300 + b'":[1,1]}]', b"\xff",
    ],
)  # fmt: skip
def test_a_word_that_is_malformed_changes_nothing(word: bytes) -> None:
    roster = Roster()
    with pytest.raises(ValueError, match=r"."):
        roster.hear(WORD + word)
    assert len(roster) == 0
    roster._check()


def test_users_in_a_slot_that_is_not_theirs_are_passed_over() -> None:
    roster = Roster()
    users = {"ann": (1, NOW), "bob": (1, NOW)}
    assert _slot_of("ann") != _slot_of("bob")
    roster.hear(WORD + msgspec.json.encode(["aa", _slot_of("ann"), users]))
    assert [*roster] == ["ann"]


def test_the_users_of_other_nodes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livelog.net.roster._MAX_ELSEWHERE", 5)
    here, there = Roster(), Roster()
    for number in range(50):
        there.enter(f"user-{number}", NOW)
    told(there, here)
    assert len(here) == 5
    here._check()


@pytest.mark.parametrize("seed", range(20))
def test_it_agrees_with_plain_sets(seed: int) -> None:
    dice = random.Random(seed)
    here, others = Roster(), [Roster() for _ in range(3)]
    rosters = [here, *others]
    open_: list[list[str]] = [[] for _ in rosters]
    known: set[str] = set()
    for _ in range(400):
        which = dice.randrange(4)
        if open_[which] and dice.random() < 0.5:
            rosters[which].leave(open_[which].pop(dice.randrange(len(open_[which]))))
        else:
            user = f"user-{dice.randrange(12)}"
            open_[which].append(user)
            rosters[which].enter(user, NOW)
        for number, other in enumerate(others):
            told(other, here, f"n{number}")
        here._check()
        online = {user for users in open_ for user in users}
        assert {*here} == online
        assert all(here.spell(u).connections == sum(us.count(u) for us in open_) for u in online)
        if dice.random() < 0.2:
            changes, here.changes = here.changes, {}
            assert changes == {user: user in online for user in online ^ known}
            known = online


def test_ten_thousand_users_cost_at_most_300_bytes_each() -> None:
    def size(part: object, seen: set[int]) -> int:
        if id(part) in seen or isinstance(part, int | type(None)):
            return 0
        seen.add(id(part))
        inner: list[object] = []
        if isinstance(part, dict):
            inner = [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set):
            inner = [*part]
        elif isinstance(part, Roster | SortedList):
            inner = [each for each in vars(part).values() if not callable(each)]
        return sys.getsizeof(part) + sum(size(each, seen) for each in inner)

    here, there = Roster(), Roster()
    for number in range(5_000):
        here.enter(f"user_{number:08}", NOW + number)
        there.enter(f"user_{number + 5_000:08}", NOW + number)
    told(there, here)
    here.changes.clear()
    assert len(here) == 10_000
    each = size(here, set()) / 10_000
    assert each <= 300
