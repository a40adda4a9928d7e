"""The rate at which messages are indexed: for estimates, and for the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter

from livelog.store.reader.calls import Progress

_log = logging.getLogger(__name__)

_PER_SECOND = 4000.0
"""Messages that are indexed in a second, as long as that has not been measured."""

_REMEMBERED_SECONDS = 5.0
"""Seconds of work after which what has been measured counts half: messages differ in their cost."""

_LOGGED_SECONDS = 10.0
"""Seconds between two lines in the log about an index that is far behind."""


class Pace:
    """The rate at which messages are indexed, for estimates and for the log."""

    def __init__(self, many: int) -> None:
        self._many = many
        """Messages that are missing from an index that is far behind."""
        self._began = self._logged = perf_counter()
        self._seconds = self._indexed = 0.0
        self.behind = False

    def note(self, count: int, seconds: float) -> None:
        """Note that `count` messages took this time, sealing and merging included."""
        self._indexed += count
        self._seconds += seconds
        if self._seconds > _REMEMBERED_SECONDS:
            self._indexed, self._seconds = self._indexed / 2, self._seconds / 2

    @property
    def per_second(self) -> float:
        """Messages in a second of work."""
        if self._seconds < _REMEMBERED_SECONDS / 4:
            return _PER_SECOND
        return max(1.0, self._indexed) / self._seconds

    def log(self, path: str, missing: int, progress: Callable[[], Progress]) -> None:
        """Log from time to time how far an index is that is far behind, and when it is made."""
        now = perf_counter()
        if missing > self._many and not self.behind:
            self.behind, self._began = True, now
        elif self.behind and not missing:
            self.behind = False
            _log.info("the index %s is made, in %.0f s", path, now - self._began)
        if self.behind and now > self._logged + _LOGGED_SECONDS:
            self._logged, found = now, progress()
            share = found.indexed / found.count
            _log.info("the index %s is being made: %.0f %% are indexed", path, 100 * share)
