"""Checks of `bench ask`: its messages, and that the peers which are installed count as livelog."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from bench.days import DAY, Days
from bench.peers import Peer, are_whole, installed
from bench.questions import KINDS, NOW, Question
from livelog.auth.principal import ANYBODY
from livelog.index.plan import finish
from livelog.index.query import compile_query
from livelog.log.window import Window
from livelog.wire.commands import Filters
from tests.support.strategies import record

DAYS = Days(600)
WORDS = DAYS.words()


@pytest.fixture(scope="module")
def window() -> Window:
    made = Window(DAYS.count, 1 << 30)
    for seq, payload in enumerate(DAYS.messages(0), 1):
        made.append(record(json.loads(payload), seq))
        while made.work():
            pass
    return made


@pytest.fixture(scope="module", params=list(installed()))
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    make: Callable[[], Peer] = request.param
    made = make()
    made.load(DAYS.rows(0))
    yield made
    made.close()


def matches(window: Window, where: str) -> int:
    query = compile_query(ANYBODY, Filters(where=where), now=NOW)
    return finish(window.find(query)).total


# Words that are no parts of others, so that engines for whole words find the same.
ONE, TWO, THREE = [one for one in sorted(WORDS) if are_whole(Question(one), WORDS)][:3]


@pytest.mark.parametrize(
    "where",
    [
        "channel:general",
        "-channel:general type:user",
        "metadata.level:20..40 -channel:trade",
        "metadata.level:>=30 (severity:info OR server:main)",
        f"{ONE} OR {TWO} -type:guild",
        f"-{ONE} -({TWO} OR channel:help)",
        f"({ONE} OR user_joined) -{TWO} -(type:dm {THREE})",
        "treasury_deposit",
    ],
)
def test_a_peer_counts_the_same(peer: Peer, window: Window, where: str) -> None:
    question = Question(where)
    assert peer.agrees_on(question, WORDS)
    assert peer.ask(question).total == matches(window, where) > 0


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_what_is_drawn_is_counted_the_same(peer: Peer, window: Window, kind: str) -> None:
    [drawn] = [one for one in KINDS if one.name == kind]
    questions = [one for one in drawn.questions(DAYS, 30) if peer.can(one)]
    totals = {one: matches(window, one.where) for one in questions}
    assert len(set(totals.values())) > 5 or not questions
    for question in questions:
        if peer.agrees_on(question, WORDS):
            assert peer.ask(question).total == totals[question], question


def test_the_days_follow_each_other_and_differ_in_id_and_time_alone() -> None:
    first, second = ([json.loads(one) for one in DAYS.messages(day)] for day in (0, 1))
    assert len({one["id"] for one in first + second}) == 2 * DAYS.count
    moments = [one["timestamp"] for one in first + second]
    assert moments == sorted(moments)
    assert {moment[:10] for moment in moments[: DAYS.count]} == {moments[0][:10]}
    for one, other in zip(first, second, strict=True):
        assert one | {"id": "", "timestamp": ""} == other | {"id": "", "timestamp": ""}
    rows = [*DAYS.rows(0)]
    assert [row.time for row in rows] == sorted(row.time for row in rows)
    assert rows[-1].time - rows[0].time < DAY * 1000
    assert {row.level for row in rows if row.type == "user"} <= set(range(1, 61))
