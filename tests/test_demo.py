"""Sample traffic: valid messages of every type, the same for a seed, at the rate asked for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from itertools import islice, pairwise
from typing import Any, TypeVarTuple, get_args, get_type_hints

import pytest

from livelog.cli.demo import MOST_AT_ONCE, World, run
from livelog.log.ingest import convert
from livelog.wire.messages import (
    TYPES,
    GuildMessage,
    Message,
    PartyMessage,
    RaidMessage,
    SystemMessage,
)

Args = TypeVarTuple("Args")

SOME = 5000
SEEDS = [0, 1, 7, 2**40, -3]


def first(seed: int, count: int = SOME) -> list[dict[str, Any]]:
    return list(islice(World(seed), count))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_sample_message_would_be_taken_from_a_producer(seed: int) -> None:
    for message in first(seed):
        checked = convert(message)
        fields = set(checked.__struct_encode_fields__) - {"id", "timestamp"}
        assert message.keys() == fields | {"type"}, "it leaves out what the server stamps, only"


@pytest.mark.parametrize("seed", SEEDS)
def test_all_six_types_come_soon_and_none_is_rare(seed: int) -> None:
    assert {message["type"] for message in first(seed, 200)} == set(TYPES)
    counts = Counter(message["type"] for message in first(seed))
    assert min(counts.values()) > SOME * 0.03
    assert counts.most_common(1)[0][0] == "user", "people talk more than anything else happens"


@pytest.mark.parametrize(
    ("shape", "field"),
    [
        (SystemMessage, "event"),
        (RaidMessage, "status"),
        (PartyMessage, "event"),
        (GuildMessage, "event"),
    ],
)
def test_every_kind_of_event_happens(shape: type[Message], field: str) -> None:
    seen = {
        message[field]
        for message in first(0, 20_000)
        if message["type"] == shape.__struct_config__.tag
    }
    assert seen == set(get_args(get_type_hints(shape)[field]))


def test_the_seed_decides_everything() -> None:
    assert first(3) == first(3)
    assert first(3) != first(4)


def test_a_message_is_not_changed_by_what_happens_after_it() -> None:
    world = World(1)
    kept = list(islice(world, 500))
    copies = first(1, 500)
    for _ in range(500):
        next(world)
    assert kept == copies


class FakeTime(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer instead of waiting for it."""

    now = 0.0
    slow = 0.0
    """Time that passes whenever somebody looks at the clock."""

    def time(self) -> float:
        self.now += self.slow
        return self.now

    def call_at(
        self,
        when: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.now = max(self.now, when)
        return super().call_at(self.now, callback, *args, context=context)


class Enough(Exception):
    """The test has seen what it wanted."""


def traffic(
    loop: FakeTime, rate: float, count: int, watch: Callable[[list[float]], None] = lambda _: None
) -> list[float]:
    """The times at which `count` messages come."""
    came: list[float] = []

    def publish(message: dict[str, Any]) -> None:
        came.append(loop.now)
        watch(came)
        if len(came) == count:
            raise Enough

    with asyncio.Runner(loop_factory=lambda: loop) as runner, pytest.raises(Enough):
        runner.run(run(World(0), publish, rate))
    return came


@pytest.mark.parametrize("rate", [0.5, 5.0, 1000.0])
def test_it_keeps_the_rate_on_average_with_natural_gaps(rate: float) -> None:
    came = traffic(FakeTime(), rate, 3000)
    assert 0.9 * rate < len(came) / came[-1] < 1.1 * rate
    gaps = [later - earlier for earlier, later in pairwise(came)]
    assert min(gaps) * rate < 0.01
    assert max(gaps) * rate > 3, "some gaps are long, some short"


def test_it_makes_up_for_a_short_delay_and_skips_a_long_one() -> None:
    for delay, fewest, most in ((0.9, 40, 200), (60.0, 1, 40)):
        loop = FakeTime()

        def hang(came: list[float], loop: FakeTime = loop, delay: float = delay) -> None:
            if len(came) == 100:
                loop.now += delay

        came = traffic(loop, 100.0, 500, hang)
        back = came[99] + delay
        at_once = sum(back <= time < back + 0.05 for time in came[100:])
        assert fewest <= at_once <= most


def test_the_rest_of_the_loop_gets_its_turn_under_any_rate() -> None:
    loop = FakeTime()
    loop.slow = 0.01
    rows: list[int] = [0]

    def watch(came: list[float]) -> None:
        rows[-1] += 1
        if rows[-1] == 1:
            loop.call_soon(rows.append, 0)

    traffic(loop, 100_000.0, 3000, watch)
    assert max(rows) == MOST_AT_ONCE
