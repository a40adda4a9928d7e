"""The one predicate against a loop written from the words of the design, message by message."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from livelog import words
from livelog.errors import Refused
from livelog.ingest import convert
from livelog.messages import encoder
from livelog.protocol import Filters
from livelog.query import NOTHING, Query, compile_query, parse_moment
from livelog.record import Draft, Record, place, terms
from tests.test_messages import EXAMPLES

NAMES = ["Ann", "dragonmaster", "Ænna"]
USERS = ["user_1", "user_2", "user_3"]
TEXTS = ["the Red Dragon's lair", "dragon red", "STRASSE straße", "über-dragons", "x", ""]
QUERIES = ["dragon", "red dragon", '"red dragon"', "rag", "strasse", "ann", "x ra", "conquest"]
STAMPS = [f"2025-12-03T12:00:0{second}{zone}" for second in range(4) for zone in ("Z", "+01:00")]
MORE = {"user_id": USERS, "username": NAMES, "member_id": USERS, "channel": ["general", "trade"]}

picks = {
    "user_id": st.sampled_from(USERS),
    "from_user_id": st.sampled_from(USERS),
    "to_user_id": st.sampled_from(USERS),
    "leader_id": st.sampled_from(USERS),
    "username": st.sampled_from(NAMES),
    "from_username": st.sampled_from(NAMES),
    "leader_name": st.sampled_from(NAMES),
    "content": st.sampled_from(TEXTS),
    "boss_name": st.sampled_from(TEXTS),
    "timestamp": st.sampled_from(STAMPS),
}
free = st.fixed_dictionaries(
    {"note": st.sampled_from(TEXTS), "more": st.lists(st.sampled_from(TEXTS), max_size=2)},
    optional={name: st.sampled_from(values) for name, values in MORE.items()},
)


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    message = dict(draw(st.sampled_from(list(EXAMPLES.values()))))
    for field in message:
        if field in picks:
            message[field] = draw(picks[field])
        elif field in ("metadata", "data", "event_data"):
            message[field] = draw(free)
        elif field == "participants":
            users = draw(st.lists(st.sampled_from(USERS), max_size=2))
            message[field] = [{"user_id": user, "username": user.upper()} for user in users]
    return message


filters: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(list(EXAMPLES))
            | st.lists(st.sampled_from(list(EXAMPLES)), min_size=1),
            "user_id": st.sampled_from(USERS),
            "username": st.sampled_from([*NAMES, "USER_1"]),
            "channel": st.sampled_from(["general", "trade"]),
            "event": st.sampled_from(["user_joined", "member_joined", "conquest_complete"]),
            "status": st.just("in_progress"),
            "date_from": st.sampled_from(STAMPS),
            "text": st.sampled_from(QUERIES),
        },
    ),
)


def record_of(message: dict[str, Any]) -> Record:
    known = convert(message)
    time = parse_moment(message["timestamp"], "timestamp")
    return place(Draft("x", message["type"], time, terms(known), encoder.encode(known)), 1)


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in inner for text in strings(item)]


def involved(message: dict[str, Any], fields: tuple[str, ...]) -> set[str]:
    places = [message, *(message.get(free, {}) for free in ("metadata", "data", "event_data"))]
    places += message.get("participants", [])
    return {value for place in places for name, value in place.items() if name in fields}


FIELDS = {
    "user_id": ("user_id", "from_user_id", "to_user_id", "leader_id", "member_id"),
    "username": ("username", "from_username", "leader_name", "member_name"),
    "channel": ("channel",),
    "event": ("event",),
    "status": ("status",),
}


def passages(message: dict[str, Any]) -> list[list[str]]:
    named = ("content", "username", "from_username", "raid_name", "boss_name", "leader_name")
    texts = [message[name] for name in (*named, "guild_name", "event") if name in message]
    texts += [one["username"] for one in message.get("participants", [])]
    texts += strings(message.get("data", {})) + strings(message.get("event_data", {}))
    return [re.findall(r"\w+", text.casefold()) for text in texts]


def has_text(message: dict[str, Any], text: str) -> bool:
    quoted = re.findall(r'"([^"]*)"', text)
    wanted = [phrase.split() for phrase in quoted] + [
        [w] for w in re.sub('"[^"]*"', "", text).split()
    ]
    return all(
        any(
            all(part.casefold() in word for part, word in zip(phrase, found[at:], strict=False))
            for found in passages(message)
            for at in range(len(found) - len(phrase) + 1)
        )
        for phrase in wanted
    )


def plainly(message: dict[str, Any], wanted: dict[str, Any]) -> bool:
    types = wanted.get("type", list(EXAMPLES))
    if message["type"] not in ([types] if isinstance(types, str) else types):
        return False
    if any(wanted[f] not in involved(message, FIELDS[f]) for f in FIELDS if f in wanted):
        return False
    moment = datetime.fromisoformat(message["timestamp"])
    if "date_from" in wanted and moment < datetime.fromisoformat(wanted["date_from"]):
        return False
    return "text" not in wanted or has_text(message, wanted["text"])


@given(messages(), filters)
def test_the_predicate_does_what_a_plain_loop_does(
    message: dict[str, Any], wanted: dict[str, Any]
) -> None:
    query = compile_query(Filters(**wanted))
    assert query.matches(record_of(message)) == plainly(message, wanted)


@given(messages(), filters, filters)
def test_a_subscription_asks_the_query_of_the_messages_type(
    message: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    first.pop("type", None)
    second.pop("type", None)
    subscription = NOTHING.with_types(
        {"user": compile_query(Filters(**first)), "dm": compile_query(Filters(**second))}
    )
    expected = {"user": first, "dm": second}.get(message["type"])
    assert subscription.wants(record_of(message)) == (
        expected is not None and plainly(message, expected)
    )
    assert subscription == subscription.with_types({}).without(frozenset(["raid"]))
    assert subscription.without(frozenset(["user", "dm"])) == NOTHING


def test_equal_filters_make_equal_queries_however_they_are_written() -> None:
    one = Filters(user_id="u", channel="c", text="Red  dragon")
    other = Filters(channel="c", user_id="u", text="RED DRAGON red")
    assert compile_query(one) == compile_query(other)
    assert hash(compile_query(one)) == hash(compile_query(other))
    assert compile_query(Filters()) == Query()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (Filters(date_from="yesterday"), "filters.date_from"),
        (Filters(date_to="2025-12-03"), "filters.date_to"),
        (Filters(date_to="2025-12-03T12:00:00"), "filters.date_to"),
        (Filters(date_from=STAMPS[2], date_to=STAMPS[0]), "filters.date_from"),
        (Filters(text="?!"), "filters.text"),
        (Filters(text='""'), "filters.text"),
        (Filters(text=" ".join(f"w{n}" for n in range(33))), "filters.text"),
    ],
)
def test_a_query_that_cannot_be_is_refused_by_field(wrong: Filters, field: str) -> None:
    with pytest.raises(Refused) as caught:
        compile_query(wrong)
    assert caught.value.field == field


def test_both_dates_are_included() -> None:
    record = record_of(EXAMPLES["user"])
    at = EXAMPLES["user"]["timestamp"]
    assert compile_query(Filters(date_from=at, date_to=at)).matches(record)
    assert not compile_query(Filters(date_to="2025-12-03T11:59:59.999Z")).matches(record)


def test_words_are_folded_and_quotes_keep_them_together() -> None:
    assert words.split("Über-Dragon's ＬＡＩＲ_7") == ["über", "dragon", "s", "lair_7"]  # noqa: RUF001 - full-width on purpose
    assert words.phrases('red "Ancient  Dragon" red "open') == (
        ("red",),
        ("ancient", "dragon"),
        ("open",),
    )
    folded = words.fold(["the red dragon", "lair"])
    assert words.occurs(("rag",), folded)
    assert words.occurs(("red", "drag"), folded)
    assert not words.occurs(("dragon", "lair"), folded), "not across passages"
    assert not words.occurs(("the", "dragon"), folded)
