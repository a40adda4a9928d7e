"""The log: the one place where messages are added, and the one from which they are read.

`commit` is the only way in: nothing else appends to the window or the store or publishes to the
subscribers, so all of them see the same messages in the same order. It is called by the engine
(`livelog.engine.base.Sink`), in any iteration of the loop. Everything that reads, be it history,
search, resume or a slow client that catches up, comes through here: the window answers first, and
the store for what is older.

A commit is all or nothing. What can fail comes first, the change that makes the records visible
last; should the journal fail behind it, nobody knows what it has, and the log takes nothing more.

The index of the window lags behind the log: its work is done in slices of time (`indexing`).

After a start the window is empty and the store answers. Meanwhile `fill` makes a second window out
of what is on disk, adds what has come since, and puts it in the place of the first.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from livelog.budget.durations import Durations
from livelog.budget.memory import PAGE_BYTES
from livelog.budget.owner import Owner
from livelog.budget.slices import interleaved
from livelog.errors import PROTOCOL_ERROR, SERVER_ERROR, ConfigError, RefusedError
from livelog.index.analysis.answer import Answer, answer
from livelog.index.analysis.live import Count, Findings
from livelog.index.analysis.question import Question
from livelog.index.analysis.tally import Tally
from livelog.index.paging import Chunk, Page, Span
from livelog.index.query import Query, Subscription
from livelog.index.where.expression import And, Equals
from livelog.log.pages import joined, reach, read_around_the_past
from livelog.log.window import Window
from livelog.store.base import Done, Store
from livelog.wire import frames
from livelog.wire.acts import MAX_KEPT, Act, Enacted, Redact
from livelog.wire.messages import MessageType
from livelog.wire.record import Known, Origin, Record, seq_of
from livelog.wire.stubs import cleaned

_STORE_ASKED = 1.0
"""Seconds that the store has for what can be answered without it, if less exactly."""

_logger = logging.getLogger(__name__)

_COUNTED_SECONDS = 10.0
"""Seconds that an analysis of what is in memory may take."""

_FILLED_PER_REQUEST = 500

_REDACTIONS = 64
"""Redactions that are kept in memory for readers that catch up."""

_IN_FLIGHT = 60.0
"""Seconds after which an answer of the store is given up by all who wait for it."""

_MAX_BACKLOG_BYTES = 16 * 2**20
"""Bytes of messages that may wait for the index before publishers are told to wait."""


def _reporting(window: Window) -> Window:
    """Return `window`, made to log when its index fails."""

    def report(error: Exception) -> None:
        _logger.error("the index of the window has failed, and is made anew", exc_info=error)

    window.on_failure = report
    return window


def _ignored() -> None:
    """Do nothing: the callback until somebody sets one."""


def _never() -> bool:
    """Tell that there is no end of the time."""
    return False


class Subscriber(Protocol):
    """The log's view of the hub: it is told of every record, in order."""

    def publish(self, record: Record) -> None:
        """Take note of `record`, which is in the window."""


