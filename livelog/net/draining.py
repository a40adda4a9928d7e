"""The drain that an operator has asked for; the server goes on, and may take clients again."""

from __future__ import annotations

import asyncio


class Draining:
    """The task that disconnects the clients, if there is one."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self.stopping = False
        """The server stops, and drains for good."""

    @property
    def reason(self) -> str:
        """The reason why clients have to go, and none may come."""
        return f"the server is {'shutting down' if self.stopping else 'being drained'}"

    def begin(self, task: asyncio.Task[None]) -> None:
        """Keep the task that disconnects all clients."""
        self._task = task

    def cancel(self) -> None:
        """Disconnect no more clients."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def stop(self) -> None:
        """Leave the rest to the server, which stops."""
        self.stopping = True
        self.cancel()
