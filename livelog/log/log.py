"""The log: the one place where messages are added, and the one from which they are read.

`commit` is the only way in: nothing else appends to the window or the store or publishes to the
subscribers, so all of them see the same messages in the same order. It is called by the engine
(`livelog.engine.base.Sink`), in any iteration of the loop. Everything that reads, be it history,
search, resume or a slow client that catches up, comes through here: the window answers first, and
the store for what is older.

How records and acts come in stands in `intake`.

After a start the window is empty and the store answers. Meanwhile `fill` makes a second window out
of what is on disk, adds what has come since, and puts it in the place of the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace

from livelog.budget.memory import PAGE_BYTES
from livelog.budget.owner import Owner
from livelog.budget.slices import interleaved
from livelog.errors import PROTOCOL_ERROR, SERVER_ERROR, RefusedError
from livelog.index.analysis.answer import Answer, answer
from livelog.index.analysis.live import Count, Findings
from livelog.index.analysis.question import Question
from livelog.index.analysis.tally import Tally
from livelog.index.paging import Chunk, Page, Span
from livelog.index.query import Query, Subscription
from livelog.index.where.expression import And, Equals
from livelog.log.intake import Intake, reporting
from livelog.log.pages import joined, reach, read_around_the_past
from livelog.log.window import Window
from livelog.wire.acts import Redact
from livelog.wire.erasure import changes
from livelog.wire.messages import MessageType
from livelog.wire.record import Record, seq_of

_STORE_ASKED = 1.0
"""Seconds that the store has for what can be answered without it, if less exactly."""

_COUNTED_SECONDS = 10.0
"""Seconds that an analysis of what is in memory may take."""

_FILLED_PER_REQUEST = 500


def _never() -> bool:
    """Tell that there is no end of the time."""
    return False


class Log(Intake):
    """Window, store and subscribers, kept in step. Owner of the head."""

    # Out.

    async def read(self, query: Query, span: Span, owner: Owner) -> Page:
        """Return a page of history for `owner`, newest first. Yields to the loop while it searches.

        If the store does not answer soon, a page that needs only the window is `incomplete`. Raises
        `RefusedError` when what is on disk cannot be read: with `retry_after` if that may pass.
        """
        window = self._window
        matches = await interleaved(window.find(query), owner)
        upto = window.evicted_upto
        reader = self._reader if self._trimmed_upto < upto else None
        if reader is not None and span.anchor and span.seq <= upto:
            found = await read_around_the_past(reader, query, span, matches, upto, owner)
            return self._acts.changed_page(found)
        offset, limit = span.resolve(matches.newer)
        nearest = span.nearest(matches.newer, offset)
        newer = matches.frames(offset, limit)
        if reader is None:
            none = Page([], 0, offset)
            found = await joined(newer, none, nearest, matches.total, span.max_bytes)
            return self._acts.changed_page(found)
        # What does not fit is not asked for, only counted, and not held on to meanwhile.
        count, places = len(newer), reach(newer, limit, nearest, span.max_bytes)
        newer = newer[places.start : places.stop]
        left = limit - count if places.stop > count else 0
        rest = Span(left, max(0, offset - matches.total), max_bytes=span.max_bytes)
        in_window = not rest.limit
        try:
            async with asyncio.timeout(_STORE_ASKED if in_window else None):
                older = await reader.page(query, upto, rest, owner, optional=in_window)
        except (RefusedError, TimeoutError) as error:
            if isinstance(error, RefusedError) and (error.retry_after is None or not in_window):
                raise
            older = Page([], 0, offset, incomplete=True)
        left_out = count < limit and not left and older.total > rest.offset
        cut = older.truncated or left_out or len(newer) < count
        older = replace(older, offset=offset + places.start, truncated=cut)
        nearest -= places.start
        # Of both parts: the frames of the window were there before the store was asked.
        found = await joined(newer, older, nearest, matches.total, span.max_bytes)
        return self._acts.changed_page(found)

    async def analyze(
        self, query: Query, question: Question, owner: Owner, max_bytes: int = PAGE_BYTES
    ) -> Answer:
        """Count what matches for `owner`, in window and store. Yields to the loop while it does.

        If the store does not answer, the answer is `incomplete`. Raises `RefusedError` when there
        is too much to be counted or told, and when what is on disk cannot be read.
        """
        try:
            async with asyncio.timeout(_COUNTED_SECONDS):
                tally, follows = await interleaved(self._window.analyze(query, question))
        except TimeoutError:
            issue = f"counting has taken longer than {_COUNTED_SECONDS:.0f} s; narrow the filters"
            raise RefusedError(SERVER_ERROR, "", issue, retry_after=1) from None
        incomplete = False
        if self._reader is not None and self._trimmed_upto < follows:
            try:
                older = await self._reader.analyze(query, follows, question, owner, optional=True)
                await interleaved(tally.merge(older))
            except RefusedError as refused:
                if refused.retry_after is None:
                    raise
                incomplete = True
        await interleaved(tally.spell(self._window.at))
        found = await interleaved(answer(tally))
        await self._spell(tally, found, query, owner)
        if found.size > max_bytes:
            issue = f"makes an answer of more than {max_bytes} bytes"
            raise RefusedError(PROTOCOL_ERROR, "limit", issue, allowed="a lower one, or less often")
        return found._replace(incomplete=incomplete)

    async def _spell(self, tally: Tally, found: Answer, query: Query, owner: Owner) -> None:
        """Look up how the newest messages spell values, where that is not known yet.

        Those values are shown because of what is in the store, or have been evicted meanwhile.
        """
        question = tally.question
        unknown = [value for value, _ in found.groups if value not in found.spelled]
        for value in unknown if question.spells else ():
            where = And((query.where, Equals(question.group_by, value)))
            try:
                page = await self.read(replace(query, where=where), Span(1), owner)
            except RefusedError:
                return
            for payload in page.payloads:
                tally.note_spelling(value, payload)

    async def newest_upto(self, seq: int, query: Query, owner: Owner) -> int:
        """Return the seq of the newest message up to `seq` that matches, 0 without any.

        Where only the store could tell, it is asked for a second; after that it is the seq of the
        newest message that is not in memory.
        """
        window = self._window
        matches = await interleaved(window.find(query), owner)
        found = matches.payloads(matches.newer(seq), 1)
        upto = min(seq, window.evicted_upto)
        if not found and self._reader is not None and self._trimmed_upto < upto:
            try:
                async with asyncio.timeout(_STORE_ASKED):
                    page = await self.read(query, Span(1, anchor="before", seq=seq + 1), owner)
            except (RefusedError, TimeoutError):
                return upto
            found = page.payloads
        return seq_of(found[0]) if found else 0

    def read_after(
        self,
        cursor: int,
        wanted: Subscription,
        max_bytes: int,
        is_over: Callable[[], bool] = _never,
    ) -> Chunk | None:
        """Return the next chunk for a reader at `cursor`, None when it has to be fetched.

        The chunk ends early when `is_over` tells that the time is used up.
        """
        lost = self._lost_upto(cursor)
        start, act = max(cursor, lost), self._next_redaction(cursor, lost)
        if act and act <= start:  # it may concern what the reader has had before
            return Chunk([], act, act=act)
        if start < self._window.evicted_upto:
            return None
        chunk = self._window.after(start, wanted, max_bytes, is_over, act)
        chunk.lost_upto = lost
        if act:
            if self._window.position_after(chunk.cursor) >= self._window.position_after(act):
                chunk.cursor = chunk.act = act
            return chunk
        if chunk.cursor >= self._window.newest:
            chunk.cursor = max(chunk.cursor, self.head)
        return chunk

    async def fetch_after(
        self, cursor: int, wanted: Subscription, max_bytes: int, owner: Owner
    ) -> Chunk:
        """Fetch the next chunk for a reader whose `cursor` is at what the window no longer has.

        Raises `RefusedError` when what is on disk cannot be read: with `retry_after` if that may
        pass.
        """
        lost = self._lost_upto(cursor)
        start, upto = max(cursor, lost), self._window.evicted_upto
        # The window may have been filled while the reader waited to fetch.
        if self._reader is None or start >= upto:
            return Chunk([], start, lost)
        act = self._next_redaction(cursor, lost)
        upto = min(upto, act or upto)
        chunk = await self._reader.chunk(start, upto, wanted, max_bytes, owner)
        ends = act if chunk.cursor == act else 0
        # A copy, as the store may share the chunk among readers.
        found = self._acts.changed_frames(chunk.frames)
        return replace(chunk, frames=found, lost_upto=max(lost, chunk.lost_upto), act=ends)

    def _next_redaction(self, cursor: int, lost: int) -> int:
        """Return the seq of the next redaction that a reader at `cursor` is to be told of, or 0.

        One that has seen nothing yet, and is told that messages are lost, need not forget any.
        """
        return self._acts.redaction_after(cursor or lost)

    def out_of_reach(self, cursor: int) -> Chunk:
        """Return the chunk that tells a reader at `cursor` that it cannot have what is on disk."""
        upto = max(cursor, self._window.evicted_upto)
        return Chunk([], upto, lost_upto=upto)

    def _lost_upto(self, cursor: int) -> int:
        """Return the seq up to which a reader at `cursor` has missed messages, 0 without any.

        A cursor of 0 asks for all there is and has seen nothing of what was before.
        """
        gone = self._trimmed_upto
        if self._reader is None:
            gone = max(gone, self._window.evicted_upto)
        if cursor < gone:
            return gone
        return self._began if 0 < cursor < self._began else 0

    # What watches count: the newest messages only, and of those what is in the index.

    @property
    def indexed_upto(self) -> int:
        """Seq up to which all messages are in the index or evicted."""
        return self._window.indexed_upto

    def newer(self, seq: int) -> int:
        """Return the number of messages in memory with a seq above this one."""
        return self._window.newer(seq)

    def count(
        self, query: Query, field: str, after: int, upto: int, known: Findings
    ) -> Generator[None, None, Count]:
        """Count the messages after one seq and up to another by the values of a field, in steps.

        `known` serves the next call.
        """
        return self._window.count(query, field, after, upto, known)

    def newest_of(self, types: Iterable[MessageType], after: int, upto: int) -> int:
        """Return the seq of the newest message of these types after one seq and up to another.

        0 without any.
        """
        return self._window.newest_of(types, after, upto)

    def newest_dm(self, user: str, after: int, upto: int, known: Findings) -> int:
        """Return the same of the direct messages of one user; `known` serves the next call."""
        return self._window.newest_dm(user, after, upto, known)

    # After a start.

    async def fill(self) -> None:
        """Bring the newest messages on disk back into the window, behind the live traffic.

        Raises `RefusedError` when the file cannot be read.
        """
        reader, live = self._reader, self._window
        if reader is None:
            return
        upto = live.evicted_upto
        try:
            cursor = reader.start_of_newest(live.max_messages)
            follows = max(cursor, self._trimmed_upto)
            filled = reporting(Window(live.max_messages, live.max_bytes, follows))
            while records := await reader.records(cursor, upto, _FILLED_PER_REQUEST):
                cursor = records[-1].seq
                # The window begins behind a damaged message: the store tells of it.
                damaged = [record.seq for record in records if not record.frame]
                if damaged:
                    filled = reporting(Window(live.max_messages, live.max_bytes, damaged[-1]))
                    records = [record for record in records if record.seq > damaged[-1]]
                await interleaved(self._refill(filled, records))
            if len(filled):
                await self._overtake(live, filled, upto)
            elif live.evicted_upto == upto:
                live.evicted_upto = filled.evicted_upto  # there was nothing before
        finally:
            self._filling = None
            self._unfilled_acts = []

    async def _overtake(self, live: Window, filled: Window, upto: int) -> None:
        """Add what has come since, and put `filled` in the place of `live`.

        Not if the live traffic alone has filled the window meanwhile.
        """
        assert self._filling is not None
        while self._filling and live.evicted_upto == upto:
            records, self._filling = self._filling, []
            await interleaved(self._refill(filled, records))
        if live.evicted_upto == upto:
            filled.trim(self._trimmed_upto)
            filled.max_bytes = live.max_bytes
            # What was read of the store may be older than they are.
            for act in self._unfilled_acts:
                filled.change(changes(act), voids=isinstance(act, Redact))
            self._window = filled

    def _refill(self, filled: Window, records: list[Record]) -> Generator[None, None, None]:
        for record in records:
            filled.append(record)
            filled.evict(self._safe_upto)
            while filled.work():
                yield
            yield
