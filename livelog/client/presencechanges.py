"""Presence as a program iterates over it: who is on line, and then who comes and goes.

The server tells of changes from the moment at which it is asked, and forgets that with the
connection. So each connection begins with the whole state.
"""

from __future__ import annotations

from collections.abc import Callable

from livelog.client import commands
from livelog.client.commands import Encoded
from livelog.client.stream import Stream
from livelog.wire.events import Online, OnlineChanged

QUEUE = 100
"""Most items that wait for a busy consumer."""


class PresenceChanges(Stream[Online | OnlineChanged]):
    """The users on line as they come and go, made by `watch_presence` of a client.

        async for item in log.watch_presence():
            print(item.count)

    The first item, and the first after each reconnect, is an `Online` with the whole state; all
    others are an `OnlineChanged`. Used as a context manager it is in force from the first line of
    the block on, and ends with the block. Without one it starts and ends with the loop.
    """

    def __init__(
        self,
        limit: int,
        start: Callable[[PresenceChanges], None],
        stop: Callable[[PresenceChanges], None],
    ) -> None:
        super().__init__(start, stop, QUEUE)
        self.in_force = False
        """The server has confirmed it, on the present connection."""
        self._command = commands.encoded(commands.presence(limit, 0, follow=True))

    def command(self) -> Encoded:
        """Return the command that puts it in force from now on."""
        return self._command

    def confirm(self, online: Online) -> None:
        """Note that it is in force, and queue the state from which the changes go on."""
        self.in_force = True
        self._keep(online)
        self._ready.set()

    def put(self, changed: OnlineChanged) -> None:
        """Queue an event of the server."""
        if self.in_force:
            self._keep(changed)

    def _keep(self, item: Online | OnlineChanged) -> None:
        """Queue an item; if there are too many, the oldest ones become one that is incomplete."""
        self._put(item)
        if len(self._items) > self._most:
            self._items.popleft()
            if isinstance(next_ := self._items[0], OnlineChanged):
                self._items[0] = OnlineChanged(count=next_.count, incomplete=True)
