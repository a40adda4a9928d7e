"""Required terms: no message that matches is missed, and a common word draws no crowd."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from livelog.auth.principal import ANYBODY
from livelog.fanout.audience import Audience
from livelog.fanout.required import GRAM, best, terms_of
from livelog.fanout.routing import Routing
from livelog.index.plan import finish
from livelog.index.query import NOTHING, compile_query
from livelog.wire.commands import Filters
from livelog.wire.record import Record
from tests.support.expressions import NOW, findable, with_values
from tests.support.strategies import Json, messages, record
from tests.test_query import complete


def letters(known: Record) -> set[str]:
    return {known.text[at : at + GRAM] for at in range(len(known.text) - GRAM + 1)}


@given(with_values(messages), findable, st.integers(0, 20))
def test_every_message_that_matches_has_a_required_term(
    message: Json, document: Json, crowd: int
) -> None:
    known = record(complete(message), 1)
    query = compile_query(ANYBODY, Filters(where=document), now=NOW)
    found = best(query, lambda term: crowd * (hash(term) % 3))
    if query.matches(known):
        assert found & {*terms_of(known), *letters(known)}


def routing_of(wheres: list[str]) -> tuple[Routing, list[Audience]]:
    routing = Routing()
    queries = [compile_query(ANYBODY, Filters(where=one), now=NOW) for one in wheres]
    audiences = [Audience(NOTHING.with_types({"user": one}), by_text=True) for one in queries]
    for audience in audiences:
        routing.add(audience)
    return routing, audiences


def message(content: str, **metadata: Any) -> Record:
    full = {"type": "user", "user_id": "u1", "username": "Ann", "content": content}
    return record({**full, "metadata": metadata}, 1)


def test_expressions_that_share_a_common_term_stand_under_their_others() -> None:
    wheres = [f"(x{n}y OR user_id:nobody_{n}) the" for n in range(100, 600)]
    wheres += [f'channel:general "of w{n}"' for n in range(100, 600)]
    routing, audiences = routing_of(wheres)
    common = message("the way of all", channel="general")
    assert len(routing._under(common, {*terms_of(common), *letters(common)})) < 100
    rare = message("the x234y and of w345", channel="general")
    concerned = finish(routing.matching(rare))
    assert {wheres[audiences.index(one)] for one in concerned.audiences} == {
        "(x234y OR user_id:nobody_234) the",
        'channel:general "of w345"',
    }
    for audience in audiences:
        routing.remove(audience)
    routing._check(set())
    assert not routing._routes
    assert not any(routing._letters.values())


def test_a_range_is_asked_of_messages_with_a_number_there_alone() -> None:
    routing, audiences = routing_of(["metadata.level:>=40", "metadata.level:7"])
    for content, level, wanted, asked in (
        ("without", None, [], []),
        ("a string", "7", [audiences[1]], [audiences[1]]),
        ("a number", 41, [audiences[0]], audiences),
    ):
        known = message(content, **({} if level is None else {"level": level}))
        assert finish(routing.matching(known)).audiences == wanted
        assert routing._under(known, terms_of(known)) == set(asked)
