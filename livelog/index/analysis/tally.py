"""The counting itself: matches by value and by bucket of time, part by part.

A tally takes one part of the messages after the other: what the index in memory has, what waits for
it, each segment on disk. The tally of the reading process is packed, and what it says is added to
that of the window: all values are in it and not only those in the most messages, since which ones
these are shows only when all is added up.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from heapq import nsmallest
from itertools import islice

import msgspec
from pyroaring import BitMap

from livelog.index import columns
from livelog.index.analysis.cells import Cells, by_list, by_number, is_by_number
from livelog.index.analysis.distinct import VALUE_BYTES, Distinct
from livelog.index.analysis.question import Counts, Part, Question
from livelog.index.analysis.timeline import Timeline
from livelog.index.analysis.values import FEW, Reading, Values
from livelog.index.column import Column
from livelog.index.plan import Steps
from livelog.index.terms import UNINDEXED
from livelog.index.timeindex import TimeIndex

MAX_VALUE_BYTES = 32 << 20
"""Memory for the values of one field, with `VALUE_BYTES` for each, and for their buckets."""

_WALKED = 32
"""Buckets that are merged in one step."""

_PACKED = 500
"""Values that are packed, or looked at, in one step."""

_Packed = list[tuple[str, int, bytes]]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)


class Tally:
    """Counts of the matches so far."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.total = 0
        self.missing = 0
        self.timeline = Timeline(question.interval, question.zone)
        self.too_many = ""
        """The parameter whose field has too many values; empty without."""
        self.groups: dict[str, int] = {}
        """Value → number of matches."""
        self.newest: dict[str, int] = {}
        """Value → place of the newest match, of those that may be shown and spelled in two ways."""
        self.spelled: dict[str, str] = {}
        """Value → how its newest message spells it, where that is known."""
        self.distinct = Distinct(MAX_VALUE_BYTES)
        """Values of the field in `distinct`."""
        self.spreads: dict[str, array[int]] = {}
        """Value of a group → numbers of buckets, each followed by the matches in it."""
        self._room = MAX_VALUE_BYTES

    @property
    def is_too_fine(self) -> bool:
        """Tell whether there are too many buckets of the length that was asked for."""
        return self.timeline.interval != self.question.interval

    @property
    def is_spread(self) -> bool:
        """Tell whether values are counted by bucket."""
        return bool(self.question.interval) and not self.is_too_fine

    # Parts.

    def add(self, part: Part) -> Steps[None]:
        """Count the matches of a part, which is newer than those before it, in steps."""
        fields, source = self.question.fields, part.source
        known, unsure = dict[str, Iterable[Column]](), dict.fromkeys(fields, part.found)
        for field in fields:
            if source is None or len(part.found) <= FEW or field in UNINDEXED:
                continue
            found = yield from source.columns(field)
            if found is not None:
                known[field] = found
                read_anyway = (yield from columns.unsure(source, field)) | source.void
                unsure[field] = part.found & (read_anyway | source.stale)
        read = BitMap.union(BitMap(), *unsure.values())
        if source is None and self.question.interval:
            read = part.found
        reading = Reading(fields, timed=source is None)
        yield from reading.read(part.messages(read))
        there = part.found - (read - reading.found)
        self.total += len(there)
        times = TimeIndex.of_few(reading.times or {}) if source is None else source.time_index
        cells = yield from self.timeline.divide(there, times)
        for field in fields:
            is_group = field == self.question.group_by
            add = self._count_groups if is_group else self._count_distinct
            listed = [Column.of(reading.lists[field].items())]
            yield from add(known.get(field, ()), there - unsure[field], cells)
            yield from add(listed, there & unsure[field], cells)
            if self.too_many:
                return
        if self.question.spells:
            yield from self._note_newest(part, reading)

    def _count_groups(self, columns: Iterable[Column], among: BitMap, cells: Cells) -> Steps[None]:
        without = among
        for column in columns if among else ():
            without = without - column.having
            are_new = not self.groups  # as each value comes once in a column
            if self.is_spread:
                yield from self._spread(column, among, cells)
            else:
                for some in column.counted(among):
                    counted = [(column.values[number], count) for number, count in some]
                    self._add_groups(counted, are_new=are_new)
                    yield
            if self.too_many:
                return
        self.missing += len(without)

    def _spread(self, column: Column, among: BitMap, cells: Cells) -> Steps[None]:
        """Count matches by value and bucket."""
        are_new = not self.groups
        looked_up = yield from is_by_number(column, among, cells)
        for some in (by_number if looked_up else by_list)(column, among, cells):
            counted = [(column.values[number], counts) for number, counts in some]
            summed = [(value, sum(counts[1::2])) for value, counts in counted]
            self._add_groups(summed, are_new=are_new)
            self._add_spreads(counted)
            yield

    def _add_groups(self, counted: list[tuple[str, int]], *, are_new: bool) -> None:
        """Add counts by value, unless there are too many values."""
        groups = self.groups
        fresh = [value for value, _ in counted if are_new or value not in groups]
        if not self._has_room(fresh):
            return
        if are_new:
            groups.update(counted)
            return
        for value, matches in counted:
            groups[value] = groups.get(value, 0) + matches
        for value, _ in counted if self.newest else ():
            self.newest.pop(value, None)

    def _add_spreads(self, counted: list[tuple[str, array[int]]]) -> None:
        for value, counts in counted if not self.too_many else ():
            self.spreads.setdefault(value, array("I")).extend(counts)
            self._room -= counts.itemsize * len(counts)

    def _note_newest(self, part: Part, reading: Reading) -> Steps[None]:
        """Note where the newest match is for each value that may be shown, as it may be spelled."""
        field = self.question.group_by
        read = reading.lists[field]
        for value, _ in (yield from self.most()):
            places = part.found & read.get(value, BitMap())
            if part.source is not None:
                among = part.found - part.source.stale
                places |= among & (yield from columns.having(part.source, field, value))
            if places:
                self.newest[value] = part.place(places.max())
            yield

    def _has_room(self, values: list[str]) -> bool:
        """Take room for new values, and tell whether there was any."""
        self._room -= sum(map(len, values)) + VALUE_BYTES * len(values)
        if self._room < 0:
            self.too_many = "group_by"
        return not self.too_many

    def _count_distinct(
        self, columns: Iterable[Column], among: BitMap, cells: Cells
    ) -> Steps[None]:
        for column in columns if among else ():
            yield from self.distinct.add(column, among, cells if self.is_spread else None)
            self._check_distinct()
            if self.too_many:
                return

    def _check_distinct(self) -> None:
        if self.distinct.are_too_many:
            self.too_many = "distinct"

    # Between processes.

    def packed(self) -> Steps[Counts]:
        """Pack it, in steps."""
        groups = yield from _pack(self.groups, self.spreads)
        distinct = yield from self.distinct.packed()
        touched = {number: values.serialize() for number, values in self.distinct.buckets.items()}
        return Counts(
            self.total,
            self.missing,
            self.timeline.interval,
            self.timeline.starts(),
            self.timeline.counts,
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
        while self.timeline.interval < other.interval:
            self.timeline.coarsen()
        numbers: list[int] = []
        for start, matches in zip(other.starts, other.counts, strict=True):
            numbers.append(self.timeline.add(start, matches))
            if numbers[-1] % _WALKED == 0:
                yield
        for packed in other.groups:
            self._merge_groups(_decoder.decode(packed), other.spelled, numbers)
            yield
        touched = other.touched.items() if self.is_spread else ()
        own = {numbers[number]: values for number, values in touched}
        yield from self.distinct.merge(other.distinct, own)
        self._check_distinct()

    def _merge_groups(self, some: _Packed, spelled: dict[str, str], numbers: list[int]) -> None:
        fresh = [value for value, _, _ in some if value not in self.groups]
        self.spelled |= {value: spelled[value] for value in fresh if value in spelled}
        if not self._has_room(fresh):
            return
        for value, matches, spread in some:
            self.groups[value] = self.groups.get(value, 0) + matches
            if spread and self.is_spread:
                pairs = array("I", spread)
                pairs[::2] = array("I", map(numbers.__getitem__, pairs[::2]))
                self.spreads.setdefault(value, array("I")).extend(pairs)

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
        least, limit = 0, self.question.limit
        while some := list(islice(remaining, _PACKED)):
            best = nsmallest(limit, best + [one for one in some if one[1] >= least], key=_in_order)
            least = best[-1][1] if len(best) == limit else 0
            yield
        return best


def _in_order(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]


def _pack(counts: dict[str, int], spreads: dict[str, array[int]]) -> Steps[list[bytes]]:
    packed, remaining, none = list[bytes](), iter(counts.items()), array("I")
    while some := list(islice(remaining, _PACKED)):
        rows = [(value, count, spreads.get(value, none).tobytes()) for value, count in some]
        packed.append(_encoder.encode(rows))
        yield
    return packed
