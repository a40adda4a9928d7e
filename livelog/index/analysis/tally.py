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
from collections.abc import Callable
from heapq import nsmallest
from itertools import chain, count, islice

import msgspec
from pyroaring import BitMap

from livelog.index.analysis.calendar import Span, buckets, coarser
from livelog.index.analysis.cells import Cells
from livelog.index.analysis.question import Counts, Part, Question
from livelog.index.analysis.values import FEW, Lists, Reading, Values
from livelog.index.plan import Steps
from livelog.index.timeindex import TimeIndex

MAX_BUCKETS = 2000
MAX_CELLS = 20_000
"""Buckets in an answer, and values times buckets."""

MAX_VALUE_BYTES = 32 << 20
"""Memory for the values of one field, with `_VALUE_BYTES` for each, and for their buckets."""

_VALUE_BYTES = 150
_WALKED = 32
"""Buckets that are made in one step."""

_COUNTED = 64
"""Lists that are counted in one step."""

_SPREAD = 8
"""Short lists that are divided into buckets in one step."""

_STRAYS = 64
"""Strays that are assigned to their buckets in one step."""

_MERGED = 4096
"""Numbers of values that are translated in one step."""

_PACKED = 500
"""Values that are packed, or looked at, in one step."""


_Listed = tuple[str, int, BitMap]
"""A value, the number of matches so far, and the positions that it has in a part."""

