"""Live counts as a program iterates over them: how many messages there were, and the gaps between.

A gap is what came while there was no connection: the server counts from the moment at which it is
asked. Each item begins at the seq at which the one before it has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from livelog.client import commands
from livelog.client.commands import Encoded
from livelog.client.stream import Stream
from livelog.wire.events import Counts, Gap

QUEUE = 100
"""Most counts that wait for a busy consumer."""


class LiveCounts(Stream[Counts | Gap]):
    """Counts as they come, made by `watch` of a client or a server.

        async for item in log.watch("channel", interval_seconds=1):
            print("some are not counted" if isinstance(item, Gap) else item.counts)

    Used as a context manager it is in force from the first line of the block on, and ends with the
    block. Without one it starts and ends with the loop.
    """

    def __init__(
        self,
        id: str,
        group_by: str,
        interval: int,
        filters: dict[str, Any],
        start: Callable[[LiveCounts], None],
        stop: Callable[[LiveCounts], None],
    ) -> None:
        super().__init__(start, stop, QUEUE)
        self.id = id
        self.seq: int | None = None
        """Place in the log up to which messages were counted; None before the first time."""
        self.in_force = False
        """The server has confirmed it, on the present connection."""
        self._command = commands.watch(id, group_by, interval, filters)

    def command(self) -> Encoded:
        """Encode the command that puts it in force from now on."""
        return commands.encoded(self._command)

    def confirm(self, seq: int) -> None:
        """Note that it is in force; what comes after `seq` will be counted."""
        if self.seq is not None and self.seq != seq:
            self._keep(Gap(from_=self.seq, to=seq))
        self.seq = seq
        self.in_force = True
        self._ready.set()

    def put(self, counts: Counts) -> None:
        """Queue an event of the server."""
        if self.in_force:
            self.seq = counts.to_seq
            self._keep(counts)

    def _keep(self, item: Counts | Gap) -> None:
        """Queue an item; if there are too many, the oldest ones become a gap."""
        self._put(item)
        if len(self._items) > self._most:
            first, last = _begin(self._items.popleft()), _end(self._items.popleft())
            self._items.appendleft(Gap(from_=first, to=last))


def _begin(item: Counts | Gap) -> int:
    return item.from_ if isinstance(item, Gap) else item.from_seq


def _end(item: Counts | Gap) -> int:
    return item.to if isinstance(item, Gap) else item.to_seq
