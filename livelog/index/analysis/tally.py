"""The counting itself: matches by value and by bucket of time, part by part.

A tally takes one part of the messages after the other: what the index in memory has, what waits for
it, each segment on disk. The tally of the reading process is packed, and what it says is added to
that of the window: all values are in it and not only those in the most messages, since which ones
these are shows only when all is added up.

A bucket is a bitmap of its matches, so a value's count in it is the size of an intersection. If
there are too many buckets, longer ones are tried, and the answer is a refusal that names the length
that would do.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from heapq import nsmallest
from itertools import chain, islice
from operator import itemgetter
from typing import NamedTuple

import msgspec
from msgspec import Struct
from pyroaring import BitMap

from livelog.index.analysis.calendar import Span, buckets, coarser
from livelog.index.analysis.values import COUNTED, FEW, Lists, Reading, Values
from livelog.index.plan import Steps
from livelog.index.timeindex import TimeIndex
from livelog.index.where.fields import compared_as_id

MAX_BUCKETS = 2000
MAX_CELLS = 20_000
"""Buckets in an answer, and values times buckets."""

MAX_VALUE_BYTES = 32 << 20
"""Memory for the values of one field, with `_VALUE_BYTES` for each."""

_VALUE_BYTES = 150
_WALKED = 32
"""Buckets that are made in one step, and lists that are counted by bucket."""

_STRAYS = 1024
"""Strays that are assigned to their buckets in one step."""

_UNITED = 256
"""Lists that are united in one step."""

_PACKED = 500
"""Values that are packed, or looked at, in one step."""


class Question(Struct, frozen=True, array_like=True):
    """What is to be counted; names of fields are those that `values.field_named` returns."""

    group_by: str = ""
    distinct: str = ""
    interval: int = 0
    """Microseconds; 0 without buckets."""
    zone: str = ""
    limit: int = 20

    @property
    def fields(self) -> list[str]:
        """The fields whose values are counted, each once."""
        return list(dict.fromkeys(filter(None, (self.group_by, self.distinct))))

    @property
    def spells(self) -> bool:
        """Tell whether messages may spell values of the groups in several ways."""
        return self.group_by not in ("", "type") and not compared_as_id(self.group_by)


class Part(NamedTuple):
    """Some of the matches, and how to look into them."""

    found: BitMap
    times: TimeIndex | None
    """None where the messages have to be read."""
    values: Callable[[str], Lists | None]
    """Return the values of a field, None where the messages have to be read."""
    messages: Callable[[BitMap], Iterable[tuple[int, bytes]]]
    """Return positions and messages; those that are gone are left out or empty."""
    place: Callable[[int], int]
    """Return the place of a position among all messages, which is above 0."""


class Group:
    """A value, and the matches that have it."""

    __slots__ = ("count", "newest", "spread")

    def __init__(self) -> None:
        self.count = 0
        self.newest = 0
        """Place of the newest of them; 0 if it is not known."""
        self.spread = array("I")
        """Numbers of buckets, each followed by the count in it."""


class Counts(Struct, array_like=True):
    """A tally on its way between processes."""

    total: int
    missing: int
    interval: int
    starts: list[int]
    counts: list[int]
    too_many: str
    groups: list[bytes]
    """Some hundreds of values in each, lest the server take them in one piece."""
    distinct: list[bytes]
    spelled: dict[str, str]


_Listed = tuple[str, int, BitMap]
"""A value, the number of matches so far, and the positions that it has in a part."""

_Packed = list[tuple[str, int, bytes]]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)


class Tally:
    """Counts of the matches so far."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.total = 0
        self.missing = 0
        self.interval = question.interval
        """Microseconds; more than was asked for once there are too many buckets."""
        self.too_many = ""
        """The parameter whose field has too many values; empty without."""
        self.groups: dict[str, Group] = {}
        self.distinct: dict[str, array[int]] = {}
        """Value of the field in `distinct` → numbers of the buckets it is in."""
        self.spelled: dict[str, str] = {}
        """Value of a group → how its newest message spells it, where that is known."""
        self._numbers: dict[int, int] = {}
        """Start of a bucket → its number."""
        self.counts: list[int] = []
        """Matches in each bucket."""
        self._bucket = buckets(self.interval, question.zone) if self.interval else None
        self._room = dict.fromkeys(question.fields, MAX_VALUE_BYTES)

    @property
    def is_too_fine(self) -> bool:
        """Tell whether there are too many buckets of the length that was asked for."""
        return self.interval != self.question.interval

    def starts(self) -> list[int]:
        """Return the starts of the buckets, in the order of their numbers."""
        return list(self._numbers)

    # Parts.

    def add(self, part: Part) -> Steps[None]:
        """Count the matches of a part, which is newer than those before it, in steps."""
        question = self.question
        found, times, known = part.found, part.times, dict[str, Lists]()
        for field in question.fields:
            values = None if times is None or len(found) <= FEW else part.values(field)
            if values is not None:
                known[field] = values
        reading = Reading([field for field in question.fields if field not in known])
        if reading.lists or (times is None and self.interval):
            yield from reading.read(part.messages(found))
            found = BitMap(reading.times)
            times = TimeIndex.of_few(reading.times) if times is None else times
        self.total += len(found)
        cells = _Cells(found)
        if self._bucket and times is not None:
            yield from self._over_time(times, found, cells)
        for field in question.fields:
            lists = known[field] if field in known else reading.lists[field].items()
            if field == question.group_by:
                # Of what is read, the newest message is known at once.
                place = part.place if field in reading.lists and question.spells else None
                listed = yield from self._count_groups(lists, found, cells, place)
                self._note_newest(listed, found, part.place)
            else:
                yield from self._count_distinct(lists, found, cells)
            if self.too_many:
                return

    def _over_time(self, times: TimeIndex, found: BitMap, cells: _Cells) -> Steps[None]:
        """Divide the matches into buckets."""
        strays = found & times.strays
        regular = found - strays
        last = regular.max() if regular else -1
        position = regular.min() if regular else 0
        while position <= last:
            span, number = self._numbered(times.at(position))
            behind = times.first_at(span.end, position)
            inside = regular & BitMap(range(position, behind))
            self.counts[number] += len(inside)
            cells.add_run(number, inside)
            position = regular.next_set_bit(behind) if behind <= last else behind
            if number % _WALKED == 0:
                yield
        remaining = iter(strays)
        while some := list(islice(remaining, _STRAYS)):
            cells.add_strays(self._divided(times, some))
            yield
        if not self.is_too_fine:
            yield from cells.number()

    def _divided(self, times: TimeIndex, positions: list[int]) -> dict[int, list[int]]:
        """Divide strays into buckets."""
        places: dict[int, list[int]] = {}
        span, number = Span(0, 0), 0
        for position in positions:
            time = times.at(position)
            if not span.start <= time < span.end:
                span, number = self._numbered(time)
            self.counts[number] += 1
            places.setdefault(number, []).append(position)
        return places

    def _numbered(self, time: int) -> tuple[Span, int]:
        """Return the bucket of a time, and its number."""
        assert self._bucket
        span = self._bucket(time)
        number = self._numbers.setdefault(span.start, len(self._numbers))
        if number == len(self.counts):
            self.counts.append(0)
            if number == MAX_BUCKETS:
                self.coarsen()
                return self._numbered(time)
        return span, number

    def coarsen(self) -> None:
        """Make the buckets longer."""
        counts = dict(zip(self._numbers, self.counts, strict=True))
        self.interval = coarser(self.interval)
        self._bucket = buckets(self.interval, self.question.zone)
        self._numbers, self.counts = {}, []
        for start, count in counts.items():
            _, number = self._numbered(start)  # which may make them longer still
            self.counts[number] += count

    def _count_groups(
        self, lists: Lists, found: BitMap, cells: _Cells, place: Callable[[int], int] | None
    ) -> Steps[list[_Listed]]:
        """Count the matches of each value; return the values in the most, with their lists."""
        covered, united, counted = BitMap(), list[BitMap](), list[_Listed]()
        over_time = bool(self.interval) and not self.is_too_fine
        for number, (value, positions) in enumerate(lists):
            united.append(positions)
            if len(united) == _UNITED:
                covered, united = BitMap.union(covered, *united), []
                counted = self._most(counted)
                yield
            count = positions.intersection_cardinality(found)
            if count and (group := self._group(value)) is not None:
                group.count += count
                group.newest = place(positions.max()) if place else 0
                counted.append((value, group.count, positions))
                if over_time:
                    group.spread.extend(cells.spread(positions))
            if number % (_WALKED if over_time else COUNTED) == 0:
                yield
        self.missing += found.difference_cardinality(BitMap.union(covered, *united))
        return self._most(counted)

    def _note_newest(
        self, listed: list[_Listed], found: BitMap, place: Callable[[int], int]
    ) -> None:
        """Note the newest message of values that may be shown, if it tells how they are spelled."""
        if not self.question.spells:
            return
        for value, _, positions in listed:
            inside = positions & found
            self.groups[value].newest = place(inside.max()) if inside else 0

    def _most(self, counted: list[_Listed]) -> list[_Listed]:
        limit = self.question.limit
        return counted if len(counted) <= limit else nsmallest(limit, counted, key=_in_order)

    def _group(self, value: str) -> Group | None:
        group = self.groups.get(value)
        if group is None and self._has_room("group_by", self.question.group_by, value):
            group = self.groups[value] = Group()
        return group

    def _has_room(self, parameter: str, field: str, value: str) -> bool:
        self._room[field] -= len(value) + _VALUE_BYTES
        if self._room[field] < 0:
            self.too_many = parameter
        return not self.too_many

    def _count_distinct(self, lists: Lists, found: BitMap, cells: _Cells) -> Steps[None]:
        over_time = bool(self.interval) and not self.is_too_fine
        for number, (value, positions) in enumerate(lists):
            if positions.intersect(found):
                known = self._known(value)
                if known is None:
                    return
                if over_time:
                    known.extend(cells.touched(positions))
            if number % (_WALKED if over_time else COUNTED) == 0:
                yield

    def _known(self, value: str) -> array[int] | None:
        known = self.distinct.get(value)
        if known is None and self._has_room("distinct", self.question.distinct, value):
            known = self.distinct[value] = array("I")
        return known

    # Between processes.

    def packed(self) -> Steps[Counts]:
        """Pack it, in steps."""
        groups, distinct = list[bytes](), list[bytes]()
        values = ((v, one.count, one.spread.tobytes()) for v, one in self.groups.items())
        yield from _pack(values, groups)
        yield from _pack(
            ((v, 0, spread.tobytes()) for v, spread in self.distinct.items()), distinct
        )
        return Counts(
            self.total,
            self.missing,
            self.interval,
            self.starts(),
            self.counts,
            self.too_many,
            groups,
            distinct,
            self.spelled,
        )

    def merge(self, other: Counts) -> Steps[None]:
        """Add what another process has counted of older messages, in steps."""
        self.total += other.total
        self.missing += other.missing
        self.too_many = self.too_many or other.too_many
        while self.interval < other.interval:
            self.coarsen()
        numbers: list[int] = []
        for start, count in zip(other.starts, other.counts, strict=True):
            _, number = self._numbered(start)
            self.counts[number] += count
            numbers.append(number)
        over_time = not self.is_too_fine

        for packed in other.groups:
            for value, count, spread in _decoder.decode(packed):
                group = self._group(value)
                if group is None:
                    return
                if not group.count and value in other.spelled:
                    self.spelled[value] = other.spelled[value]
                group.count += count
                if over_time:
                    pairs = array("I", spread)
                    pairs[::2] = _translated(pairs[::2], numbers)
                    group.spread.extend(pairs)
            yield
        for packed in other.distinct:
            for value, _, spread in _decoder.decode(packed):
                known = self._known(value)
                if known is None:
                    return
                if over_time:
                    known.extend(_translated(array("I", spread), numbers))
            yield

    def spell(self, read: Callable[[int], bytes]) -> Steps[None]:
        """Note how the newest messages spell the values that may be shown, in steps.

        `read` returns the message at a place, empty if there is none.
        """
        for value, group in (yield from self.most()):
            if group.newest:
                self.note_spelling(value, read(group.newest))
            yield

    def note_spelling(self, value: str, payload: bytes) -> None:
        """Note how a message, unless it is empty, spells a value."""
        if payload:
            self.spelled[value] = Values(self.question.group_by).spelling(payload, value)

    def most(self) -> Steps[list[tuple[str, Group]]]:
        """Return the values in the most messages, in steps."""
        best, remaining = list[tuple[str, int, Group]](), iter(list(self.groups.items()))
        while some := [(v, one.count, one) for v, one in islice(remaining, _PACKED)]:
            best = nsmallest(self.question.limit, best + some, key=_in_order)
            yield
        return [(value, group) for value, _, group in best]