_Packed = list[tuple[str, int, bytes]]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)
_names_decoder = msgspec.msgpack.Decoder(list[str])


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
        self.groups: dict[str, int] = {}
        """Value → number of matches."""
        self.newest: dict[str, int] = {}
        """Value → place of the newest match, of those that may be shown and spelled in two ways."""
        self.spelled: dict[str, str] = {}
        """Value → how its newest message spells it, where that is known."""
        self.distinct: dict[str, int] = {}
        """Values of the field in `distinct`, numbered as they come."""
        self.spreads: dict[str, array[int]] = {}
        """Value of a group → numbers of buckets, each followed by the matches in it."""
        self.touched: dict[int, BitMap] = {}
        """Number of a bucket → numbers of the values in `distinct` that occur in it."""
        self.counts: list[int] = []
        """Matches in each bucket, by its number."""
        self._numbers: dict[int, int] = {}
        """Start of a bucket → its number."""
        self._bucket = buckets(self.interval, question.zone) if self.interval else None
        self._room = dict.fromkeys(question.fields, MAX_VALUE_BYTES)

    @property
    def is_too_fine(self) -> bool:
        """Tell whether there are too many buckets of the length that was asked for."""
        return self.interval != self.question.interval

    @property
    def is_spread(self) -> bool:
        """Tell whether values are counted by bucket."""
        return bool(self.interval) and not self.is_too_fine

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
        unknown = [field for field in question.fields if field not in known]
        reading = Reading(unknown, timed=times is None)
        if unknown or (times is None and self.interval):
            yield from reading.read(part.messages(found))
            found = reading.found
        if times is None:
            times = TimeIndex.of_few(reading.times or {})
        self.total += len(found)
        cells = Cells(found)
        if self._bucket:
            yield from self._over_time(times, found, cells)
        for field in question.fields:
            lists = known[field] if field in known else reading.lists[field].items()
            if field == question.group_by:
                yield from self._count_groups(lists, found, cells, part.place)
            else:
                yield from self._count_distinct(lists, found, cells)
            if self.too_many:
                return

    def _over_time(self, times: TimeIndex, found: BitMap, cells: Cells) -> Steps[None]:
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
            cells.add_run(number, position, behind, inside)
            position = regular.next_set_bit(behind) if behind <= last else behind
            if number % _WALKED == 0:
                yield
        remaining = iter(strays)
        while some := list(islice(remaining, _STRAYS)):
            cells.add_strays(self._divided(times, some))
            yield

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
        for start, matches in counts.items():
            _, number = self._numbered(start)  # which may make them longer still
            self.counts[number] += matches

    def _count_groups(
        self, lists: Lists, found: BitMap, cells: Cells, place: Callable[[int], int]
    ) -> Steps[None]:
        covered, most, remaining = BitMap(), list[_Listed](), iter(lists)
        groups = self.groups
        while some := list(islice(remaining, _COUNTED)):
            covered = BitMap.union(covered, *[positions for _, positions in some])
            counted = [
                (value, matches, positions)
                for value, positions in some
                if (matches := positions.intersection_cardinality(found))
            ]
            fresh = [value for value, _, _ in counted if value not in groups]
            if not self._has_room("group_by", fresh):
                return
            for value, matches, _ in counted:
                groups[value] = groups.get(value, 0) + matches
            if self.question.spells:
                most = self._most(most, counted)
            yield
            if self.is_spread:
                yield from self._spread(counted, cells)
        self.missing += found.difference_cardinality(covered)
        for value, _, positions in most:
            inside = positions & found
            self.newest[value] = place(inside.max()) if inside else 0

    def _most(self, most: list[_Listed], counted: list[_Listed]) -> list[_Listed]:
        """Return the values in the most matches so far; the newest of the others is not known."""
        for value, _, _ in counted:
            self.newest.pop(value, None)
        listed = [(value, self.groups[value], positions) for value, _, positions in counted]
        return nsmallest(self.question.limit, most + listed, key=_in_order)

    def _spread(self, counted: list[_Listed], cells: Cells) -> Steps[None]:
        """Note the matches of values in each bucket."""
        for done, (value, matches, positions) in enumerate(counted):
            spread = self.spreads.setdefault(value, array("I"))
            before = len(spread)
            if cells.are_many_for(matches):
                if not cells.are_numbered:
                    yield from cells.number()
                spread.extend(chain.from_iterable(Counter(cells.picked(positions)).items()))
            else:
                for some in cells.batches:
                    counts = [(n, positions.intersection_cardinality(cell)) for n, cell in some]
                    spread.extend(chain.from_iterable([one for one in counts if one[1]]))
                    if len(cells.batches) > 1:
                        yield
            self._room[self.question.group_by] -= spread.itemsize * (len(spread) - before)
            if done % _SPREAD == 0:
                yield

    def _has_room(self, parameter: str, values: list[str]) -> bool:
        """Take room for new values, and tell whether there was any."""
        field = self.question.group_by if parameter == "group_by" else self.question.distinct
        self._room[field] -= sum(map(len, values)) + _VALUE_BYTES * len(values)
        if self._room[field] < 0:
            self.too_many = parameter
        return not self.too_many

    def _count_distinct(self, lists: Lists, found: BitMap, cells: Cells) -> Steps[None]:
        remaining = iter(lists)
        while some := list(islice(remaining, _COUNTED)):
            counted = [one for one in some if one[1].intersect(found)]
            if not self._add_distinct([value for value, _ in counted]):
                return
            yield
            if self.is_spread:
                numbered = [(self.distinct[value], positions) for value, positions in counted]
                yield from self._touch(numbered, cells)

    def _add_distinct(self, values: list[str]) -> bool:
        """Number new values; return False if there is no room for them."""
        fresh = [value for value in values if value not in self.distinct]
        self.distinct.update(zip(fresh, count(len(self.distinct))))
        return self._has_room("distinct", fresh)

    def _touch(self, numbered: list[tuple[int, BitMap]], cells: Cells) -> Steps[None]:
        """Note the buckets in which values have matches."""
        narrow = [one for one in numbered if cells.are_many_for(len(one[1]))]
        if narrow:
            if not cells.are_numbered:
                yield from cells.number()
            touched: dict[int, list[int]] = {}
            for value, positions in narrow:
                for number in set(cells.picked(positions)):
                    touched.setdefault(number, []).append(value)
                yield
            for done, (number, inside) in enumerate(touched.items()):
                self._add_touched(number, inside)
                if done % _WALKED == 0:
                    yield
        wide = [one for one in numbered if not cells.are_many_for(len(one[1]))]
        for some in cells.batches if wide else ():
            for number, cell in some:
                inside = [value for value, positions in wide if positions.intersect(cell)]
                self._add_touched(number, inside)
                yield

    def _add_touched(self, number: int, values: list[int]) -> None:
        known = self.touched.get(number)
        if known is None:
            known = self.touched[number] = BitMap()
        known.update(values)

    # Between processes.

    def packed(self) -> Steps[Counts]:
        """Pack it, in steps."""
        groups = yield from _pack(self.groups, self.spreads)
        distinct, remaining = list[bytes](), iter(list(self.distinct))
        while some := list(islice(remaining, _PACKED)):
            distinct.append(_encoder.encode(some))
            yield
        touched = {number: values.serialize() for number, values in self.touched.items()}
        return Counts(
            self.total,
            self.missing,
            self.interval,
            self.starts(),
            self.counts,
            self.too_many,
            groups,
            distinct,
            touched,
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
        for start, matches in zip(other.starts, other.counts, strict=True):
            _, number = self._numbered(start)
            self.counts[number] += matches
            numbers.append(number)
            if number % _WALKED == 0:
                yield
        for packed in other.groups:
            self._merge_groups(_decoder.decode(packed), other.spelled, numbers)
            yield
        yield from self._merge_distinct(other, numbers)

    def _merge_groups(self, some: _Packed, spelled: dict[str, str], numbers: list[int]) -> None:
        fresh = [value for value, _, _ in some if value not in self.groups]
        self.spelled |= {value: spelled[value] for value in fresh if value in spelled}
        if not self._has_room("group_by", fresh):
            return
        for value, matches, spread in some:
            self.groups[value] = self.groups.get(value, 0) + matches
            if spread and self.is_spread:
                pairs = array("I", spread)
                pairs[::2] = array("I", map(numbers.__getitem__, pairs[::2]))
                self.spreads.setdefault(value, array("I")).extend(pairs)

    def _merge_distinct(self, other: Counts, numbers: list[int]) -> Steps[None]:
        values: list[int] = []  # the number that each of the other's values has here
        for packed in other.distinct:
            some = _names_decoder.decode(packed)
            if not self._add_distinct(some):
                return
            values += [self.distinct[value] for value in some]
            yield
        for number, touched in other.touched.items() if self.is_spread else ():
            remaining = iter(BitMap.deserialize(touched))
            while part := list(islice(remaining, _MERGED)):
                self._add_touched(numbers[number], [values[value] for value in part])
                yield

    def spell(self, read: Callable[[int], bytes]) -> Steps[None]:
        """Note how the newest messages spell the values that may be shown, in steps.

        `read` returns the message at a place, empty if there is none.
        """
        for value, _ in (yield from self.most()):
            if self.newest.get(value):
                self.note_spelling(value, read(self.newest[value]))
            yield

    def note_spelling(self, value: str, payload: bytes) -> None:
        """Note how a message, unless it is empty, spells a value."""
        if payload:
            self.spelled[value] = Values(self.question.group_by).spelling(payload, value)

    def most(self) -> Steps[list[tuple[str, int]]]:
        """Return the values in the most messages and their counts, in steps."""
        best, remaining = list[tuple[str, int]](), iter(list(self.groups.items()))
        while some := list(islice(remaining, _PACKED)):
            best = nsmallest(self.question.limit, best + some, key=_in_order)
            yield
        return best


def _in_order(counted: tuple[str, int] | _Listed) -> tuple[int, str]:
    return -counted[1], counted[0]


def _pack(counts: dict[str, int], spreads: dict[str, array[int]]) -> Steps[list[bytes]]:
    packed, remaining, none = list[bytes](), iter(counts.items()), array("I")
    while some := list(islice(remaining, _PACKED)):
        rows = [(value, count, spreads.get(value, none).tobytes()) for value, count in some]
        packed.append(_encoder.encode(rows))
        yield
    return packed
