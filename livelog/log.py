"""The log: the one place where messages are added, and the one from which they are read.

`commit` is the only way in: nothing else appends to the window or the store or wakes the hub, so
everybody sees the same messages in the same order. Everything that reads, be it history, search,
resume or a slow client that catches up, comes through `read`, `read_after` and `seq_of`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from livelog.hub import Hub
from livelog.query import Query, Subscription
from livelog.record import Record
from livelog.store import Done, Store
from livelog.window import Chunk, Page, Window


class Log:
    """Window, store and hub, kept in step. `wake` is called whenever there is something to send."""

    def __init__(self, window: Window, store: Store, hub: Hub, wake: Callable[[], None]) -> None:
        self._window = window
        self._store = store
        self._hub = hub
        self._wake = wake

    @property
    def head(self) -> int:
        """Seq of the newest message."""
        return self._hub.head

    def commit(self, records: Sequence[Record], done: Done) -> None:
        """Append `records`, which the engine has ordered; `done` is called when they are safe."""
        for record in records:
            self._window.append(record)
            self._hub.publish(record)
        self._store.append(records, done)
        self._wake()

    def seq_of(self, id: str) -> int | None:
        """The seq of the message with this id, None when the window has none."""
        return self._window.seq_of(id)

    async def read(self, query: Query, limit: int, offset: int) -> Page:
        """A page of history, newest first. Lets the loop breathe while it looks."""
        steps = self._window.read(query, limit, offset)
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                page: Page = stop.value
                return page
            await asyncio.sleep(0)

    def read_after(self, cursor: int, wanted: Subscription, max_bytes: int) -> Chunk:
        """The next chunk for a reader at `cursor`."""
        return self._window.after(cursor, wanted, max_bytes)