def _translated(numbers: array[int], into: list[int]) -> array[int]:
    return array("I", map(into.__getitem__, numbers))


def _in_order(counted: tuple[str, int, object]) -> tuple[int, str]:
    return -counted[1], counted[0]


def _pack(values: Iterator[tuple[str, int, bytes]], into: list[bytes]) -> Steps[None]:
    while some := list(islice(values, _PACKED)):
        into.append(_encoder.encode(some))
        yield


class _Cells:
    """The matches of one part in each bucket."""

    def __init__(self, found: BitMap) -> None:
        self._found = found
        self._cells: dict[int, BitMap] = {}
        self._runs: list[tuple[int, int, int]] = []
        """Bucket, and the first and last of its matches that are no strays."""
        self._strays: list[dict[int, list[int]]] = []
        self._base = 0
        self._numbers = array("H")
        """Numbers of the buckets by position, from the base on."""

    def add_run(self, number: int, inside: BitMap) -> None:
        """Add the matches in a bucket that are no strays."""
        self._runs.append((number, inside.min(), inside.max()))
        self._cells[number] = inside

    def add_strays(self, places: dict[int, list[int]]) -> None:
        """Add strays, by the number of their bucket."""
        self._strays.append(places)
        for number, strays in places.items():
            known = self._cells.setdefault(number, BitMap())
            self._cells[number] = known | BitMap(strays)

    def number(self) -> Steps[None]:
        """Prepare to look up buckets by position."""
        if not self._found:
            return
        self._base = self._found.min()
        self._numbers = array("H", bytes(2 * (self._found.max() + 1 - self._base)))
        for done, (number, first, last) in enumerate(self._runs):
            run = array("H", [number]) * (last + 1 - first)
            self._numbers[first - self._base : last + 1 - self._base] = run
            if done % _WALKED == 0:
                yield
        for places in self._strays:
            for number, strays in places.items():
                for position in strays:
                    self._numbers[position - self._base] = number
            yield

    def spread(self, positions: BitMap) -> Iterator[int]:
        """Yield the numbers of the buckets with some of `positions`, each followed by the count."""
        if len(positions) < len(self._cells):
            yield from chain.from_iterable(Counter(self._picked(positions)).items())
            return
        for number, cell in self._cells.items():
            count = positions.intersection_cardinality(cell)
            if count:
                yield number
                yield count

    def touched(self, positions: BitMap) -> Iterable[int]:
        """Return the numbers of the buckets with some of `positions`."""
        if len(positions) < len(self._cells):
            return set(self._picked(positions))
        return [n for n, cell in self._cells.items() if positions.intersect(cell)]

    def _picked(self, positions: BitMap) -> tuple[int, ...]:
        """Return the number of the bucket of each match among `positions`."""
        inside = (positions & self._found).shift(-self._base)
        if len(inside) < 2:  # `itemgetter` of one gives no tuple
            return tuple(self._numbers[position] for position in inside)
        picked: tuple[int, ...] = itemgetter(*inside)(self._numbers)
        return picked
