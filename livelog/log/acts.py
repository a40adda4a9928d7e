"""The acts of the log: those that are kept, those on their way to the disk, and what they changed.

An act changes messages that readers may have asked for before: pages that are read meanwhile, and
chunks for clients that catch up, still have those as they were, and are changed on their way out.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from operator import attrgetter

from livelog.index.paging import Page
from livelog.log.erasures import Erasures
from livelog.store.base import Journal
from livelog.wire import frames
from livelog.wire.acts import Act, Brief, Enacted, Erase, Redact, Renewed, brief
from livelog.wire.erasure import Change, note_changes
from livelog.wire.stubs import seq_at_end

_REDACTIONS = 64
"""Redactions that are kept in memory for readers that catch up."""

_READ_AT_ONCE = 2
"""Acts that are read from the store together, each of up to two hundred kilobytes."""

_IN_FLIGHT = 60.0
"""Seconds after which an answer of the store is given up by all who wait for it."""

_seq = attrgetter("seq")


class Acts:
    """All acts up to the head of the log, as far as they are kept.

    Constructed, it notes those that the journal has, which may raise `RefusedError`.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.renewal: Renewed | None = None
        """The last note that acts have been repeated in a shared log; None without."""
        self._redactions: list[int] = []
        """Seqs of the redactions that are kept, rising."""
        self._applied = set[int]()
        """Seqs at which acts were placed first that have been applied here."""
        self._erasures = Erasures()
        self._newest_redactions: OrderedDict[int, Redact] = OrderedDict()
        """Those applied or asked for last, by seq."""
        self._unwritten: dict[int, Enacted] = {}
        """Acts that the journal may not have yet, by seq, rising."""
        self._changes: dict[int, tuple[Change, ...]] = {}
        """What acts did to messages a moment ago, by seq: pages under way may have them as before.
        """
        for kept in [*self.briefs()][::-1]:
            self._note(kept)

    # In.

    def take(self, seq: int, act: Act) -> Enacted:
        """Note an act that the engine has placed at `seq`; return it as it is to be applied."""
        enacted = Enacted(seq, self._erasures.applied(Enacted(seq, act)))
        self._unwritten[seq] = enacted
        self._note(enacted)
        if isinstance(enacted.act, Redact):
            self._remember(seq, enacted.act)
        return enacted

    def settle(self, enacted: Enacted) -> None:
        """Note that the journal has answered for an act: the store tells of it, if anybody does."""
        self._unwritten.pop(enacted.seq, None)
        if isinstance(enacted.act, Erase):  # those that are kept may name the user
            self._newest_redactions.clear()

    def _note(self, one: Enacted | Brief) -> None:
        """Note an act, now or after a restart; they come in their order."""
        self._applied.add(one.first_seq)
        self._erasures.note(one.act)
        if isinstance(one.act, Redact):
            self._redactions.append(one.seq)
        elif isinstance(one.act, Renewed):
            self.renewal = one.act

    # Out.

    def has(self, first_seq: int) -> bool:
        """Tell whether the act that was placed first at a seq has been applied."""
        return first_seq in self._applied

    def newest(self, before: int | None, limit: int) -> list[Enacted]:
        """Return the newest with a seq below `before`, newest first; raises `RefusedError`."""
        kept = {each.seq: each for each in self._journal.acts(before, limit)}
        kept |= {each.seq: each for each in self._fresh(before)}
        return sorted(kept.values(), reverse=True, key=_seq)[:limit]

    def briefs(self, before: int | None = None) -> Iterator[Brief]:
        """Yield the same without the messages that they name, as they are read."""
        while True:
            kept = {each.seq: each for each in self._journal.briefs(before, _READ_AT_ONCE)}
            kept |= {each.seq: brief(each) for each in self._fresh(before)}
            if not kept:
                return
            for each in sorted(kept.values(), reverse=True, key=_seq)[:_READ_AT_ONCE]:
                before = each.seq
                yield each

    def _fresh(self, before: int | None) -> list[Enacted]:
        """Return the acts that the journal may not have yet, of those with a seq below `before`."""
        unwritten = self._unwritten.values()
        return [each for each in unwritten if before is None or each.seq < before]

    def redaction_after(self, seq: int) -> int:
        """Return the seq of the first redaction behind a seq, 0 without any."""
        place = bisect_right(self._redactions, seq)
        return self._redactions[place] if place < len(self._redactions) else 0

    def redaction(self, seq: int) -> Redact | None:
        """Return the redaction with this seq, None if it is not kept; raises `RefusedError`."""
        known = self._newest_redactions.get(seq)
        if known is None:
            found = [one.act for one in self._journal.acts(seq + 1, 1) if one.seq == seq]
            known = next((act for act in found if isinstance(act, Redact)), None)
            if known is not None:
                self._remember(seq, known)
        return known

    def _remember(self, seq: int, act: Redact) -> None:
        self._newest_redactions[seq] = act
        if len(self._newest_redactions) > _REDACTIONS:
            self._newest_redactions.popitem(last=False)

    # Messages on their way to readers.

    def change_in_flight(self, changed: dict[int, Change]) -> None:
        """Change messages, by seq, in what is read of them from now on."""
        note_changes(self._changes, changed)

    def forget_in_flight(self, act: Act) -> None:
        """Leave them alone again, once all that was asked for before `act` was written has come."""
        if isinstance(act, Redact | Erase):
            asyncio.get_running_loop().call_later(_IN_FLIGHT, self._forget_changes, act.seqs)

    def _forget_changes(self, seqs: list[int]) -> None:
        """Forget the oldest change of each of these messages."""
        for seq in seqs:
            if left := self._changes[seq][1:]:
                self._changes[seq] = left
            else:
                del self._changes[seq]

    def changed_frames(self, found: list[bytes]) -> list[bytes]:
        """Return frames, some of them joined, as acts have changed their messages meanwhile."""
        if not self._changes:
            return found
        return [frames.text(self._changed(one)) for data in found for one in frames.payloads(data)]

    def changed_page(self, page: Page) -> Page:
        """Return a page as acts have changed its messages meanwhile."""
        if not self._changes:
            return page
        return replace(page, payloads=[self._changed(payload) for payload in page.payloads])

    def _changed(self, payload: bytes) -> bytes:
        for change in self._changes.get(seq_at_end(payload), ()):
            payload = change(payload)
        return payload
