"""A connection as the limiter sees it."""

from __future__ import annotations


class Peer:
    """A connection that gives way unless it is busy, and is told nothing else."""

    def __init__(self, *, busy: bool = False) -> None:
        self.busy = busy
        self.gone = False

    def give_way(self) -> bool:
        self.gone = not self.busy
        return self.gone

    def turn_out(self) -> None:
        raise AssertionError("the limiter turns nobody out")

    def shut_down(self, back_in: float) -> None:
        raise AssertionError("the limiter shuts nothing down")

    def abort(self) -> None:
        raise AssertionError("the limiter aborts nothing")
