"""The accounts of memory: what has room, who gives way first, and what is refused last."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from livelog.budget.memory import PAGE_BYTES, SMALL_BYTES, Account, Memory
from livelog.errors import SERVER_ERROR, RefusedError
from tests.support.process import ROOT

MIB = 2**20


class Place:
    """A memory of 256 MiB, and a window that takes all it may have."""

    def __init__(self, limit: int = 256 * MIB, window: int = 128 * MIB) -> None:
        self.window = window
        self.stuck = False
        self.pending = self.acts = 0
        self.memory = Memory(
            limit,
            window,
            window=lambda: self.window,
            commits=lambda: self.pending,
            acts=lambda: self.acts,
            bound=self.bound,
        )

    def bound(self, most: int) -> None:
        if not self.stuck:
            self.window = most

    def answer(self, owner: str = "a") -> tuple[object, int]:
        holder = object()
        return holder, self.memory.reserve_answer(holder, owner)


def is_short(act: Callable[[], object]) -> bool:
    """Tell whether there is no room: a 503 over HTTP, which is held against nobody."""
    try:
        act()
    except RefusedError as refused:
        return (refused.code, refused.retry_after) == (SERVER_ERROR, 1.0)
    return False


def test_an_owner_has_half_of_the_answers_and_then_small_ones_only() -> None:
    place = Place()
    sizes = [place.answer()[1] for _ in range(10)]
    assert sizes == [PAGE_BYTES] * 8 + [SMALL_BYTES] * 2
    assert place.answer("b")[1] == PAGE_BYTES


def test_all_answers_together_are_bounded_but_for_small_ones() -> None:
    place = Place()
    sizes = [place.answer(f"owner {number}")[1] for number in range(20)]
    assert sizes[:16] == [PAGE_BYTES] * 16
    assert sizes[16:] == [SMALL_BYTES] * 4


def test_an_answer_that_is_sent_makes_room() -> None:
    place = Place()
    held = [place.answer() for _ in range(9)]
    place.memory.answers.drop(held[0][0])
    place.memory.answers.drop(held[0][0])
    place.memory.answers.hold(held[1][0], 100, "a")
    assert place.answer()[1] == PAGE_BYTES


def test_the_window_gives_way_first_and_comes_back() -> None:
    place = Place()
    assert place.window == 128 * MIB
    place.pending = 60 * MIB
    assert place.memory.refusal is None
    slow = object()
    place.memory.deliveries.hold(slow, 40 * MIB)
    assert place.window == (256 - 64 - 16 - 60 - 40) * MIB
    place.memory.deliveries.drop(slow)
    place.pending = 0
    assert place.memory.refusal is None
    assert place.window == 128 * MIB


def test_answers_are_refused_before_messages_and_deliveries_never() -> None:
    place = Place()
    refused: list[tuple[bool, bool]] = []
    slow = object()
    for size in range(0, 300 * MIB, MIB):
        place.memory.deliveries.hold(slow, size)
        holder = object()
        answer = is_short(lambda holder=holder: place.memory.reserve_answer(holder, "a"))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        place.memory.answers.drop(holder)
        refused.append((answer, place.memory.refusal is not None))
    assert refused[0] == (False, False)
    assert refused[-1] == (True, True)
    assert (True, False) in refused
    assert refused == sorted(refused)
    assert place.window == 32 * MIB
    place.memory.deliveries.drop(slow)
    assert place.memory.refusal is None


def test_slow_subscribers_get_smaller_chunks_of_few_sizes() -> None:
    """Those that resume at one place share a chunk only if theirs are of one size."""
    place = Place()
    sizes = []
    for held in range(0, 40 * MIB, 10_000):
        place.memory.deliveries.hold(place, held)
        sizes.append(place.memory.chunk_bytes())
    assert sorted(set(sizes)) == [size * 1024 for size in (16, 32, 64, 128, 256)]
    assert sizes == sorted(sizes, reverse=True)


def test_messages_are_refused_while_too_many_wait_for_the_disk() -> None:
    """They cannot be evicted, however small the window has to be."""
    place = Place()
    place.stuck, place.window = True, 170 * MIB
    refused = place.memory.refusal
    assert refused is not None
    assert refused.retry_after
    place.window = 128 * MIB
    assert place.memory.refusal is None


def test_a_window_whose_index_has_grown_is_told_its_bound_again() -> None:
    """No commit would do it, since messages are refused."""
    place = Place()
    place.window = 200 * MIB
    assert place.memory.refusal is None
    assert place.window == 128 * MIB


def test_bodies_are_shared_out_and_small_ones_have_room() -> None:
    place = Place()
    first, second, small = object(), object(), object()
    place.memory.hold_body(first, 30 * MIB, "a")
    assert is_short(lambda: place.memory.hold_body(second, 3 * MIB, "a"))
    place.memory.hold_body(second, 30 * MIB, "b")
    assert is_short(lambda: place.memory.hold_body(object(), 10 * MIB, "c"))
    place.memory.hold_body(small, SMALL_BYTES, "a")
    place.memory.hold_body(first, 20 * MIB, "a")
    place.memory.hold_body(object(), 10 * MIB, "c")


def test_a_single_body_may_take_more_than_a_share() -> None:
    place = Place()
    body = object()
    for size in range(10, 150, 10):
        place.memory.hold_body(body, size * MIB, "a")
    assert is_short(lambda: place.memory.hold_body(body, 170 * MIB, "a"))
    assert place.memory.bodies.size_of(body) == 140 * MIB


@pytest.mark.parametrize("limit", [64, 256, 512, 4096])
def test_the_figures_say_what_is_held(limit: int) -> None:
    place = Place(limit * MIB)
    holder, size = place.answer()
    place.memory.hold_body(holder, 10, "a")
    place.memory.deliveries.hold(holder, 20)
    place.pending, place.acts = 30, 7
    assert place.memory.figures() == {
        "limit": limit * MIB,
        "window": place.window,
        "answers": size,
        "deliveries": 20,
        "bodies": 10,
        "commits": 30,
        "acts": 7,
        "reading": limit * MIB // 4,
    }
    assert sum(place.memory.figures().values()) - limit * MIB <= limit * MIB


class AccountAgainstADictionary(RuleBasedStateMachine):
    holders = Bundle("holders")

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0
        self.account = Account(1000, self.changed)
        self.model: dict[object, tuple[str, int]] = {}

    def changed(self) -> None:
        self.changes += 1

    @rule(target=holders)
    def holder(self) -> object:
        return object()

    @rule(holder=holders, size=st.integers(0, 600), owner=st.sampled_from("ab"))
    def hold(self, holder: object, size: int, owner: str) -> None:
        self.account.hold(holder, size, owner)
        self.model[holder] = owner, size

    @rule(holder=consumes(holders))
    def drop(self, holder: object) -> None:
        self.account.drop(holder)
        self.model.pop(holder, None)

    @invariant()
    def sums_are_right(self) -> None:
        self.account._check()
        total = sum(size for _, size in self.model.values())
        assert self.account.total == total
        for owner in "ab":
            own = sum(size for each, size in self.model.values() if each == owner)
            assert self.account.left(owner) == min(1000 - total, 500 - own)


TestAccountAgainstADictionary = AccountAgainstADictionary.TestCase


_EVICTING = """
import sys
from pathlib import Path
from livelog.budget.memory import return_freed_memory

if sys.argv[1] == "returned":
    return_freed_memory()

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

kept, evicted = [], []
for _ in range(1000):
    evicted.append(b"x" * 60_000)
    kept.append(b"x" * 1000)
before = resident()
evicted.clear()
print(before - resident())
"""


def test_memory_of_evicted_messages_goes_back_to_the_system() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("the C library is not glibc")
    freed = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", _EVICTING, how],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for how in ("kept", "returned")
    }
    assert freed["returned"] > 50 * MIB
    assert freed["kept"] < freed["returned"]
