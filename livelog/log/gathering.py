"""Messages that come one by one, gathered to be published together.

To place, commit and store a few dozen messages takes not much longer than to do it with one. So
what a connection publishes with one read is gathered, and published before anything else is done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from livelog.budget.owner import INTERNAL, Owner
from livelog.engine.base import Outcome
from livelog.log.ingest import Ingest
from livelog.wire.record import Draft

_log = logging.getLogger(__name__)

_GATHERED_BYTES = 16 * 2**10
"""Bytes after which no more are gathered: as many as may wait for the index in any case."""

Answer = Callable[[Outcome], object]


class Gathering:
    """The messages that one owner has published since the last `publish`."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._owner = INTERNAL
        self._drafts: list[Draft] = []
        self._answers: list[Answer] = []
        self._bytes = 0

    def add(self, owner: Owner, draft: Draft, answer: Answer) -> bool:
        """Gather a message; False if `owner` has to wait until there is room for it.

        `answer` is called once, with its outcome: perhaps before this returns.
        """
        size = self._bytes + len(draft.payload)
        if not self._ingest.has_room(owner, size):
            return False
        self._owner, self._bytes = owner, size
        self._drafts.append(draft)
        self._answers.append(answer)
        if size >= _GATHERED_BYTES:
            self.publish()
        return True

    def publish(self) -> None:
        """Publish what has been gathered."""
        if not self._drafts:
            return
        drafts, answers = self._drafts, self._answers
        self._drafts, self._answers, self._bytes = [], [], 0

        def answered(outcomes: Sequence[Outcome]) -> None:
            for answer, outcome in zip(answers, outcomes, strict=True):
                try:
                    answer(outcome)
                except Exception:  # the others have to be told all the same
                    _log.exception("a publisher could not be told")

        self._ingest.publish(drafts, answered, self._owner, "websocket")
