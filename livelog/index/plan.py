"""The search planner: how a query is answered by a source of posting lists.

A source looks up terms; it is the index in memory or a segment of the index on disk. The planner
intersects cheap lookups first (types, keys, dates), then the parts of words, shortest first, and
stops looking up as soon as few candidates are left: their text is read instead. Phrases are always
verified in the text, since posting lists do not hold the order of words.

Of an expression, a lookup answers some conditions exactly; of others it tells where they may hold,
or nothing. AND, OR and NOT are carried out on both sides: the positions that match for sure, and
those that may. What lies between them is read.

Searches are generators that pause after each small step, so that a long one can be interleaved with
other work. Messages that arrive during a pause are not in the result, and
messages that are forgotten during one are taken out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from pyroaring import BitMap

from livelog.index.column import Column
from livelog.index.paths import behind
from livelog.index.query import BEGINNING_OF_TIME, END_OF_TIME, Query
from livelog.index.terms import UNINDEXED, mentions, names_readers_only
from livelog.index.text import Phrase as Words
from livelog.index.timeindex import TimeIndex
from livelog.index.where.expression import (
    And,
    Begins,
    Equals,
    Exists,
    Expression,
    Not,
    Or,
    Phrase,
    Prefix,
    Range,
    Word,
)
from livelog.index.where.lookup import (
    cuts,
    doubts,
    equal_keys,
    has_moments,
    is_always_there,
    is_quick,
    names_of,
    spans_of,
    term_of,
    times_of,
    types_named,
    types_with,
)
from livelog.index.where.matching import Stored, Test
from livelog.wire.messages import TYPES, MessageType

_FEW = 32
"""Candidates up to which reading their text is cheaper than looking up the words of a query."""

FieldLeaf = Equals | Prefix | Exists | Range
Result = TypeVar("Result")
Steps = Generator[None, None, Result]

Read = Callable[[int], bytes]
"""Return the message at a position as JSON, empty if it is not there any more."""


class Sides(NamedTuple):
    """Positions whose messages match for sure, and those that may: with others they do not."""

    sure: BitMap
    maybe: BitMap
    """Includes `sure`."""


class Source(Protocol):
    """Posting lists of the messages at a run of positions.

    Lookups may return positions that have been forgotten; the planner drops them. No caller
    changes a bitmap that a lookup returns.
    """

    @property
    def positions(self) -> range:
        """Positions of the messages that can be found now."""

    @property
    def void(self) -> BitMap:
        """Positions of stubs, of whose terms only types, times and readers hold."""

    @property
    def stale(self) -> BitMap:
        """Positions of messages that have changed since: of their terms types and times hold."""

    def of_type(self, name: MessageType) -> BitMap:
        """Positions of the messages of one type."""

    def of_key(self, key: str) -> BitMap:
        """Positions of the messages with a term made by `terms.key`."""

    def between(self, first: int, last: int) -> Steps[BitMap]:
        """Positions of the messages with a timestamp from `first` to `last`, both included."""

    def with_keys(self, first: str, stop: str) -> Steps[BitMap]:
        """Positions of the messages with a key from `first` to before `stop`."""

    def with_numbers(self, path: str, low: float, high: float) -> Steps[BitMap]:
        """Positions of the messages with a number at a path from `low` to `high`, both included."""

    def with_any_number(self, path: str) -> Steps[BitMap]:
        """Positions of the messages with a number at a path or one in it."""

    def containing(self, part: str) -> Steps[BitMap]:
        """Positions of the messages with a word that contains `part`."""

    def beginning(self, part: str) -> Steps[Sides]:
        """Positions of the messages with a word that begins with `part`."""

    @property
    def time_index(self) -> TimeIndex:
        """Timestamps of the messages by position."""

    def columns(self, field: str) -> Steps[Iterable[Column] | None]:
        """Return the values of a field in one column, or in several, in steps.

        None if there are too many. What is added meanwhile need not be in it; see
        `columns.unsure` for what is not.
        """


def find(source: Source, query: Query, read: Read, within: range | None = None) -> Steps[BitMap]:
    """Find the positions whose messages match `query`, of those `within` if it is given."""
    found = yield from _select(source, query, source.positions if within is None else within)
    for part in sorted({word for phrase in query.phrases for word in phrase}, key=len):
        if len(found) > _FEW:
            found &= yield from source.containing(part)
    few = len(found) <= _FEW
    unsure = [phrase for phrase in query.phrases if few or len(phrase) > 1]
    sure, maybe = yield from _sides(source, query.where, found, words=True)
    rest = maybe - sure
    if unsure:
        sure = yield from _verified(unsure, None, sure, read)
    if rest:
        sure = sure | (yield from _verified(unsure, query.test, rest, read))
    found = sure & BitMap(source.positions)
    if source.void:
        found = (found - source.void) | (yield from _stubs(source, query, read, within))
    if source.stale and query.reads_terms:
        found = (found - source.stale) | (yield from _changed(source, query, read, within))
    return found


def _changed(source: Source, query: Query, read: Read, within: range | None) -> Steps[BitMap]:
    """Find the messages that match, of those that have changed since they were indexed."""
    found, test = BitMap(), query.test
    among = BitMap(source.positions if within is None else within) & source.stale
    for position in among & BitMap(source.positions):
        payload = read(position)
        fits = bool(payload) and query.fits_stored(payload)
        if fits and (yield from says(payload, query.phrases, test)):
            found.add(position)
        yield
    return found


def _stubs(source: Source, query: Query, read: Read, within: range | None) -> Steps[BitMap]:
    """Find the stubs that match."""
    within = source.positions if within is None else within
    found = yield from _possible_stubs(source, query, within)
    return found if query.test is None else (yield from _verified([], query.test, found, read))


def _possible_stubs(source: Source, query: Query, within: range) -> Steps[BitMap]:
    """Find the stubs that match all of `query` but `where`: none has words, or keys but readers."""
    if query.phrases or not names_readers_only(query.keys):
        return BitMap()
    return (yield from _select(source, query, within)) & source.void


def glance(source: Source, query: Query, within: range) -> Sides:
    """Find at once what can be told of the positions `within` without looking for words.

    Of stale ones nothing is told: they are to be read.
    """
    found = finish(_select(source, query, within))
    sure, maybe = finish(_sides(source, query.where, found, words=False))
    if source.void:
        sure = sure - source.void
        maybe = (maybe - source.void) | finish(_possible_stubs(source, query, within))
    if source.stale and query.reads_terms:
        sure, maybe = sure - source.stale, maybe - source.stale
    return Sides(BitMap(), maybe) if query.phrases else Sides(sure, maybe)


def _select(source: Source, query: Query, within: range) -> Steps[BitMap]:
    """Find the positions `within` that match all of `query` but its text and `where`."""
    positions = source.positions
    found = BitMap(range(max(within.start, positions.start), min(within.stop, positions.stop)))
    if len(query.types) < len(TYPES):
        found &= _of_types(source, query.types)
    for key in query.keys:
        found &= source.of_key(key)
    if query.own is not None:
        found -= source.of_type("dm") - source.of_key(query.own)
    if query.date_from > BEGINNING_OF_TIME or query.date_to < END_OF_TIME:
        found &= yield from source.between(query.date_from, query.date_to)
    return found


def _of_types(source: Source, types: Iterable[MessageType]) -> BitMap:
    return _any_of([source.of_type(name) for name in types])


def _sides(source: Source, node: Expression, within: BitMap, *, words: bool) -> Steps[Sides]:
    """Find the sides of an expression among the positions `within`, of which no copy is made.

    Where `words` are not to be looked up, they may be anywhere.
    """
    match node:
        case And(items):
            sure = maybe = within
            for item in sorted(items, key=_effort):
                one = yield from _sides(source, item, maybe, words=words)
                sure, maybe = sure & one.sure, one.maybe
                if not maybe:
                    break
            return Sides(sure, maybe)
        case Or(items):
            sure = maybe = BitMap()
            for item in sorted(items, key=_effort):
                one = yield from _sides(source, item, within - sure, words=words)
                sure, maybe = sure | one.sure, maybe | one.maybe
            return Sides(sure, maybe)
        case Not(item):
            one = yield from _sides(source, item, within, words=words)
            return Sides(within - one.maybe, within - one.sure)
        case Word() | Begins() | Phrase():
            if words and len(within) > _FEW:
                return (yield from _of_words(source, node, within))
            return Sides(BitMap(), within)
    yield
    return (yield from _of_field(source, node, within, quick=not words))


def _of_words(source: Source, leaf: Word | Begins | Phrase, within: BitMap) -> Steps[Sides]:
    if isinstance(leaf, Word):
        found = within & (yield from source.containing(leaf.word))
        return Sides(found, found)
    if isinstance(leaf, Begins):
        sure, maybe = yield from source.beginning(leaf.begins)
        return Sides(within & sure, within & maybe)
    found = within
    for word in sorted(set(leaf.words), key=len):
        found = found & (yield from source.containing(word))
    return Sides(BitMap(), found)


def _of_field(source: Source, leaf: FieldLeaf, within: BitMap, *, quick: bool) -> Steps[Sides]:
    """Find the sides of a condition on a field; of a `quick` one only what takes one lookup."""
    types = types_with(leaf.field.partition(".")[0])
    reads = leaf.field in UNINDEXED or len(within) <= _FEW
    match leaf:
        case Range("timestamp"):
            return _exactly(within & (yield from source.between(*times_of(leaf))))
        case _ if leaf.field == "type":
            return _exactly(within & _of_types(source, types_named(leaf)))
        case Exists(field) if is_always_there(field):
            return _exactly(within & _of_types(source, types))
        case _ if (term := term_of(leaf)) is not None:
            return _exactly(within & source.of_key(term))
        case _ if reads or (quick and not isinstance(leaf, Equals)):
            return Sides(BitMap(), within & _of_types(source, types))
    sure, maybe = BitMap(), BitMap()
    for name, only in names_of(leaf):
        found, doubtful = yield from _of_name(source, leaf, name)
        place = within if only is None else within & _of_types(source, only)
        sure |= place & (found - doubtful)
        maybe |= place & (found | doubtful)
    for key in cuts(leaf.field):
        maybe |= within & source.of_key(key)
    return Sides(sure, maybe)


def _exactly(found: BitMap) -> Sides:
    return Sides(found, found)


def _of_name(source: Source, leaf: FieldLeaf, name: str) -> Steps[tuple[BitMap, BitMap]]:
    """Find the positions with a value under a name, and those that have to be read."""
    found, doubtful = BitMap(), _any_key(source, doubts(leaf, name))
    match leaf:
        case Equals():
            found = _any_key(source, equal_keys(leaf, name))
        case Prefix(_, prefix):
            start = f"{name}={prefix}"
            found |= yield from source.with_keys(start, behind(start))
        case Exists():
            for first, stop in ((":", ">"), (".", "/")):
                found |= yield from source.with_keys(name + first, name + stop)
            found |= yield from source.with_any_number(name)
        case Range() if has_moments(leaf):
            doubtful |= yield from source.with_keys(f"{name}=0", f"{name}=:")
    spans = spans_of(leaf) if isinstance(leaf, (Equals, Range)) else None
    if spans is not None:
        found |= yield from source.with_numbers(name, *spans.sure)
        if spans.maybe != spans.sure:
            doubtful |= (yield from source.with_numbers(name, *spans.maybe)) - found
    return found, doubtful


def _any_key(source: Source, keys: Iterable[str]) -> BitMap:
    return BitMap.union(BitMap(), *map(source.of_key, keys))


def _effort(node: Expression) -> int:
    """Rank an item of an AND or OR: those first that cost little and leave few to the others."""
    if isinstance(node, Not):
        return _effort(node.item)
    if isinstance(node, (And, Or)):
        return max(map(_effort, node.items), default=0)
    if isinstance(node, (Begins, Phrase)):
        return 4
    return 1 if is_quick(node) else 2 if isinstance(node, (Equals, Word)) else 3


def finish(steps: Steps[Result]) -> Result:
    """Run a search to its end at once, for callers whose thread has no other work."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: Result = stop.value
            return result


def _any_of(bitmaps: list[BitMap]) -> BitMap:
    """Join bitmaps; a single one, the usual case, is not copied."""
    return bitmaps[0] if len(bitmaps) == 1 else BitMap.union(BitMap(), *bitmaps)


def _verified(
    phrases: Sequence[Words], test: Test | None, candidates: BitMap, read: Read
) -> Steps[BitMap]:
    """Keep the candidates in whose text `phrases` stand, and that pass the test."""
    verified = BitMap()
    for position in candidates:  # their JSON is decoded, which may take a while for a single one
        if (yield from says(read(position), phrases, test)):
            verified.add(position)
        yield
    return verified


def says(payload: bytes, phrases: Sequence[Words], test: Test | None) -> Steps[bool]:
    """Tell whether a message is there, has `phrases` in its text and passes the test."""
    if not payload or (phrases and not (yield from mentions(payload, phrases))):
        return False
    return test is None or test(Stored(payload))
