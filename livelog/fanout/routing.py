"""Routing tables: from a message to the audiences and single readers it concerns.

Audiences without filters are found by the message's type, the others by one of the terms they
require (see `required`); the candidates are then checked with the full query. So distinct filters
cost a lookup each, not a scan.

To look for the words of filters in a long text takes milliseconds, so that `matching` is a
generator that pauses after each small step.

A part of a subscription that requires a user's id differs from reader to reader, and would make an
audience of each reader. `split` takes such *personal* parts out; their readers are found by the
user's id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Generator, Hashable, Iterable, Set
from functools import partial
from operator import add
from typing import NamedTuple, TypeVar

from livelog.fanout.audience import Audience, Reader, Route
from livelog.fanout.required import GRAM, best, terms_of
from livelog.index.query import EVERYTHING, Query, Subscription
from livelog.index.terms import reader
from livelog.index.text import Phrase as Words
from livelog.index.text import occurs
from livelog.index.where.matching import Recorded
from livelog.wire.messages import TYPES, MessageType
from livelog.wire.record import Record

_FEW = 32
"""Routes up to which each is looked for in the text; of more, those of each word are looked up."""

_GRAIN = 2048
"""Letters of a text that are looked at in one step."""

_TESTED = 8192
"""Bytes of a message, times the number of audiences for which it is tested in one step."""

_PERSONAL = ("user_id=", reader(""))
"""Beginnings of the terms that differ from user to user."""

_UNFILTERED = {name: EVERYTHING.of_type(name) for name in TYPES}
_NO_AUDIENCES: frozenset[Audience] = frozenset()
_NO_READERS: frozenset[Reader] = frozenset()

Item = TypeVar("Item", bound=Hashable)


class Concerned(NamedTuple):
    """Audiences and readers that a message concerns."""

    audiences: list[Audience]
    readers: list[Reader]
    """Those for whom it is personal."""
    failed: list[Audience]
    """Audiences that could not be asked, or with such a reader."""


class Routing:
    """The tables: audiences, and live readers with personal parts."""

    def __init__(self) -> None:
        self._unfiltered: defaultdict[MessageType, set[Audience]] = defaultdict(set)
        self._routes: dict[Route, set[Audience]] = {}
        self._by_user: dict[Route, set[Reader]] = {}
        """Route with a user's id → live readers with that personal part."""
        self._letters: defaultdict[MessageType, set[str]] = defaultdict(set)
        """Terms of `_routes` that are letters of a text."""
        self._places: dict[Audience, list[Route]] = {}
        """The routes under which each audience stands."""

    def add(self, audience: Audience) -> None:
        """Add an audience."""
        places = self._places[audience] = list[Route]()
        for name, query in audience.subscription.parts:
            if query == _UNFILTERED[name]:
                self._unfiltered[name].add(audience)
            else:
                places += [(name, term) for term in best(query, partial(self._count, name))]
        for name, term in places:
            self._routes.setdefault((name, term), set()).add(audience)
            if len(term) == GRAM:
                self._letters[name].add(term)

    def remove(self, audience: Audience) -> None:
        """Remove an audience."""
        for name, _ in audience.subscription.parts:
            self._unfiltered[name].discard(audience)
        for name, term in self._places.pop(audience):
            _discard(self._routes, (name, term), audience)
            if (name, term) not in self._routes:
                self._letters[name].discard(term)

    def _count(self, name: MessageType, term: str) -> int:
        """Return how many audiences stand under a term."""
        return len(self._routes.get((name, term), ()))

    def enter(self, reader: Reader) -> None:
        """Add a live reader under the routes of its personal parts."""
        for route in reader.personal:
            self._by_user.setdefault(route, set()).add(reader)

    def leave(self, reader: Reader) -> None:
        """Remove a reader that is no longer live."""
        for route in reader.personal:
            _discard(self._by_user, route, reader)

    def audiences(self, record: Record) -> Collection[Audience]:
        """Find the audiences that `record` concerns, where none has a filter on text."""
        unfiltered = self._unfiltered.get(record.type, _NO_AUDIENCES)
        if not self._routes:
            return unfiltered
        candidates = self._under(record, terms_of(record))
        return [*unfiltered, *(one for one in candidates if one.subscription.wants(record))]

    def matching(self, record: Record) -> Generator[None, None, Concerned]:
        """Find all that `record` concerns, also by filters on text, in steps."""
        audiences = list(self._unfiltered.get(record.type, ()))
        letters = yield from self._letters_in(record)
        candidates = self._under(record, (*terms_of(record), *letters))
        readers, failed = list[Reader](), list[Audience]()
        known, subject = dict[Words, bool](), Recorded(record)
        at_once = max(1, _TESTED // len(record.frame))
        everyone: list[Audience | Reader] = [*candidates, *self.readers(record)]
        for number, candidate in enumerate(everyone, 1):
            if not number % at_once:
                yield
            query = candidate.subscription.query(record.type)
            try:
                if query is None or not query.fits(record):
                    continue
                if query.phrases and not (yield from _mentions(record, query.phrases, known)):
                    continue
                test = candidate.subscription.test(record.type)
                wants = test is None or test(subject)
            except Exception:  # is no matter of the others; `failed` tells of it
                audience = candidate if isinstance(candidate, Audience) else candidate.audience
                failed += [audience] if audience is not None else []
                continue
            if wants and isinstance(candidate, Audience):
                audiences.append(candidate)
            elif wants and isinstance(candidate, Reader):
                readers.append(candidate)
        return Concerned(audiences, readers, failed)

    def _under(self, record: Record, terms: Iterable[str]) -> set[Audience]:
        """Return the audiences that stand under these terms."""
        name = record.type
        return set().union(*[self._routes.get((name, term), _NO_AUDIENCES) for term in terms])

    def _letters_in(self, record: Record) -> Generator[None, None, set[str]]:
        """Find the terms that are letters of the text of `record`."""
        terms = self._letters.get(record.type)
        if not terms:
            return set()
        found: set[str] = set()
        if len(terms) <= _FEW:
            for term in list(terms):
                if term in record.text:
                    found.add(term)
                yield
            return found
        text = " ".join(set(record.text.split()))
        for start in range(0, len(text), _GRAIN):
            yield
            some = text[start : start + _GRAIN + GRAM - 1]
            found |= terms & set(map(add, map(add, some, some[1:]), some[2:]))
        return found

    def readers(self, record: Record) -> Set[Reader]:
        """Find the live readers for whom `record` is personal."""
        if not self._by_user:
            return _NO_READERS
        found: set[Reader] = set()
        for term in record.keys:
            if term.startswith(_PERSONAL):
                found |= self._by_user.get((record.type, term), _NO_READERS)
        return found

    def _check(self, audiences: set[Audience]) -> None:
        """Assert that the tables hold these audiences, and live readers only."""
        tables = (self._unfiltered, self._routes)
        assert {a for table in tables for s in table.values() for a in s} == audiences
        assert self._places.keys() == audiences
        for audience, places in self._places.items():
            assert all(audience in self._routes[route] for route in places)
        assert all(self._routes.values())
        assert sum(map(len, self._places.values())) == sum(map(len, self._routes.values()))
        letters = {route for route in self._routes if len(route[1]) == GRAM}
        assert letters == {(name, term) for name, some in self._letters.items() for term in some}
        for route, readers in self._by_user.items():
            assert readers
            assert all(reader.audience and route in reader.personal for reader in readers)


def _mentions(
    record: Record, phrases: Iterable[Words], known: dict[Words, bool]
) -> Generator[None, None, bool]:
    """Tell whether all of `phrases` occur, in steps; `known` ones are looked for once."""
    for phrase in phrases:
        if phrase not in known:
            known[phrase] = occurs(phrase, record.text)
            yield
        if not known[phrase]:
            return False
    return True


def split(subscription: Subscription) -> tuple[Subscription, tuple[Route, ...]]:
    """Split a subscription into the part shared with an audience and the routes of the rest.

    A subscription that is personal as a whole stays so: readers who share it are an audience.
    """
    own = ((name, _personal(query)) for name, query in subscription.parts)
    personal = {name: term for name, term in own if term is not None}
    if len(personal) == len(subscription.parts):
        return subscription, ()
    return subscription.without(frozenset(personal)), tuple(personal.items())


def _discard(table: dict[Route, set[Item]], route: Route, item: Item) -> None:
    """Remove `item`, and its set when that becomes empty."""
    items = table[route]
    items.discard(item)
    if not items:
        del table[route]


def _personal(query: Query) -> str | None:
    """Return the user's id that every message matching `query` has; None without one.

    Of several it is the last, which is that of the principal.
    """
    return next((term for term in reversed(query.keys) if term.startswith(_PERSONAL)), None)
