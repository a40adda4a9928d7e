"""Subscriptions as a program iterates over them: messages, and the gaps between them.

A subscription keeps a short queue and its place in the log, `seq`: everything it asks for up to
there has been put into the queue. It resumes from its place, and passes over messages up to it, so
that a message that is sent twice is seen once. The queue is bounded; its source decides what to do
when it is full. The source is a link of the client, or the feed of a server in the same process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from livelog.client import commands
from livelog.client.commands import Encoded
from livelog.client.decoding import Item
from livelog.client.stream import Stream
from livelog.wire.events import Gap, Redacted
from livelog.wire.stubs import Received, Stub, stub_for

QUEUE = 500
"""Most messages that wait for a busy consumer."""


class Subscription(Stream[Item]):
    """Messages as they come, made by `subscribe` of a client or a server.

        async for item in log.subscribe(["user"]):
            print("some are gone" if isinstance(item, Gap) else item.content)

    Used as a context manager it is in force from the first line of the block on, and ends with the
    block. Without one it starts and ends with the loop.
    """

    def __init__(
        self,
        types: Sequence[str],
        filters: dict[str, Any],
        since: int | None,
        start: Callable[[Subscription], None],
        stop: Callable[[Subscription], None],
    ) -> None:
        super().__init__(start, stop, QUEUE)
        self.types = tuple(types)
        self.filters = filters
        self.seq = since
        """Place in the log; None while it starts from now on."""
        self.resumed_by_user = since is not None
        """The user has given a place to start from."""
        self.on_redacted: Callable[[Redacted], object] | None = None
        """Callback: the content of messages was taken away; a program that has kept any of them
        forgets it. Those that wait to be taken have become stubs."""
        self.in_force = False
        """The server has confirmed it, on the present connection."""
        self.resumes = False
        """It has been in force before."""

    def contradicts(self, other: Subscription) -> bool:
        """Tell whether both ask for a type with different filters."""
        return self.filters != other.filters and not set(self.types).isdisjoint(other.types)

    def command(self, since: int | None) -> Encoded:
        """Encode the command that puts it in force, from now on or after `since`."""
        return commands.encoded(commands.subscribe(self.types, self.filters, since))

    def confirm(self, seq: int) -> None:
        """Note that it is in force; `seq` is its place, if it starts from now on."""
        if self.seq is None:
            self.seq = seq
        self.in_force = self.resumes = True
        self._ready.set()

    def put(self, message: Received) -> None:
        """Queue a message of one of its types, unless it was queued before."""
        if self.seq is None or message.seq > self.seq:
            self.seq = message.seq
            self._put(message)

    def lose(self, gap: Gap) -> None:
        """Queue a gap, in which messages of its types may be gone."""
        if self.seq is not None and gap.to > self.seq:
            self._put(Gap(from_=max(gap.from_, self.seq), to=gap.to))
            self.seq = gap.to

    def redact(self, event: Redacted) -> None:
        """Forget messages that have not been taken yet, and tell the program of all."""
        gone = set(event.seqs)
        for place, item in enumerate(self._items):
            if not isinstance(item, (Gap, Stub)) and item.seq in gone:
                self._items[place] = stub_for(item, event.reason)
        if self.on_redacted is not None:
            self.on_redacted(event)

    def advance(self, seq: int) -> None:
        """Note that all its messages up to `seq` have arrived."""
        self.seq = seq if self.seq is None else max(seq, self.seq)

    def start_over(self, seq: int) -> None:
        """Go on at `seq` of another log: the server's log ends before the place of this one."""
        assert self.seq is not None
        self._put(Gap(from_=self.seq, to=seq))
        self.seq = seq
