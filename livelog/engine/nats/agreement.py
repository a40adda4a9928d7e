"""The check of a store against the stream: do they have the same at the places that both have?

Brokers that have lost their end give its places to what comes next. A node that was down meanwhile
would go on behind that, with a log that nobody else has. What was lost is an end, so it shows in
the newest messages and acts at the latest: they are compared, wherever the stream still has theirs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from livelog.engine.nats import batch
from livelog.engine.nats.batch import MalformedError, Renewal, UnknownError
from livelog.engine.nats.places import Places
from livelog.engine.nats.stream import Bounds, Entry
from livelog.wire.acts import Act, Enacted

COMPARED = 16
"""Messages, and acts, that are compared at most; each may need a read of the stream of its own."""

Read = Callable[[int], Awaitable[Sequence[Entry]]]
"""Reads the next entries from a number on; there are none only if all of them were deleted."""


class Stored(Protocol):
    """The log as a node has it."""

    def stored(self, upto: int, limit: int) -> Sequence[tuple[int, str]]:
        """Return seq and id of the newest messages with a seq of at most `upto`, newest first."""

    def acts(self, before: int | None, limit: int) -> Sequence[Enacted]:
        """Return the newest acts with a seq below `before`, newest first."""


async def disagreement(read: Read, bounds: Bounds, mine: Stored) -> int:
    """Return the lowest seq found at which the stream has something else than `mine`; 0 if none."""
    wanted = _by_entry(bounds, mine)
    entries: dict[int, Entry] = {}
    read_upto = 0
    for number in sorted(wanted):
        if number > read_upto:
            entries = {entry.number: entry for entry in await read(number)}
            read_upto = max(entries, default=number)
        entry = entries.get(number)
        if entry is None:  # an operator has deleted it
            continue
        for seq, what in wanted[number]:
            if not _agrees(bounds, entry, seq, what):
                return seq
    return 0


def _by_entry(bounds: Bounds, mine: Stored) -> dict[int, list[tuple[int, str | Act]]]:
    """Return what is to be compared, by the number of the entry that it is from, seqs rising."""
    places, wanted = bounds.places, defaultdict[int, list[tuple[int, str | Act]]](list)
    found: list[tuple[int, str | Act]] = [*mine.stored(bounds.end, COMPARED)]
    found += mine.acts(bounds.end + 1, COMPARED)
    for seq, what in sorted(found, key=lambda each: each[0]):
        number = places.number_of(seq)
        if bounds.first <= number <= bounds.last:
            wanted[number].append((seq, what))
    return wanted


def _agrees(bounds: Bounds, entry: Entry, seq: int, what: str | Act) -> bool:
    """Tell whether an entry has given a seq to the message with an id, or to an act."""
    index = seq - bounds.places.seq_of(entry.number)
    try:
        if isinstance(what, str):
            ids = _ids(bounds.base, entry)
            return index < len(ids) and ids[index] == what
        acts = _acts(bounds.places, entry)
    except MalformedError:
        return False
    except UnknownError:  # that is told when the entry is taken
        return True
    # Not all of it: what an act says of a user may have been erased here.
    return any(
        (each.seq, type(each.act), each.act.at) == (seq, type(what), what.at) for each in acts
    )


def _ids(base: int, entry: Entry) -> list[str]:
    """Return the ids of the messages to which an entry gives seqs, in their order."""
    if entry.base != base or entry.format in batch.FORMATS - batch.BATCHES:
        return []
    return [batch.named(payload)[0] for payload in batch.decode(entry.format, entry.body)]


def _acts(places: Places, entry: Entry) -> list[Enacted]:
    """Return the acts to which an entry gives seqs."""
    record = batch.control(entry.format, entry.body)
    first = places.seq_of(entry.number)
    if isinstance(record, Renewal):
        return record.enacted(first, entry.time)
    return [Enacted(first, record)] if isinstance(record, Act) else []
