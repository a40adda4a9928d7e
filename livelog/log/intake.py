"""The writing half of the log: the one way in for messages and for acts.

A commit is all or nothing. What can fail comes first, the change that makes the records visible
last; should the journal fail behind it, nobody knows what it has, and the log takes nothing more.
Acts are applied in their order among the records. The index of the window lags behind: its work is
done in slices of time (`indexing`).
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol

from livelog.budget.durations import Durations
from livelog.errors import SERVER_ERROR, ConfigError, RefusedError
from livelog.log.acts import Acts
from livelog.log.window import Window
from livelog.store.base import Done, Store
from livelog.wire.acts import MAX_KEPT, Act, Brief, Enacted, Redact, Renewed
from livelog.wire.erasure import changes
from livelog.wire.record import Known, Origin, Record

_logger = logging.getLogger(__name__)

_MAX_BACKLOG_BYTES = 16 * 2**20
"""Bytes of messages that may wait for the index before publishers are told to wait."""


def reporting(window: Window) -> Window:
    """Return `window`, made to log when its index fails."""

    def report(error: Exception) -> None:
        _logger.error("the index of the window has failed, and is made anew", exc_info=error)

    window.on_failure = report
    return window


def _ignored() -> None:
    """Do nothing: the callback until somebody sets one."""


class Subscriber(Protocol):
    """The log's view of the hub: it is told of every record, in order."""

    def publish(self, record: Record) -> None:
        """Take note of `record`, which is in the window."""


class Intake:
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
        self._window = reporting(window)
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
        self.lost_upto = store.bounds.lost_upto
        """Seq up to which the store lacked, when it was opened, what nobody has any more; or 0."""
        self._acts = Acts(store.journal)
        self._unfilled_acts: list[Act] = []
        """Acts applied while the window is still to be filled."""
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
        """Faults that do not keep messages from being taken, for `/healthz`; empty without."""
        reading = "" if self._reader is None else self._reader.impaired
        return "; ".join(filter(None, (self.unfilled, self.damage, reading)))

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
        enacted = self._acts.take(seq, act)
        self._unpublished.append(enacted)
        self._change(enacted.act)

        def settled(refused: RefusedError | None) -> None:
            self._acts.settle(enacted)
            if refused is None:
                self._acts.forget_in_flight(enacted.act)
            receipt.settle(refused)

        try:
            self._journal.enact(enacted, settled)
        except Exception as error:
            receipt.settle(self._break(error))
        self._publish()
        self._wake()

    def _change(self, act: Act) -> None:
        """Do to the messages in memory, and to those on their way, what an act asks for."""
        changed = changes(act)
        self._window.change(changed, voids=isinstance(act, Redact))
        self._acts.change_in_flight(changed)
        if changed and self._filling is not None:
            self._unfilled_acts.append(act)

    def acts(self, before: int | None = None, limit: int = MAX_KEPT) -> list[Enacted]:
        """Return the newest acts with a seq below `before`, newest first, as far as they are kept.

        Raises `RefusedError` when the store cannot be read.
        """
        return self._acts.newest(before, limit)

    def briefs(self, before: int | None = None) -> Iterator[Brief]:
        """Yield the same acts without the messages that they name, each in less than a millisecond.

        Acts that come meanwhile are left out. Raises `RefusedError` when the store cannot be read.
        """
        return self._acts.briefs(before)

    def has_act(self, first_seq: int) -> bool:
        """Tell whether the act that was placed first at a seq has been applied."""
        return self._acts.has(first_seq)

    def redaction(self, seq: int) -> Redact | None:
        """Return the redaction with this seq, None if it is not kept any more.

        Raises `RefusedError` when the store cannot be read.
        """
        return self._acts.redaction(seq)

    @property
    def renewal(self) -> Renewed | None:
        """The last note that acts have been repeated in a shared log; None without."""
        return self._acts.renewal

    @property
    def scrubbed_upto(self) -> int:
        """Seq up to which nothing is left in the files of what acts have redacted."""
        return self._journal.scrubbed_upto

    @property
    def forgot_acts(self) -> bool:
        """Tell whether acts were forgotten for want of memory."""
        return self._journal.forgot_acts

    def stored(self, upto: int, limit: int) -> Sequence[tuple[int, str]]:
        """Return seq and id of the newest messages on disk up to a seq, newest first.

        Raises `RefusedError` when the store cannot be read.
        """
        return [] if self._reader is None else self._reader.stored(upto, limit)

    @property
    def keeps_from(self) -> int:
        """The messages that are kept have seqs above."""
        evicted_upto = self._window.evicted_upto if self._reader is None else 0
        return max(self._began, self._trimmed_upto, evicted_upto)

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
