"""The one predicate: which messages somebody asks for.

A `Query` means the same for a live subscription, for resume, for history and for search. All its
parts must hold. A `Subscription` is what one connection listens to: a query for each message type
it named. Both are values: equal ones are interchangeable, which is what lets connections with the
same subscription share one audience.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from msgspec import UNSET, UnsetType

from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.index.terms import key
from livelog.index.text import Phrase, occurs, phrases
from livelog.wire.commands import KEY_FILTERS, Filters
from livelog.wire.messages import TYPES, MessageType
from livelog.wire.moments import parse_moment
from livelog.wire.record import Record

BEGINNING_OF_TIME = -(2**63)
END_OF_TIME = 2**63
MAX_WORDS = 32
"""How many words a query may have."""


@dataclass(frozen=True, slots=True)
class Query:
    """Conditions on a message; the default has none."""

    types: frozenset[MessageType] = frozenset(TYPES)
    keys: tuple[str, ...] = ()
    """Terms made by `terms.key`, in the order of `KEY_FILTERS`."""
    phrases: tuple[Phrase, ...] = ()
    date_from: int = BEGINNING_OF_TIME
    date_to: int = END_OF_TIME
    """First and last moment that match, in microseconds since 1970."""
    reads_as: str | None = None
    """Who asks: of the direct messages only those from or to them match; any if None."""
    filters: Filters = field(default=Filters(), compare=False)
    """How the client wrote it, to tell it what is in force."""

    def matches(self, record: Record) -> bool:
        """Whether `record` is asked for."""
        if record.type not in self.types or not self.date_from <= record.time <= self.date_to:
            return False
        if self.keys and not all(key in record.keys for key in self.keys):
            return False
        if record.type == "dm" and self.own is not None and self.own not in record.keys:
            return False
        return all(occurs(phrase, record.text) for phrase in self.phrases)

    @property
    def own(self) -> str | None:
        """The term that a direct message must have to match; None if it need not have one."""
        return None if self.reads_as is None else key("user_id", self.reads_as)

    def of_type(self, name: MessageType) -> Query:
        """What it means for messages of one type, where who asks is a key like any other.

        So for all other types it is the same whoever asks.
        """
        own = () if name != "dm" or self.own is None else (self.own,)
        return replace(self, keys=(*self.keys, *own), reads_as=None)


def compile_query(
    filters: Filters, text: str | UnsetType = UNSET, reads_as: str | None = None
) -> Query:
    """The query that `filters` and the words of `text` describe, asked by `reads_as`.

    Raises `RefusedError` for dates that are none or reversed and for text without or with too many
    words.
    """
    date_from = _moment(filters, "date_from", BEGINNING_OF_TIME)
    date_to = _moment(filters, "date_to", END_OF_TIME)
    if date_from > date_to:
        raise RefusedError(PROTOCOL_ERROR, "filters.date_from", "is later than date_to")
    wanted = (*_phrases(filters.text, "filters.text"), *_phrases(text, "query"))
    return Query(_types(filters), _keys(filters), wanted, date_from, date_to, reads_as, filters)


def _types(filters: Filters) -> frozenset[MessageType]:
    if filters.type is UNSET:
        return frozenset(TYPES)
    return frozenset([filters.type] if isinstance(filters.type, str) else filters.type)


def _keys(filters: Filters) -> tuple[str, ...]:
    values = {name: getattr(filters, name) for name in KEY_FILTERS}
    return tuple(key(name, value) for name, value in values.items() if value is not UNSET)


def _moment(filters: Filters, name: str, default: int) -> int:
    text = getattr(filters, name)
    return default if text is UNSET else parse_moment(text, f"filters.{name}")


def _phrases(text: str | UnsetType, field: str) -> tuple[Phrase, ...]:
    if text is UNSET:
        return ()
    found = phrases(text)
    if not 1 <= sum(map(len, found)) <= MAX_WORDS:
        raise RefusedError(PROTOCOL_ERROR, field, f"must have 1 to {MAX_WORDS} words to look for")
    return found


EVERYTHING = Query()


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a connection listens to: for each type it named, which messages of that type."""

    parts: tuple[tuple[MessageType, Query], ...] = ()
    """In the order of `TYPES`, so that equal subscriptions are equal values."""
    _by_type: dict[MessageType, Query] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The frozen dataclass way to fill a derived field.
        object.__setattr__(self, "_by_type", dict(self.parts))

    @property
    def types(self) -> list[MessageType]:
        """The types it names, in the API's order."""
        return [name for name in TYPES if name in self._by_type]

    @property
    def filters(self) -> dict[MessageType, Filters]:
        """The filters of each type that has some, as the client wrote them."""
        return {name: query.filters for name, query in self.parts if query.filters != Filters()}

    def with_types(self, queries: Mapping[MessageType, Query]) -> Subscription:
        """The same, with these types added or replaced."""
        merged = {**self._by_type, **queries}
        return Subscription(tuple((name, merged[name]) for name in TYPES if name in merged))

    def without(self, types: frozenset[MessageType]) -> Subscription:
        """The same, with these types removed."""
        return Subscription(tuple(part for part in self.parts if part[0] not in types))

    def wants(self, record: Record) -> bool:
        """Whether `record` is to be delivered."""
        query = self._by_type.get(record.type)
        return query is not None and query.matches(record)


NOTHING = Subscription()
