"""An operator's commands: one that dies at work, as by `kill -9`, and ones that listen briefly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from livelog.engine.nats import herald, operator
from livelog.engine.nats.jetstream import JetStream
from livelog.errors import SERVER_ERROR, RefusedError

GONE = "the operator has gone"


@contextmanager
def dying(after: int) -> Iterator[None]:
    """Let so many entries be appended to streams, and fail from the next one on."""
    append, left = JetStream.append, iter(range(after))

    async def mortal(
        self: JetStream, id: str, format: str, body: bytes, behind: int | None = None
    ) -> int:
        if next(left, None) is None:
            raise RefusedError(SERVER_ERROR, "", GONE)
        return await append(self, id, format, body, behind)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JetStream, "append", mortal)
        yield


@pytest.fixture
def quick_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes say more often that they are there, and commands listen for a shorter time."""
    monkeypatch.setattr(herald, "SAID_EVERY", 0.1)
    monkeypatch.setattr(operator, "_HEARD_SECONDS", 0.75)
