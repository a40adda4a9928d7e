"""Routing tables: from a message to the audiences and single readers it concerns.

Audiences without filters are found by the message's type, the others by one of the terms they
require; the candidates are then checked with the full query. So distinct filters cost a lookup
each, not a scan.

A part of a subscription that requires a user's id differs from reader to reader, and would make an
audience of each reader. `split` takes such *personal* parts out; their readers are found by the
user's id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import TypeVar

from livelog.fanout.audience import Audience, Reader, Route
from livelog.index.query import EVERYTHING, Query, Subscription
from livelog.wire.messages import TYPES, MessageType
from livelog.wire.record import Record

_GRAM = 3
"""Letters of its longest word under which a filter on text alone stands in the table."""

# Terms have the form `field=value`; the fewer messages share a value, the fewer candidates.
_MOST_SELECTIVE_FIRST = (
    "user_id=",
    "username=",
    "raid_id=",
    "party_id=",
    "guild_id=",
    "event=",
    "channel=",
    "status=",
    "severity=",
    "server=",
)
_USER = "user_id="
_UNFILTERED = {name: EVERYTHING.of_type(name) for name in TYPES}
_NO_AUDIENCES: frozenset[Audience] = frozenset()
_NO_READERS: frozenset[Reader] = frozenset()

Item = TypeVar("Item", bound=Hashable)


class Routing:
    """The tables: all audiences, and all live readers with personal parts."""

    def __init__(self) -> None:
        self._unfiltered: defaultdict[MessageType, set[Audience]] = defaultdict(set)
        self._routes: dict[Route, set[Audience]] = {}
        self._by_user: dict[Route, set[Reader]] = {}
        """Route with a user's id → live readers with that personal part."""
        self._text_routes = 0
        """Number of audiences in `_routes` that stand under letters of a text."""

    def add(self, audience: Audience) -> None:
        """Add an audience."""
        for name, query in audience.subscription.parts:
            if query == _UNFILTERED[name]:
                self._unfiltered[name].add(audience)
            else:
                term = _route(query)
                self._text_routes += len(term) == _GRAM
                self._routes.setdefault((name, term), set()).add(audience)

    def remove(self, audience: Audience) -> None:
        """Remove an audience."""
        for name, query in audience.subscription.parts:
            if query == _UNFILTERED[name]:
                self._unfiltered[name].discard(audience)
            else:
                term = _route(query)
                self._text_routes -= len(term) == _GRAM
                _discard(self._routes, (name, term), audience)

    def enter(self, reader: Reader) -> None:
        """Add a live reader under the routes of its personal parts."""
        for route in reader.personal:
            self._by_user.setdefault(route, set()).add(reader)

    def leave(self, reader: Reader) -> None:
        """Remove a reader that is no longer live."""
        for route in reader.personal:
            _discard(self._by_user, route, reader)

    def audiences(self, record: Record) -> Iterator[Audience]:
        """Find the audiences that `record` concerns."""
        yield from self._unfiltered.get(record.type, ())
        if self._routes:
            found: set[Audience] = set()
            for term in self._terms(record):
                found |= self._routes.get((record.type, term), _NO_AUDIENCES)
            yield from (audience for audience in found if audience.subscription.wants(record))

    def readers(self, record: Record) -> set[Reader]:
        """Find the live readers for whom `record` is personal."""
        found: set[Reader] = set()
        if self._by_user:
            for term in record.keys:
                if term.startswith(_USER):
                    found |= self._by_user.get((record.type, term), _NO_READERS)
        return found

    def _terms(self, record: Record) -> Iterator[str]:
        yield ""
        yield from record.keys
        if self._text_routes:
            text = record.text
            yield from {text[i : i + _GRAM] for i in range(len(text) - _GRAM + 1)}

    def _check(self, audiences: set[Audience]) -> None:
        """Assert that the tables hold these audiences, and live readers only."""
        tables = (self._unfiltered, self._routes)
        assert {a for table in tables for s in table.values() for a in s} == audiences
        for route, readers in self._by_user.items():
            assert readers
            assert all(reader.audience and route in reader.personal for reader in readers)


def split(subscription: Subscription) -> tuple[Subscription, tuple[Route, ...]]:
    """Split a subscription into the part shared with an audience and the routes of the rest.

    A subscription that is personal as a whole stays so: readers who share it are an audience.
    """
    routes = {name: _route(query) for name, query in subscription.parts}
    personal = {name: term for name, term in routes.items() if term.startswith(_USER)}
    if len(personal) == len(routes):
        return subscription, ()
    return subscription.without(frozenset(personal)), tuple(personal.items())


def _discard(table: dict[Route, set[Item]], route: Route, item: Item) -> None:
    """Remove `item`, and its set when that becomes empty."""
    items = table[route]
    items.discard(item)
    if not items:
        del table[route]


def _route(query: Query) -> str:
    """Return the most selective term that every message matching `query` has.

    Of several user ids it is the last, which is that of the principal.
    """
    for field in _MOST_SELECTIVE_FIRST:
        for term in reversed(query.keys):
            if term.startswith(field):
                return term
    words = [word for phrase in query.phrases for word in phrase]
    longest = max(words, key=len, default="")
    return longest[:_GRAM] if len(longest) >= _GRAM else ""
