"""Waiting times of the client: between attempts to connect, and under the server's rate limits."""

from __future__ import annotations

import asyncio

import pytest

from livelog.client.backoff import DELAYS, FORGET, LASTED, Backoff, Clock, Pace


def backoff(random: float = 1.0) -> Backoff:
    return Backoff(Clock(random=lambda: random))


def test_the_delays_are_those_of_the_api_and_the_last_one_repeats() -> None:
    delays = backoff()
    assert [delays.next() for _ in range(8)] == [0, 1, 2, 4, 8, 60, 60, 60]


@pytest.mark.parametrize("random", [0.0, 0.25, 0.999])
def test_an_attempt_waits_a_random_part_of_its_delay(random: float) -> None:
    delays = backoff(random)
    assert [delays.next() for _ in DELAYS] == [random * delay for delay in DELAYS]


def test_only_a_connection_that_lasted_starts_the_table_anew() -> None:
    delays = backoff()
    for _ in range(3):
        delays.next()
    delays.lived(LASTED - 0.001)
    assert delays.next() == DELAYS[3]
    delays.lived(LASTED)
    assert delays.next() == DELAYS[0]


def test_a_planned_end_costs_no_wait_as_often_as_there_are_servers() -> None:
    delays = Backoff(Clock(random=lambda: 1.0), servers=3)
    assert [delays.next(planned=True) for _ in range(5)] == [0, 0, 0, DELAYS[0], DELAYS[1]]
    delays.lived(LASTED)
    assert [delays.next(planned=planned) for planned in (False, True, False)] == [0, 0, DELAYS[1]]


def test_the_only_server_is_not_left_for_another() -> None:
    delays = Backoff(Clock(random=lambda: 1.0), servers=1)
    assert [delays.next(planned=True) for _ in range(3)] == [0, 1, 2]


class Waits:
    """A pace, with a clock that only the test moves, and the waits it asked for."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.pace = Pace(Clock(now=lambda: self.now, sleep=self._sleep))

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def wait(self, times: int = 1) -> list[float]:
        """Let this many commands wait one after the other; return their waits."""

        async def main() -> None:
            for _ in range(times):
                await self.pace.wait()

        self.slept.clear()
        asyncio.run(main())
        return self.slept


def test_no_command_waits_before_one_was_refused() -> None:
    assert Waits().wait(100) == []


def test_refused_commands_are_sent_one_after_the_other() -> None:
    waits = Waits()
    waits.pace.refused(6)
    waits.pace.refused(2)
    assert waits.wait(3) == [6, 12, 18]


def test_the_wait_is_counted_from_the_refusal() -> None:
    waits = Waits()
    waits.pace.refused(6)
    waits.now += 4
    assert waits.wait() == [2]
    waits.now += 100
    waits = Waits()
    waits.pace.refused(6)
    waits.now += 7
    assert waits.wait(2) == [6]


def test_a_limit_that_was_not_met_for_long_is_fresh() -> None:
    waits = Waits()
    waits.pace.refused(6)
    waits.wait(3)
    waits.now += 18 + 6 + FORGET
    assert waits.wait(3) == []


def test_a_later_refusal_never_shortens_the_wait() -> None:
    waits = Waits()
    waits.pace.refused(10)
    waits.now += 1
    waits.pace.refused(3)
    assert waits.wait() == [9]
