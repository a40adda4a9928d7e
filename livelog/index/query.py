"""The one predicate: the messages that a principal asks for and may read.

A `Query` means the same for a live subscription, for resume, for history and for search. All its
parts must hold. `compile_query` is the only way from a client's filters to one: it takes a
principal, checks its scopes and limits the query to the types and the direct messages it may read,
so no caller has to. A `Subscription` is one connection's set of queries, one for each message type
it named. Both are values: equal ones are interchangeable, which is what lets connections with the
same subscription share one audience.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from livelog.auth.principal import Principal
from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.index.terms import key, message_in, reader, terms_of_stored
from livelog.index.text import MAX_WORD, MAX_WORDS, Phrase, occurs, phrases
from livelog.index.where import expression
from livelog.index.where.canonical import text as canonical_text
from livelog.index.where.document import from_json, to_json
from livelog.index.where.expression import Expression, Leaf
from livelog.index.where.lookup import is_quick, required, term_of
from livelog.index.where.matching import Recorded, Test, matcher
from livelog.index.where.parser import parse
from livelog.wire.commands import KEY_FILTERS, Filters
from livelog.wire.messages import TYPES, MessageType
from livelog.wire.record import Record
from livelog.wire.timestamps import parse_moment

BEGINNING_OF_TIME = -(2**63)
END_OF_TIME = 2**63
MAX_TEXT = 1000
"""Maximum length of a query, in characters; the commands have the same bound."""

_ALL_TYPES: frozenset[MessageType] = frozenset(TYPES)
_ONLY: dict[MessageType, frozenset[MessageType]] = {name: frozenset([name]) for name in TYPES}
_NO_TYPES: frozenset[MessageType] = frozenset()
_NO_TESTS: dict[MessageType, Test] = {}


@dataclass(frozen=True, slots=True)
class Query:
    """Conditions on a message; `types` and `reads_as` have no default, lest one be forgotten.

    Only `compile_query` makes one from what a client sends.
    """

    types: frozenset[MessageType]
    reads_as: str | None
    """Id of the user whose direct messages match, those from and to that id; None for all."""
    keys: tuple[str, ...] = ()
    """Terms made by `terms.key`, in the order of `KEY_FILTERS`."""
    phrases: tuple[Phrase, ...] = ()
    date_from: int = BEGINNING_OF_TIME
    date_to: int = END_OF_TIME
    """First and last moment that match, in microseconds since 1970."""
    where: Expression = expression.ALL
    """In canonical form, so that equal conditions make equal queries."""
    filters: Filters = field(default=Filters(), compare=False)
    """The filters as the client wrote them, but for the form of `where`, to tell it what is in
    force."""

    def matches(self, record: Record) -> bool:
        """Tell whether `record` is asked for."""
        return self.matches_with(self.test, record)

    def matches_with(self, test: Test | None, record: Record) -> bool:
        """Tell the same for callers that keep its `test`, which takes time to look up."""
        return (
            self.fits(record)
            and all(occurs(phrase, record.text) for phrase in self.phrases)
            and (test is None or test(Recorded(record)))
        )

    @property
    def test(self) -> Test | None:
        """The test that `where` is; None without a condition."""
        return None if self.where == expression.ALL else matcher(self.where)

    @property
    def needs_steps(self) -> bool:
        """Tell whether to match it in steps, because of itself or because very many may be alike.

        It does if the text or a field decides that a record has not, and where an expression has to
        be tested for every message.
        """
        if self.phrases or self.where == expression.ALL:
            return bool(self.phrases)
        return not (is_quick(self.where) and (self.keys or self._requires_key))

    def fits(self, record: Record) -> bool:
        """Tell whether `record` matches all but the text and `where`, which take longer."""
        if record.type not in self.types or not self.date_from <= record.time <= self.date_to:
            return False
        if self.keys and not all(key in record.keys for key in self.keys):
            return False
        return not (record.type == "dm" and self.own is not None and self.own not in record.keys)

    @property
    def reads_terms(self) -> bool:
        """Tell whether more than the type and the time of a message decides."""
        return bool(self.keys or self.phrases or self.reads_as or self.where != expression.ALL)

    def fits_stored(self, payload: bytes) -> bool:
        """Tell the same of a message as it is stored."""
        message: Any = message_in(payload)
        kind, time = message.__struct_config__.tag, parse_moment(message.timestamp, "timestamp")
        # To find all of its terms takes longer than everything else.
        asks = self.keys or (kind == "dm" and self.own is not None)
        keys = terms_of_stored(message).keys if asks else ()
        return self.fits(Record(0, message.id, kind, time, keys, "", (), b""))

    @property
    def _requires_key(self) -> bool:
        """Tell whether every message that matches `where` has some key."""
        return required(self.where, _key_of) is not None

    @property
    def own(self) -> str | None:
        """The term that a direct message must have to match; None if it need not have one."""
        return None if self.reads_as is None else reader(self.reads_as)

    def of_type(self, name: MessageType) -> Query:
        """Return the query for messages of one type alone, where `reads_as` becomes a key.

        So for all types but `dm` it is the same for every principal.
        """
        own = () if name != "dm" or self.own is None else (self.own,)
        types = _ONLY[name] if name in self.types else _NO_TYPES
        return replace(self, types=types, keys=(*self.keys, *own), reads_as=None)

    def parted(self) -> tuple[Query, Query | None]:
        """Part it into a query that readers share, and one for direct messages of `reads_as`."""
        if self.reads_as is None:
            return self, None
        own = self.of_type("dm") if "dm" in self.types else None
        return replace(self, types=self.types - _ONLY["dm"], reads_as=None), own


def _key_of(leaf: Leaf) -> frozenset[str] | None:
    term = term_of(leaf)
    return None if term is None else frozenset([term])


def compile_query(
    principal: Principal,
    filters: Filters,
    text: str | UnsetType = UNSET,
    message_types: Sequence[MessageType] = (),
    now: float | None = None,
) -> Query:
    """Compile `filters` and the words of `text` to what `principal` may read of them.

    Types are named in `filters.type` or `message_types`; without any, all that are readable are
    meant. What `where` says in relation to now is meant as of `now`, in Unix seconds, which is
    needed for it only. Raises `RefusedError` for a type that `principal` may not read, for invalid
    or reversed dates, for text without words, with too many or with one that is too long, and for
    an invalid expression.
    """
    types = _readable(principal, filters, message_types)
    date_from = _moment(filters, "date_from", BEGINNING_OF_TIME)
    date_to = _moment(filters, "date_to", END_OF_TIME)
    if date_from > date_to:
        raise RefusedError(PROTOCOL_ERROR, "filters.date_from", "is later than date_to")
    wanted = (*_phrases(filters.text, "filters.text"), *_phrases(text, "query"))
    where = _where(filters.where, now)
    if filters.where is not UNSET:
        filters = msgspec.structs.replace(filters, where=canonical_text(where))
    return Query(
        types, principal.reads_as, _keys(filters), wanted, date_from, date_to, where, filters
    )


def _where(given: str | dict[str, Any] | UnsetType, now: float | None) -> Expression:
    if given is UNSET:
        return expression.ALL
    assert now is not None, "expressions need the time"
    return parse(given, now) if isinstance(given, str) else from_json(given, now)


def _readable(
    principal: Principal, filters: Filters, message_types: Sequence[MessageType]
) -> frozenset[MessageType]:
    """Return the types that are named, or all that `principal` may read if none is."""
    field = "message_types" if message_types else "filters.type"
    named = message_types or _named(filters)
    readable = principal.readable
    if named or not readable:
        principal.check_reads(named or TYPES, field)
    # One object for all: a server holds a query for each subscription.
    types = frozenset(named) or readable
    return _ALL_TYPES if types == _ALL_TYPES else types


def _named(filters: Filters) -> Sequence[MessageType]:
    if filters.type is UNSET:
        return ()
    return [filters.type] if isinstance(filters.type, str) else filters.type


def _keys(filters: Filters) -> tuple[str, ...]:
    values = {name: getattr(filters, name) for name in KEY_FILTERS}
    return tuple(key(name, value) for name, value in values.items() if value is not UNSET)


def _moment(filters: Filters, name: str, default: int) -> int:
    text = getattr(filters, name)
    return default if text is UNSET else parse_moment(text, f"filters.{name}")


def _phrases(text: str | UnsetType, field: str) -> tuple[Phrase, ...]:
    if text is UNSET:
        return ()
    _check(len(text) <= MAX_TEXT, field, f"must have at most {MAX_TEXT} characters")
    found = phrases(text)
    count, longest = sum(map(len, found)), max(map(len, chain(*found)), default=0)
    _check(1 <= count <= MAX_WORDS, field, f"must have 1 to {MAX_WORDS} words to look for")
    _check(longest <= MAX_WORD, field, f"a word must have at most {MAX_WORD} characters")
    return found


def _check(holds: bool, field: str, issue: str) -> None:
    if not holds:
        raise RefusedError(PROTOCOL_ERROR, field, issue)


EVERYTHING = Query(_ALL_TYPES, reads_as=None)
"""No conditions, and no principal: for the tables of the hub and for tests, never for an answer."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Queries of a connection, one for each message type it listens to."""

    parts: tuple[tuple[MessageType, Query], ...] = ()
    """In the order of `TYPES`, so that equal subscriptions are equal values."""
    _by_type: dict[MessageType, Query] = field(init=False, repr=False, compare=False)
    _tests: dict[MessageType, Test] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The frozen dataclass way to fill a derived field.
        object.__setattr__(self, "_by_type", dict(self.parts))
        tests = {name: test for name, query in self.parts if (test := query.test) is not None}
        object.__setattr__(self, "_tests", tests or _NO_TESTS)

    @property
    def types(self) -> list[MessageType]:
        """Types it names, in the API's order."""
        return [name for name in TYPES if name in self._by_type]

    @property
    def filters(self) -> dict[MessageType, Filters]:
        """Filters of each type that has some, as the client wrote them."""
        return {name: query.filters for name, query in self.parts if query.filters != Filters()}

    @property
    def where(self) -> dict[MessageType, dict[str, Any]]:
        """Expression of each type that has one, in JSON."""
        given = ((name, query) for name, query in self.parts if query.filters.where is not UNSET)
        return {name: to_json(query.where) for name, query in given}

    def with_types(self, queries: Mapping[MessageType, Query]) -> Subscription:
        """Return the same with these types added or replaced, each query limited to its type."""
        limited = {name: query.of_type(name) for name, query in queries.items()}
        merged = {**self._by_type, **limited}
        return Subscription(tuple((name, merged[name]) for name in TYPES if name in merged))

    def without(self, types: frozenset[MessageType]) -> Subscription:
        """Return the same with these types removed."""
        return Subscription(tuple(part for part in self.parts if part[0] not in types))

    @property
    def needs_steps(self) -> bool:
        """Tell whether to match it in steps."""
        return any(query.needs_steps for _, query in self.parts)

    def query(self, name: MessageType) -> Query | None:
        """Return the query for messages of one type, None without one."""
        return self._by_type.get(name)

    def test(self, name: MessageType) -> Test | None:
        """Return the test that messages of one type must pass besides the query's other parts."""
        return self._tests.get(name)

    def wants(self, record: Record) -> bool:
        """Tell whether `record` is to be delivered."""
        query = self._by_type.get(record.type)
        return query is not None and query.matches_with(self._tests.get(record.type), record)


NOTHING = Subscription()
