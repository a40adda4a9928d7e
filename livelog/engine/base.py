"""The seam between checking messages and keeping them: an engine gives drafts their order.

`Engine` is what ingest asks of an engine, `Sink` is what an engine asks of the log. An engine
imports neither, so one that orders elsewhere and answers later (a broker) takes the place of the
local one without a change on either side.

The rules every engine keeps, and `tests/test_engine_contract.py` checks:

- Seqs rise strictly and are never used twice. Records reach the sink in the order of their seqs.
- Batches that are submitted in some order are placed in that order; batches submitted elsewhere may
  come between.
- Each `submit` is answered by one call of `done`, in the loop's thread, perhaps before `submit`
  returns, with one outcome per draft, in the order of the drafts.
- An id belongs to its first author. A draft with a known id is not placed again: `repeated` says
  how it is answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from livelog.errors import POLICY_VIOLATION, RefusedError
from livelog.wire.acts import Act, Enacted, Renewed
from livelog.wire.record import Draft, Known, Origin, Receipt, Record, author_of
from livelog.wire.stubs import is_stub

Outcome = Receipt | RefusedError
"""The end of one draft: its place, or the reason why it is not acknowledged."""

Done = Callable[[Sequence[Outcome]], None]
"""Called once per batch, with the outcomes in the order of the drafts."""

Committed = Callable[[RefusedError | None], None]
"""Called once when records are safe, or with the reason why they are not (yet)."""


ActDone = Callable[[int | RefusedError], None]
"""Called once per act: with its seq when it has been applied here, or with the reason why not."""


class Engine(Protocol):
    """Owner of the order and of deduplication."""

    async def open(self) -> Origin | None:
        """Connect to where the order is made; return the extent of the log there, None if here.

        It is `UNKNOWN` if nobody answers; the sink is told of it later. Called once, before
        `start`. Raises `ConfigError`.
        """

    def start(self, sink: Sink) -> None:
        """Begin to commit to `sink`, above its head.

        An engine whose start raises is not closed: it has nothing left to close.
        """

    async def ready(self, seconds: float | None = None) -> None:
        """Wait until this server has all of the log, or for this long; called after `start`.

        When the time is over the doors open all the same, and what is published is refused.
        """

    @property
    def unready(self) -> str:
        """The reason why clients should go to another server; empty without."""

    def submit(self, drafts: Sequence[Draft], done: Done) -> None:
        """Place `drafts` and commit them; `done` is called with the outcomes."""

    def act(self, act: Act, done: ActDone) -> None:
        """Give `act` a place in the order and have every server apply it there.

        It comes behind all batches that have been answered. `done` is called as by `submit`.
        """

    def refusal(self, draft: Draft | None = None) -> RefusedError | None:
        """Return why nothing can be taken now, or why `draft` cannot; None if it can.

        It says what is known without asking elsewhere; `submit` may still refuse. A door that takes
        several messages asks before it submits any.
        """

    @property
    def lag(self) -> float | None:
        """Seconds for which the log may have been ahead of this server; None if it is here."""

    @property
    def kept_seconds(self) -> float | None:
        """Seconds for which what is placed can be read where the order is made; None if here.

        That is so for what is redacted, too; infinite if there is no end.
        """

    def introduce(self, present: Present) -> None:
        """Tell the others of this server; called once, before `start`."""

    def answer_with(self, answer: Answer) -> None:
        """Have the questions of other servers answered; called once, before `start`."""

    async def ask(self, question: bytes, seconds: float) -> Mapping[str, bytes | None]:
        """Ask the other servers that share the log, in JSON.

        Returns by name what each answers in time; None of those that do not.
        """

    @property
    def nodes(self) -> Sequence[Node] | None:
        """The servers that share the log, as far as they were heard; None if it is here alone."""

    @property
    def impaired(self) -> str:
        """A fault, for `/healthz`, that does not show in `refusal`; empty without."""

    async def close(self) -> None:
        """Take nothing more, and disconnect; may be called twice, and without `start`.

        A batch under way is answered at the latest when the store has been closed, too.
        """


class Sink(Protocol):
    """The log, as an engine sees it."""

    @property
    def head(self) -> int:
        """Seq of the newest record or act."""

    @property
    def refusal(self) -> RefusedError | None:
        """The reason why records cannot be kept now, None when they can."""

    def commit(self, records: Sequence[Record], done: Committed) -> None:
        """Append `records`, whose seqs rise and are above the head."""

    def apply(self, seq: int, act: Act, done: Committed) -> None:
        """Apply `act` behind all records so far; `seq` is above the head, and becomes it."""

    def begin(self, origin: Origin) -> None:
        """Take the extent of the log, which could not be told when this server was started.

        Raises `ConfigError` when what is here is of another log, or does not reach to what there is
        elsewhere.
        """

    def lookup(self, id: str) -> Known | None:
        """Return the message with this id, None when it is not in the window.

        Raises `RefusedError` when the store cannot be read.
        """

    def stored(self, upto: int, limit: int) -> Sequence[tuple[int, str]]:
        """Return seq and id of the newest messages on disk with a seq of at most `upto`.

        The newest comes first; damaged ones are left out, and without a disk there are none.
        Raises `RefusedError` when the store cannot be read.
        """

    def acts(self, before: int | None, limit: int) -> Sequence[Enacted]:
        """Return the newest acts with a seq below `before`, newest first.

        Raises `RefusedError` when the store cannot be read.
        """

    @property
    def forgot_acts(self) -> bool:
        """Tell whether acts were forgotten for want of memory: others have to repeat them."""

    def has_act(self, first_seq: int) -> bool:
        """Tell whether the act that was placed first at a seq has been applied."""

    @property
    def renewal(self) -> Renewed | None:
        """The last note that acts have been repeated; None without."""

    @property
    def lost_upto(self) -> int:
        """Seq up to which the store lacked, when it was opened, what nobody has any more; or 0."""


class Node(NamedTuple):
    """A server that shares the log, as it was heard last."""

    id: str
    """Of the process."""
    name: str
    version: str
    formats: list[str]
    """Formats of entries that it reads."""
    seq: int
    """Seq of its newest message."""
    lag: float
    """Seconds for which the log may have been ahead of it."""
    connections: int
    users: int
    """Users with a connection; 0 without authentication."""
    issue: str
    """The reason why it is not well; empty if it is."""
    age: float
    """Seconds since it was heard."""
    keeps_from: int
    """The messages that it keeps have seqs above; 2**53 - 1 if it has not said so."""


class Presence(NamedTuple):
    """The part of a server's word about itself that the engine does not know."""

    name: str
    version: str
    connections: int
    users: int
    keeps_from: int
    """The messages that it keeps have seqs above."""
    impaired: str = ""
    """A fault of its store or its reading; empty without."""


Answer = Callable[[bytes], Awaitable[bytes]]
"""Answers a question of another server; both are JSON."""

Present = Callable[[], Presence | None]
"""Returns how this server is; None until its doors are open."""


MakeEngine = Callable[[Callable[[], float]], Engine]
"""Makes an engine, given a clock that tells Unix time in seconds."""


def repeated(draft: Draft, known: Known) -> Outcome:
    """Return the outcome of a draft whose id is that of a message which is `known`.

    Its author gets the first receipt again; delivering it again would only repeat it. Anybody
    else's message would be lost behind an acknowledgement, so it is refused.
    """
    if is_stub(known.payload):  # it names no author any more
        return Receipt(draft.id, known.seq)
    if author_of(known.payload) != author_of(draft.payload):
        return RefusedError(POLICY_VIOLATION, "id", "is that of a message by somebody else")
    return Receipt(draft.id, known.seq)
