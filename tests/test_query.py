"""The one predicate against a loop written from the words of the design, message by message."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from livelog.auth.principal import ANYBODY
from livelog.errors import RefusedError
from livelog.index.folding import normalized
from livelog.index.query import (
    EVERYTHING,
    MAX_TEXT,
    NOTHING,
    Subscription,
    compile_query,
)
from livelog.index.text import MAX_WORD, MAX_WORDS, split
from livelog.wire.commands import KEY_FILTERS, Filters
from livelog.wire.messages import TYPES, MessageType, encoder
from tests.support import strategies
from tests.support.strategies import (
    Json,
    askers,
    decoded,
    filters,
    messages,
    principal,
    record,
    subscriptions,
)
from tests.support.wire import EXAMPLES

NOON = "2025-12-03T12:00:00Z"

# Where a filter looks, if not in the field of its own name.
PLACES = {
    "user_id": {"user_id", "from_user_id", "to_user_id", "leader_id", "member_id"},
    "username": {"username", "from_username", "leader_name", "member_name"},
}
NAMES = ("username", "from_username", "raid_name", "boss_name", "leader_name", "guild_name")


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in inner for text in strings(item)]


def has_value(message: Json, name: str, value: str) -> bool:
    objects = [message, *message.get("participants", [])]
    objects += [message.get(free, {}) for free in ("metadata", "data", "event_data")]
    places = PLACES.get(name, {name})
    return any(
        isinstance(one.get(place), str) and compared(place, one[place]) == compared(name, value)
        for one in objects
        for place in places
    )


def compared(name: str, value: str) -> str:
    """Return the form in which values are compared: ids byte for byte."""
    return value if name.endswith("_id") else normalized(value)


def passages(message: Json) -> list[list[str]]:
    texts = [message[name] for name in ("content", "event", *NAMES) if name in message]
    texts += [one["username"] for one in message.get("participants", [])]
    texts += strings(message.get("data", {})) + strings(message.get("event_data", {}))
    return [[word for word in split(text) if is_of_letters(word)] for text in texts]


def is_of_letters(word: str) -> bool:
    """Tell words from punctuation; some letters are newer than this Python, but not all of them."""
    return "_" in word or any(map(str.isalnum, word))


def has_text(message: Json, text: str) -> bool:
    phrases = [quoted.split() for quoted in re.findall(r'"([^"]*)"', text)]
    phrases += [[word] for word in re.sub('"[^"]*"', "", text).split()]
    return all(
        any(
            all(part.casefold() in word for part, word in zip(phrase, found[at:], strict=False))
            for found in passages(message)
            for at in range(len(found) - len(phrase) + 1)
        )
        for phrase in phrases
    )


def plainly(message: Json, wanted: Json) -> bool:
    types = wanted.get("type", TYPES)
    types = [types] if isinstance(types, str) else types
    moment = datetime.fromisoformat(message["timestamp"])
    return (
        message["type"] in types
        and all(has_value(message, name, wanted[name]) for name in KEY_FILTERS if name in wanted)
        and not ("date_from" in wanted and moment < datetime.fromisoformat(wanted["date_from"]))
        and not ("date_to" in wanted and moment > datetime.fromisoformat(wanted["date_to"]))
        and has_text(message, wanted.get("text", ""))
    )


def complete(message: Json) -> Json:
    """`message` with the defaults of what it leaves out."""
    message = {"timestamp": strategies.rfc3339(strategies.NOON), **message}
    filled: Json = json.loads(encoder.encode(decoded(message)))
    return filled


@given(messages, filters)
def test_the_predicate_does_what_a_plain_loop_does(message: Json, wanted: Filters) -> None:
    expected = plainly(complete(message), msgspec.to_builtins(wanted))
    assert compile_query(ANYBODY, wanted).matches(record(message, 1)) == expected


def visible(message: Json, asker: str | None) -> bool:
    """Tell whether a user may see a message at all."""
    private = message["type"] == "dm" and asker is not None
    return not private or asker in (message["from_user_id"], message["to_user_id"])


@given(messages, filters, askers)
def test_direct_messages_match_only_for_the_two_users_they_concern(
    message: Json, wanted: Filters, asker: str | None
) -> None:
    full, known = complete(message), record(message, 1)
    expected = visible(full, asker) and plainly(full, msgspec.to_builtins(wanted))
    query = compile_query(principal(asker), wanted)
    assert query.matches(known) == expected
    assert query.of_type(known.type).matches(known) == expected


@given(filters, askers, st.sampled_from(TYPES))
def test_queries_for_public_types_are_the_same_for_every_principal(
    wanted: Filters, asker: str | None, name: MessageType
) -> None:
    one, other = compile_query(principal(asker), wanted), compile_query(ANYBODY, wanted)
    assert (one.of_type(name) == other.of_type(name)) == (name != "dm" or asker is None)


def test_a_query_for_one_type_matches_no_other() -> None:
    raids = compile_query(ANYBODY, Filters(type="raid"))
    for name in TYPES:
        matching = [
            other for other in TYPES if raids.of_type(name).matches(record(EXAMPLES[other], 1))
        ]
        assert matching == (["raid"] if name == "raid" else [])


@pytest.mark.parametrize("name", Filters.__struct_fields__)
@given(messages, filters)
def test_each_filter_alone_does_so(name: str, message: Json, wanted: Filters) -> None:
    value = getattr(wanted, name)
    if value is not msgspec.UNSET:
        alone = Filters(**{name: value})
        expected = plainly(complete(message), msgspec.to_builtins(alone))
        assert compile_query(ANYBODY, alone).matches(record(message, 1)) == expected


@given(messages)
def test_a_message_is_found_by_each_of_its_fields_in_full(message: Json) -> None:
    full, known = complete(message), record(message, 1)
    for name in KEY_FILTERS:
        for value in {full[place] for place in PLACES.get(name, {name}) if place in full}:
            assert compile_query(ANYBODY, msgspec.convert({name: value}, Filters)).matches(known)
            near = compile_query(ANYBODY, msgspec.convert({name: value + "?"}, Filters))
            assert near.matches(known) == has_value(full, name, value + "?")


@given(messages, subscriptions)
def test_a_subscription_asks_the_query_of_the_messages_type(
    message: Json, subscription: Subscription
) -> None:
    known = record(message, 1)
    query = dict(subscription.parts).get(message["type"])
    assert subscription.wants(known) == (query is not None and query.matches(known))


@given(subscriptions, subscriptions)
def test_types_are_added_replaced_and_removed(one: Subscription, other: Subscription) -> None:
    both = one.with_types(dict(other.parts))
    assert dict(both.parts) == dict(one.parts) | dict(other.parts)
    assert both.types == [name for name in TYPES if name in {*one.types, *other.types}]
    assert both.without(frozenset(other.types)) == one.without(frozenset(other.types))
    assert one.without(frozenset(one.types)) == NOTHING
    assert one.with_types({}) == one
    assert hash(one.with_types(dict(one.parts))) == hash(one)
    changed = {name: query.filters for name, query in one.parts if query.filters != Filters()}
    assert one.filters == changed


@given(filters)
def test_compiling_twice_makes_equal_queries(wanted: Filters) -> None:
    again = msgspec.convert(msgspec.to_builtins(wanted), Filters)
    one, other = compile_query(ANYBODY, wanted), compile_query(ANYBODY, again)
    assert one == other
    assert hash(one) == hash(other)


def test_equal_filters_make_equal_queries_however_they_are_written() -> None:
    one = Filters(user_id="u", channel="c", text="Red  dragon")
    other = Filters(channel="c", user_id="u", text="RED DRAGON red")
    assert compile_query(ANYBODY, one) == compile_query(ANYBODY, other)
    assert hash(compile_query(ANYBODY, one)) == hash(compile_query(ANYBODY, other))
    assert compile_query(ANYBODY, Filters()) == EVERYTHING


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (Filters(date_from="yesterday"), "filters.date_from"),
        (Filters(date_to="2025-12-03"), "filters.date_to"),
        (Filters(date_to="2025-12-03T12:00:00"), "filters.date_to"),
        (Filters(date_from=NOON, date_to="2025-12-03T12:59:59+01:00"), "filters.date_from"),
        (Filters(text="\u200b\u00ad"), "filters.text"),
        (Filters(text='""'), "filters.text"),
        (Filters(text=" ".join(f"w{n}" for n in range(33))), "filters.text"),
    ],
)
def test_an_invalid_query_is_refused_by_field(wrong: Filters, field: str) -> None:
    with pytest.raises(RefusedError) as caught:
        compile_query(ANYBODY, wrong)
    assert caught.value.field == field


def test_the_words_of_a_search_are_counted_and_refused_by_field() -> None:
    words = [f"w{n}" for n in range(MAX_WORDS + 1)]
    assert len(compile_query(ANYBODY, Filters(), " ".join(words[1:])).phrases) == MAX_WORDS
    for wrong in (" ".join(words), f'"{" ".join(words)}"', "\u200b", '""'):
        with pytest.raises(RefusedError) as caught:
            compile_query(ANYBODY, Filters(text="dragon"), wrong)
        assert caught.value.field == "query"
        assert str(MAX_WORDS) in caught.value.issue


@pytest.mark.parametrize(
    ("query", "bound"),
    [("a" * (MAX_WORD + 1), MAX_WORD), ("é" * 257, MAX_WORD), ("a " * 501, MAX_TEXT)],
)
def test_long_words_and_queries_are_refused_by_field(query: str, bound: int) -> None:
    for asked, field in (
        ((Filters(text=query), UNSET), "filters.text"),
        ((Filters(), query), "query"),
    ):
        with pytest.raises(RefusedError) as caught:
            compile_query(ANYBODY, *asked)
        assert caught.value.field == field
        assert f"at most {bound}" in caught.value.issue
    assert compile_query(ANYBODY, Filters(text="a" * MAX_WORD + " " + "ß" * (MAX_WORD // 2)))


NAMED = {"type": "user", "user_id": "Jose\u0301", "username": "Jose\u0301", "content": ""}


@pytest.mark.parametrize(
    ("message", "filters", "found"),
    [
        (NAMED, {"username": "José"}, True),
        (NAMED, {"username": "JOSE\u0301"}, True),
        (NAMED, {"username": "Jose"}, False),
        (NAMED, {"user_id": "Jose\u0301"}, True),
        (NAMED, {"user_id": "José"}, False),
        (NAMED, {"user_id": "jose\u0301"}, False),
        ({"metadata": {"channel": "\uff34rade=1"}}, {"channel": "trade=1"}, True),
        ({"metadata": {"server": "EU\u200b-1"}}, {"server": "eu-1"}, True),
        ({"metadata": {"channel": "מַיִם"}}, {"channel": "מים"}, False),
        ({"metadata": {"raid_id": "R1"}}, {"raid_id": "r1"}, False),
        ({"metadata": {"party_id": "é"}}, {"party_id": "e\u0301"}, False),
        ({"metadata": {"status": "WIPE"}}, {"status": "wipe"}, True),
    ],
)
def test_names_compare_normalized_and_ids_byte_for_byte(
    message: Json, filters: Json, found: bool
) -> None:
    known = record({**NAMED, **message}, 1)
    assert compile_query(ANYBODY, msgspec.convert(filters, Filters)).matches(known) == found


def test_the_principal_is_who_has_exactly_this_id() -> None:
    private = {
        "type": "dm",
        "from_user_id": "é",
        "to_user_id": "u2",
        "from_username": "n",
        "content": "",
    }
    for id, may_read in (("é", True), ("e\u0301", False), ("É", False)):
        query = compile_query(principal(id), Filters())
        assert query.matches(record(private, 1)) == may_read
        assert query.of_type("dm").matches(record(private, 1)) == may_read


def test_the_words_of_filter_and_search_must_both_occur() -> None:
    known = record(EXAMPLES["user"], 1)
    assert compile_query(ANYBODY, Filters(text="text"), "Message").matches(known)
    assert not compile_query(ANYBODY, Filters(text="dragons"), "Message").matches(known)
    assert compile_query(ANYBODY, Filters(text="text"), "Message") == compile_query(
        ANYBODY, Filters(), "text message"
    )


def test_both_dates_are_included() -> None:
    at = EXAMPLES["user"]["timestamp"]
    known = record(EXAMPLES["user"], 1)
    assert compile_query(ANYBODY, Filters(date_from=at, date_to=at)).matches(known)
    assert compile_query(ANYBODY, Filters(date_from="2025-12-03T13:00:00+01:00")).matches(known)
    assert not compile_query(ANYBODY, Filters(date_to="2025-12-03T11:59:59.999999Z")).matches(known)
    assert not compile_query(ANYBODY, Filters(date_from="2025-12-03T12:00:00.000001Z")).matches(
        known
    )


@pytest.mark.parametrize(
    ("where", "needs"),
    [
        ("*", False),
        ("channel:general", False),
        ("channel:general -user_id:u1 timestamp:>2025-12-03", False),
        ("channel:general OR (user_id:u1 type:user)", False),
        ("-channel:general", True),
        ("type:user", True),
        ("channel:general OR type:raid", True),
        ("channel:50", True),
        ("channel:general dragon", True),
        ("metadata.channel:general", True),
    ],
)
def test_expressions_are_matched_in_steps_unless_a_term_finds_them(where: str, needs: bool) -> None:
    query = compile_query(ANYBODY, Filters(where=where), now=0)
    assert query.needs_steps == needs
    assert not compile_query(ANYBODY, Filters(channel="a")).needs_steps
    assert compile_query(ANYBODY, Filters(channel="a", text="b", where=where), now=0).needs_steps


def test_expressions_that_mean_the_same_share_an_audience() -> None:
    asked = ["channel:general -dragon", "-Dragon AND (channel:GENERAL channel:general)"]
    one, other = (compile_query(ANYBODY, Filters(where=where), now=0) for where in asked)
    assert one == other
    assert hash(one) == hash(other)
    assert one.filters == other.filters == Filters(where="-dragon channel:general")
    assert compile_query(ANYBODY, Filters(where="*"), now=0) == EVERYTHING
    packed = msgspec.msgpack.encode(one)
    assert msgspec.msgpack.decode(packed, type=type(one)) == one
