"""Generated messages, filters and subscriptions, drawn so that they often have values in common.

A filter is only worth testing when it finds something: values come from small pools, and dates from
a few days.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args, get_type_hints

import hypothesis.strategies as st
import msgspec

from livelog.auth.principal import ANYBODY, Principal
from livelog.index.query import Subscription, compile_query
from livelog.index.terms import terms
from livelog.log.ingest import decode
from livelog.wire.commands import Filters
from livelog.wire.messages import (
    TYPES,
    AnyMessage,
    GuildMessage,
    MessageType,
    PartyMessage,
    RaidMessage,
    SystemMessage,
)
from livelog.wire.record import Draft, Record, place
from livelog.wire.timestamps import parse_moment

Json = dict[str, Any]

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
"""Text that JSON can carry: anything but lone surrogates."""

message_ids = any_text.filter(lambda text: text and "\0" not in text)
"""U+0000 is refused in them."""

WORDS = ["red", "dragon", "Dragons", "DRAGON", "straße", "Strasse", "go", "x", "tier_1", "Dragon's"]
sentences = st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join)
texts = sentences | any_text

ids = st.sampled_from(["u1", "u2", "u3"])
names = st.sampled_from(["Ann", "Bob", "Red Dragon"])
channels = st.sampled_from(["general", "trade"])
servers = st.sampled_from(["main", "eu"])
groups = st.sampled_from(["g1", "g2"])

NOON = datetime(2025, 12, 3, 12, tzinfo=UTC)
moments = st.integers(-3, 3).map(lambda hours: NOON + timedelta(hours=hours))


def rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


timestamps = moments.map(rfc3339)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)


def free(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """A free object: some entries that filters know, some that nobody does."""
    mixed = {name: values | json_values for name, values in known.items()}
    return st.builds(
        lambda some, other: {**other, **some},
        st.fixed_dictionaries({}, optional=mixed),
        st.dictionaries(any_text, json_values, max_size=2),
    )


def listed(message: type[AnyMessage], field: str) -> st.SearchStrategy[str]:
    """One of the values that a field may have."""
    return st.sampled_from(get_args(get_type_hints(message)[field]))


members = free(member_id=ids, member_name=names, user_id=ids, username=names)
participants = st.fixed_dictionaries(
    {"user_id": ids, "username": names},
    optional={"role": any_text | st.none(), "class": any_text | st.none()},
)

_REQUIRED: dict[MessageType, dict[str, st.SearchStrategy[Any]]] = {
    "user": {"user_id": ids, "username": names, "content": texts},
    "system": {"event": listed(SystemMessage, "event")},
    "dm": {"from_user_id": ids, "from_username": names, "to_user_id": ids, "content": texts},
    "raid": {
        "raid_id": groups,
        "raid_name": sentences,
        "boss_name": sentences,
        "difficulty": any_text,
        "status": listed(RaidMessage, "status"),
    },
    "party": {
        "party_id": groups,
        "leader_id": ids,
        "leader_name": names,
        "member_count": st.integers(0, 2**53 - 1),
        "event": listed(PartyMessage, "event"),
    },
    "guild": {
        "guild_id": groups,
        "guild_name": sentences,
        "guild_level": st.integers(0, 2**53 - 1),
        "event": listed(GuildMessage, "event"),
    },
}
_OPTIONAL: dict[MessageType, dict[str, st.SearchStrategy[Any]]] = {
    "user": {
        "user_avatar": any_text | st.none(),
        "user_badge": any_text | st.none(),
        "metadata": free(channel=channels, server=servers, user_id=ids),
    },
    "system": {
        "data": free(user_id=ids, username=names, server=servers, raid_id=groups),
        "severity": listed(SystemMessage, "severity"),
    },
    "dm": {"read": st.booleans()},
    "raid": {
        "participants": st.lists(participants, max_size=3),
        "health_percentage": st.integers(0, 100) | st.floats(0, 100) | st.none(),
        "duration_seconds": st.integers(0, 10**6) | st.floats(0, 1e6) | st.none(),
    },
    "party": {"event_data": members},
    "guild": {"event_data": members},
}


def messages_of(name: MessageType) -> st.SearchStrategy[Json]:
    """Messages of one type as plain JSON objects, with and without what is optional."""
    made_by_the_server = {"id": message_ids, "timestamp": timestamps}
    return st.fixed_dictionaries(
        {"type": st.just(name), **_REQUIRED[name]},
        optional={**_OPTIONAL[name], **made_by_the_server},
    )


messages = st.sampled_from(TYPES).flatmap(messages_of)


def decoded(message: Json) -> AnyMessage:
    return decode(json.dumps(message).encode())


def record(message: Json, seq: int) -> Record:
    """`message` as the log would keep it at `seq`."""
    message = {"id": f"id_{seq}", "timestamp": rfc3339(NOON), **message}
    time = parse_moment(message["timestamp"], "timestamp")
    found = terms(decoded(message))
    payload = msgspec.json.encode(message)  # as the encoder writes it: only what must be escaped
    return place(Draft(message["id"], message["type"], time, *found, payload), seq)


def split(data: bytes) -> list[bytes]:
    """The text frames that `data` is made of."""
    found = []
    while data:
        size, head = data[1], 2
        if size > 125:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[2:head])
        found.append(data[: head + size])
        data = data[head + size :]
    return found


words_of_a_query = st.sampled_from(
    ["dragon", "drag", "RED", "red dragon", '"red dragon"', '"d dra"', "strass", "go", "s", "1 x"]
)
_FILTERS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(TYPES) | st.lists(st.sampled_from(TYPES), min_size=1, max_size=4),
    "user_id": ids,
    "username": names,
    "channel": channels,
    "server": servers,
    "event": st.sampled_from(["error", "user_joined", "member_joined", "member_left"]),
    "severity": st.sampled_from(["info", "error"]),
    "status": st.sampled_from(["wipe", "victory"]),
    "raid_id": groups,
    "party_id": groups,
    "guild_id": groups,
    "text": words_of_a_query,
}
dates = (
    st.lists(moments, min_size=2, max_size=2)
    .map(sorted)
    .flatmap(
        lambda two: st.fixed_dictionaries(
            {},
            optional={"date_from": st.just(rfc3339(two[0])), "date_to": st.just(rfc3339(two[1]))},
        )
    )
)
few_filters = st.lists(st.sampled_from(sorted(_FILTERS)), max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: _FILTERS[name] for name in names})
)
filters = st.builds(lambda some, dates: Filters(**some, **dates), few_filters, dates)
"""Mostly few conditions, so that there is something left to find."""

askers = st.none() | ids | st.just("outsider")
"""Ids of those who ask, and None for an open server, where direct messages are public."""


def principal(asker: str | None) -> Principal:
    """A principal that may read all types."""
    return ANYBODY if asker is None else Principal(asker, frozenset(["read"]))


queries = st.builds(lambda wanted, asker: compile_query(principal(asker), wanted), filters, askers)
subscriptions = st.builds(
    lambda wanted, asker: Subscription().with_types(
        {name: compile_query(principal(asker), each) for name, each in wanted.items()}
    ),
    st.dictionaries(st.sampled_from(TYPES), filters, max_size=4),
    askers,
)
