"""Checks of `bench ask`: its messages, and that the peers which are installed count as livelog."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import pytest

from bench.days import DAY, Days
from bench.peers import Peer, are_whole, installed
from bench.questions import KINDS, NOW, Answer, Kind, Question, answer, target
from livelog.auth.principal import ANYBODY
from livelog.index.plan import finish
from livelog.index.query import compile_query
from livelog.log.window import Window
from livelog.wire.commands import Filters
from livelog.wire.timestamps import parse_moment
from tests.support.strategies import record


@pytest.fixture(scope="module")
def days() -> Days:
    return Days(600)


@pytest.fixture(scope="module")
def words(days: Days) -> set[str]:
    return days.words()


@pytest.fixture(scope="module")
def window(days: Days) -> Window:
    made = Window(days.count, 1 << 30)
    for seq, payload in enumerate(days.messages(0), 1):
        made.append(record(json.loads(payload), seq))
        while made.work():
            pass
    return made


@pytest.fixture(scope="module", params=list(installed()))
def peer(request: pytest.FixtureRequest, days: Days) -> Iterator[Peer]:
    make: Callable[[], Peer] = request.param
    made = make()
    made.load(days.rows(0))
    yield made
    made.close()


def matches(window: Window, where: str) -> int:
    query = compile_query(ANYBODY, Filters(where=where), now=NOW)
    return finish(window.find(query)).total


@pytest.fixture(scope="module")
def whole(words: set[str]) -> list[str]:
    """Words that are no parts of others, so that engines for whole words find the same."""
    return [one for one in sorted(words) if are_whole(Question(one), words)][:3]


@pytest.mark.parametrize(
    "where",
    [
        "channel:general",
        "-channel:general type:user",
        "metadata.level:20..40 -channel:trade",
        "metadata.level:>=30 (severity:info OR server:main)",
        "{0} OR {1} -type:guild",
        "-{0} -({1} OR channel:help)",
        "({0} OR user_joined) -{1} -(type:dm {2})",
        "treasury_deposit",
    ],
)
def test_a_peer_counts_the_same(
    peer: Peer, window: Window, where: str, words: set[str], whole: list[str]
) -> None:
    where = where.format(*whole)
    question = Question(where)
    assert peer.agrees_on(question, words)
    assert peer.ask(question).total == matches(window, where) > 0


def counts(window: Window, question: Question) -> Answer:
    """Count in a plain loop."""
    query = compile_query(ANYBODY, Filters(where=question.where), now=NOW)
    matching = finish(window.find(query))
    found = matching.payloads(0, matching.total)
    values = defaultdict[tuple[int, str], list[str]](list)
    for message in map(json.loads, found if question.is_analysis else ()):
        moment = parse_moment(message["timestamp"], "timestamp")
        start = moment // (question.interval * 1_000_000) if question.interval else 0
        place = start * question.interval * 1_000_000, message.get(question.group_by, "")
        values[place].append(message["id"] if not question.distinct else message["user_id"])
    ranked = Counter({place: len(set(some)) for place, some in values.items()})
    return Answer(len(found), dict(ranked.most_common(question.limit or None)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_is_drawn_is_counted_the_same(
    peer: Peer, window: Window, kind: Kind, days: Days, words: set[str]
) -> None:
    questions = [one for one in kind.questions(days, 30) if peer.can(one)]
    assert len(set(questions)) > 10 or not questions
    agreed = [one for one in questions if peer.agrees_on(one, words)]
    for question in agreed:
        assert peer.ask(question).agrees(counts(window, question), question), question
    assert agreed or not questions


def test_a_question_is_asked_and_answered_over_http() -> None:
    page = "/api/history?where=type%3Auser+the&limit=100&offset=7"
    assert target(Question("type:user the"), 7) == page
    assert answer(Question("the"), b'{"total_count":7,"messages":[]}') == Answer(7)
    asked = Question("*", group_by="type", interval=60)
    assert target(asked) == "/api/analytics?where=%2A&group_by=type&interval_seconds=60"
    bucket = b'{"start":"1970-01-01T00:01:00Z","count":3,"groups":{"dm":1,"user":2}}'
    found = answer(asked, b'{"total_count":3,"buckets":[%b]}' % bucket)
    assert found == Answer(3, {(60_000_000, "dm"): 1, (60_000_000, "user"): 2})
    top = Question("*", group_by="user_id", limit=1)
    found = answer(top, b'{"total_count":3,"groups":[{"value":"u1","count":2}],"others":1}')
    assert found == Answer(3, {(0, "u1"): 2})
    users = Question("*", interval=60, distinct="user_id")
    bucket = b'{"start":"1970-01-01T00:01:00Z","count":3,"distinct":2}'
    found = answer(users, b'{"total_count":3,"buckets":[%b],"distinct":2}' % bucket)
    assert found == Answer(3, {(60_000_000, ""): 2})


def test_the_days_follow_each_other_and_differ_in_id_and_time_alone(days: Days) -> None:
    first, second = ([json.loads(one) for one in days.messages(day)] for day in (0, 1))
    assert len({one["id"] for one in first + second}) == 2 * days.count
    moments = [one["timestamp"] for one in first + second]
    assert moments == sorted(moments)
    assert {moment[:10] for moment in moments[: days.count]} == {moments[0][:10]}
    for one, other in zip(first, second, strict=True):
        assert one | {"id": "", "timestamp": ""} == other | {"id": "", "timestamp": ""}
    rows = [*days.rows(0)]
    assert [row.time for row in rows] == sorted(row.time for row in rows)
    assert rows[-1].time - rows[0].time < DAY * 1000
    assert {row.level for row in rows if row.type == "user"} <= set(range(1, 61))