class Log:
    """Window, store and subscribers, kept in step. Owner of the head."""

    def __init__(
        self, window: Window, store: Store, subscribers: Sequence[Subscriber] = ()
    ) -> None:
        # Given once, and kept.
        self._journal = store.journal
        self._reader = store.reader
        self._subscribers = subscribers
        self._began = store.bounds.began
        # The state of the log.
        self._window = _reporting(window)
        self.head = store.bounds.last_seq
        """Seq of the newest message or act."""
        self.taken: Counter[str] = Counter()
        """Type → messages taken so far."""
        self.reads: defaultdict[str, Durations] = defaultdict(Durations)
        """Kind of query → how long its answers took."""
        self._unpublished: list[Record | Enacted] = []
        """Records in the window, and acts, that nobody has been told of."""
        self.on_act: list[Callable[[int, Act], object]] = []
        """Callbacks: told of each act with its seq, in its order among the messages."""
        kept = reversed(self._journal.acts(None, MAX_KEPT))
        self._redactions = [one.seq for one in kept if isinstance(one.act, Redact)]
        """Seqs of the redactions that are kept, rising."""
        self._newest_redactions: OrderedDict[int, Redact] = OrderedDict()
        """Those applied or asked for last, by seq."""
        self._reasons: dict[int, str] = {}
        """Seqs of messages redacted a moment ago: answers of the store may still have them."""
        self._unfilled_acts: list[Redact] = []
        """Redactions applied while the window is still to be filled."""
        self._broken = ""
        """The error that has left window and journal apart; empty without."""
        self.on_work: Callable[[], object] = _ignored
        """Callback: there is work for `indexing`."""
        self._indexing = False
        """`on_work` has been called, and its `indexing` has not ended."""
        self._safe_upto = window.evicted_upto
        """Seq up to which the store has everything."""
        self._trimmed_upto = store.bounds.trimmed_upto
        """Seq up to which the store has given up its messages."""
        # After a start.
        self._filling: list[Record] | None = None if store.reader is None else []
        """Records committed while the window is still to be filled; None once it is."""
        # Faults that do not keep messages from being taken; empty without.
        self.unfilled = ""
        """The reason why the window could not be filled."""
        self.damage = ""
        """The damage that has been found in the store."""

    @property
    def refusal(self) -> RefusedError | None:
        """The reason why nothing can be committed now, None when it can."""
        if self._broken:
            return RefusedError(
                SERVER_ERROR, "", f"the log has failed: {self._broken}; restart the server"
            )
        if self._window.waiting_bytes > _MAX_BACKLOG_BYTES:
            return RefusedError(SERVER_ERROR, "", "the index is behind", retry_after=1)
        return self._journal.refusal()

    @property
    def memory(self) -> int:
        """Bytes of memory that window and index take, nearly."""
        return self._window.memory

    def bound(self, max_bytes: int) -> None:
        """Bound the memory of the window anew; what is safe on disk is evicted beyond it."""
        self._window.bound(max_bytes)
        self._wake()

    @property
    def impaired(self) -> str:
        """A fault that does not keep messages from being taken, for `/healthz`; empty without."""
        reading = "" if self._reader is None else self._reader.impaired
        return self.unfilled or self.damage or reading

    @property
    def extent(self) -> tuple[int, int] | None:
        """Seq at which the log began, and up to which it is trimmed; None without a store."""
        return None if self._reader is None else (self._began, self._trimmed_upto)

    @property
    def unready(self) -> str:
        """The reason why the newest messages are not in memory yet; empty once they are."""
        return "" if self._filling is None else "the newest messages are read from the store"

    # In.

    def begin(self, origin: Origin) -> None:
        """Take the extent of a log that is ordered elsewhere, which was not known at the start.

        Raises `ConfigError` when what is here does not belong there, or is too far behind.
        """
        if not self.head:
            gone = origin.gone_upto if origin.joins_from or self._reader is None else 0
            self._began, self._trimmed_upto = origin.began, gone
            self.head = max(origin.began, gone)
            self._journal.begin(origin.began, gone)
        elif self._began != origin.began:
            raise ConfigError("--store has another log than --engine; use a new file")
        elif self.head < origin.joins_from:
            issue = "the stream no longer has what comes next on this node; restart it"
            raise ConfigError(f"{issue}, and its readers are told of a gap")

    def commit(self, records: Sequence[Record], done: Done) -> None:
        """Append `records`, which the engine has ordered; `done` is called when they are safe.

        `done` is called exactly once, and this never raises. If `records` cannot be appended, none
        of them is.
        """
        receipt = _Receipt(done)
        refused = self._append(records)
        if refused is not None:
            receipt.settle(refused)
            return

        def settled(refused: RefusedError | None) -> None:
            if records and refused is None:
                self._safe_upto = max(self._safe_upto, records[-1].seq)
                self._window.evict(self._safe_upto)
                self._wake()
            receipt.settle(refused)

        try:
            self._journal.append(records, settled)
        except Exception as error:
            receipt.settle(self._break(error))
        self._publish()
        self._wake()

    def apply(self, seq: int, act: Act, done: Done) -> None:
        """Apply `act`, which the engine has ordered behind all so far; `done` as in `commit`."""
        receipt = _Receipt(done)
        if self._broken:
            receipt.settle(self.refusal)
            return
        self.head = seq
        self._unpublished.append(Enacted(seq, act))
        if isinstance(act, Redact):
            self._redact(seq, act)

        def settled(refused: RefusedError | None) -> None:
            if refused is None:
                self._forget_in_flight(act)
            receipt.settle(refused)

        try:
            self._journal.enact(Enacted(seq, act), settled)
        except Exception as error:
            receipt.settle(self._break(error))
        self._publish()
        self._wake()

    def _redact(self, seq: int, act: Redact) -> None:
        """Put stubs in the place of messages, and note that readers have to be told."""
        seqs = act.seqs
        self._window.redact(seqs, act.reason)
        self._reasons.update(dict.fromkeys(seqs, act.reason))
        self._redactions.append(seq)
        self._keep_redaction(seq, act)
        if self._filling is not None:
            self._unfilled_acts.append(act)

    def _forget_in_flight(self, act: Act) -> None:
        """Filter answers of the store no more, once all that were asked for before have come."""
        if isinstance(act, Redact) and self._reader is not None:
            loop, seqs = asyncio.get_running_loop(), act.seqs
            loop.call_later(_IN_FLIGHT, lambda: [self._reasons.pop(seq, None) for seq in seqs])

    def _clean(self, found: list[bytes]) -> list[bytes]:
        """Filter frames, some of them joined, that were read while a redaction was applied."""
        if not self._reasons:
            return found
        single = (frames.text(payload) for data in found for payload in frames.payloads(data))
        return [cleaned(frame, self._reasons) for frame in single]

    def _cleaned(self, page: Page) -> Page:
        """Filter a page that was read while a redaction was applied."""
        if not self._reasons:
            return page
        framed = self._clean([frames.text(payload) for payload in page.payloads])
        return replace(page, payloads=frames.unframed(framed))

    def acts(self, before: int | None = None, limit: int = MAX_KEPT) -> list[Enacted]:
        """Return the newest acts with a seq below `before`, newest first, as far as they are kept.

        Those that were applied a moment ago may be missing. Raises `RefusedError` when the store
        cannot be read.
        """
        return self._journal.acts(before, limit)

    def _append(self, records: Sequence[Record]) -> RefusedError | None:
        """Append all of `records` to what is in memory, or none and return why."""
        if self._broken:
            return self.refusal
        filling = [] if self._filling is None else self._filling
        unpublished, filled = len(self._unpublished), len(filling)
        try:
            self._unpublished.extend(records)
            filling.extend(records)
            self._window.extend(records)
        except Exception as error:
            _logger.exception("%d messages could not be taken", len(records))
            del self._unpublished[unpublished:], filling[filled:]
            issue = f"could not be taken: {_named(error)}"
            return RefusedError(SERVER_ERROR, "", issue, retry_after=1)
        if records:
            self.head = records[-1].seq
            self.taken.update([record.type for record in records])
        return None

    def _break(self, error: Exception) -> RefusedError | None:
        """Take nothing more, because it is not known what the journal has."""
        _logger.critical("the log has failed, and takes nothing more", exc_info=error)
        self._broken = _named(error)
        return self.refusal

    def _publish(self) -> None:
        """Tell the subscribers of all records they have not heard of, in order.

        The journal may answer at once, and `done` may commit what follows: that commit, which ends
        first, begins here with the records of the one around it. An exception of one subscriber is
        no matter of the others.
        """
        fresh, self._unpublished = self._unpublished, []
        for entry in fresh:
            if isinstance(entry, Enacted):
                self._tell_act(entry)
                continue
            for subscriber in self._subscribers:
                try:
                    subscriber.publish(entry)
                except Exception:
                    _logger.exception("a subscriber could not be told of %d", entry.seq)

    def _tell_act(self, enacted: Enacted) -> None:
        for tell in self.on_act:
            try:
                tell(*enacted)
            except Exception:
                _logger.exception("a subscriber could not be told of the act %d", enacted.seq)

    def _wake(self) -> None:
        """Signal that there is work on the index, unless it is under way."""
        if self._window.has_work and not self._indexing:
            self._indexing = True
            self.on_work()

    def indexing(self) -> Generator[None, None, None]:
        """Do the work on the index, in steps, until there is none."""
        try:
            while self._window.work():
                yield
        finally:
            self._indexing = False

    def work(self) -> bool:
        """Make a step of the work on the index; return False when there is none."""
        return self._window.work()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of messages that wait for the index."""
        return self._window.waiting_bytes

    def trim(self, upto: int) -> None:
        """Give up all messages up to this seq, as the store does."""
        self._trimmed_upto = upto
        self._window.trim(upto)
        self._wake()

    def lookup(self, id: str) -> Known | None:
        """Return the message with this id, None when it is not in the window.

        Until the window has been filled, the store answers for it. Raises `RefusedError` when the
        store cannot be read.
        """
        known = self._window.lookup(id)
        if known is None and self._filling is not None and self._reader is not None:
            return self._reader.lookup(id)
        return known

    def find(self, id: str) -> Known | None:
        """Return the newest message with this id, also one that only the store has.

        Raises `RefusedError` when the store cannot be read.
        """
        known = self.lookup(id)
        if known is None and self._reader is not None:
            known = self._reader.lookup(id)
        return known

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
            return self._cleaned(found)
        offset, limit = span.resolve(matches.newer)
        nearest = span.nearest(matches.newer, offset)
        newer = matches.frames(offset, limit)
        if reader is None:
            return await joined(newer, Page([], 0, offset), nearest, matches.total, span.max_bytes)
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
        older = self._cleaned(older)
        left_out = count < limit and not left and older.total > rest.offset
        cut = older.truncated or left_out or len(newer) < count
        older = replace(older, offset=offset + places.start, truncated=cut)
        return await joined(newer, older, nearest - places.start, matches.total, span.max_bytes)

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
        found = self._clean(chunk.frames)
        return replace(chunk, frames=found, lost_upto=max(lost, chunk.lost_upto), act=ends)

    def _next_redaction(self, cursor: int, lost: int) -> int:
        """Return the seq of the next redaction that a reader at `cursor` is to be told of, or 0.

        One that has seen nothing yet, and is told that messages are lost, need not forget any.
        """
        place = bisect_right(self._redactions, cursor or lost)
        return self._redactions[place] if place < len(self._redactions) else 0

    def redaction(self, seq: int) -> Redact | None:
        """Return the redaction with this seq, None if it is not kept any more.

        Raises `RefusedError` when the store cannot be read.
        """
        known = self._newest_redactions.get(seq)
        if known is None:
            found = [one.act for one in self._journal.acts(seq + 1, 1) if one.seq == seq]
            known = next((act for act in found if isinstance(act, Redact)), None)
            if known is not None:
                self._keep_redaction(seq, known)
        return known

    def _keep_redaction(self, seq: int, act: Redact) -> None:
        self._newest_redactions[seq] = act
        if len(self._newest_redactions) > _REDACTIONS:
            self._newest_redactions.popitem(last=False)

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
            filled = _reporting(Window(live.max_messages, live.max_bytes, follows))
            while records := await reader.records(cursor, upto, _FILLED_PER_REQUEST):
                cursor = records[-1].seq
                # The window begins behind a damaged message: the store tells of it.
                damaged = [record.seq for record in records if not record.frame]
                if damaged:
                    filled = _reporting(Window(live.max_messages, live.max_bytes, damaged[-1]))
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
                filled.redact(act.seqs, act.reason)
            self._window = filled

    def _refill(self, filled: Window, records: list[Record]) -> Generator[None, None, None]:
        for record in records:
            filled.append(record)
            filled.evict(self._safe_upto)
            while filled.work():
                yield
            yield


class _Receipt:
    """The callback of one commit: called once, whatever it raises and however often it is told."""

    def __init__(self, done: Done) -> None:
        self._done: Done | None = done

    def settle(self, refused: RefusedError | None) -> None:
        """Tell the publisher, unless it has been told."""
        done, self._done = self._done, None
        if done is None:
            return
        try:
            done(refused)
        except Exception:
            _logger.exception("a publisher could not be told")


def _named(error: Exception) -> str:
    return str(error) or type(error).__name__
