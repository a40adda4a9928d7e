"""The timer wheel against a dict of deadlines."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from livelog.net.timers import TimerWheel

items = st.integers(0, 5)
TICK = 0.5
tenths = st.integers(-5, 15).map(lambda number: number / 10)


class WheelAgainstADict(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.wheel: TimerWheel[int] = TimerWheel(TICK)
        self.deadlines: dict[int, float] = {}
        self.now = 100.0

    @rule(item=items, ahead=tenths | st.floats(-2, 30))
    def put(self, item: int, ahead: float) -> None:
        self.wheel.set(item, self.now + ahead)
        self.deadlines[item] = self.now + max(0, ahead)

    @rule(item=items)
    def drop(self, item: int) -> None:
        self.wheel.drop(item)
        self.deadlines.pop(item, None)

    @rule(pause=tenths.map(abs) | st.floats(0, 10))
    def advance(self, pause: float) -> None:
        self.now += pause
        came = self.wheel.expired(self.now)
        assert len(came) == len(set(came))
        for item in came:
            assert self.deadlines.pop(item) <= self.now, "too early"
        late = [item for item, due in self.deadlines.items() if due + TICK <= self.now]
        assert not late, "too late"

    @invariant()
    def agree(self) -> None:
        self.wheel._check()
        assert len(self.wheel) == len(self.deadlines)


TestWheelAgainstADict = WheelAgainstADict.TestCase


def test_a_deadline_that_has_passed_comes_with_the_next_turn_but_one() -> None:
    wheel: TimerWheel[str] = TimerWheel(1.0)
    assert wheel.expired(10.0) == []
    wheel.set("late", 3.0)
    assert wheel.expired(10.9) == []
    assert wheel.expired(11.0) == ["late"]
