"""Messages of whole days, in time order, with a level in the metadata of those by users.

They are those of `bench.corpus`, spread over a day. A text takes longer to make than to store, so
each occurs `COPIES` times a day, under another id, at another time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from bench.corpus import Corpus
from bench.websocket import Json
from livelog.auth.principal import AUTHORS
from livelog.index.terms import terms
from livelog.log.ingest import decode
from livelog.wire.timestamps import timestamp

BEGIN, DAY = 1_763_942_400_000, 86_400_000  # milliseconds
COPIES = 4
LEVELS = 60


class Row(NamedTuple):
    """A message as the tables of other engines hold it."""

    number: int
    type: str
    author: str
    channel: str
    server: str
    severity: str
    level: int
    time: int
    """Microseconds since 1970."""
    text: str
    """The words of its text, as livelog folds them."""
    payload: str


class Text(NamedTuple):
    """A message without its number and time."""

    type: str
    rest: bytes
    """JSON behind these, which come first."""


class Days:
    """`count` messages a day."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.corpus = Corpus(-(-count // COPIES))

        self._made = list[Text]()
        self._making = self.corpus.messages()

    def messages(self, day: int) -> Iterator[bytes]:
        """Yield the messages of a day as JSON, the same each time."""
        for place in range(self.count):
            yield self._message(day, place)

    def _text(self, place: int) -> Text:
        """Return the text of a message; it is made when it is first needed."""
        at = place % self.corpus.count
        while at >= len(self._made):
            self._made.append(_text(next(self._making)))
        return self._made[at]

    def _message(self, day: int, place: int) -> bytes:
        text = self._text(place)
        moment = timestamp(self._time(day, place) / 1000)
        head = f'{{"type":"{text.type}","id":"{day}_{place:09}","timestamp":"{moment}",'
        return head.encode() + text.rest

    def _time(self, day: int, place: int) -> int:
        return BEGIN + day * DAY + place * DAY // self.count

    def rows(self, day: int) -> Iterator[Row]:
        """Yield the same for other engines."""
        known = [_columns(self._message(day, place)) for place in range(self.corpus.count)]
        for place in range(self.count):
            columns, time = known[place % len(known)], self._time(day, place) * 1000
            payload = self._message(day, place).decode()
            yield Row(place + 1, *columns[:6], time, columns[6], payload)

    def words(self) -> set[str]:
        """Return all words of all texts."""
        found = set[str]()
        for place in range(self.corpus.count):
            found.update(_columns(self._message(0, place))[6].split())
        return found


def _text(message: Json) -> Text:
    if message["type"] == "user":
        # A user has one level, and all levels are equally common.
        message["metadata"]["level"] = int(message["user_id"][-5:]) * 7919 % LEVELS + 1
    kind = message.pop("type")
    del message["id"], message["timestamp"]
    return Text(kind, msgspec.json.encode(message)[1:])


def _columns(payload: bytes) -> tuple[str, str, str, str, str, int, str]:
    """Return type, author, channel, server, severity, level and text; "" and 0 are none."""
    message: Json = msgspec.json.decode(payload)
    kind, metadata = message["type"], message.get("metadata", {})
    return (
        kind,
        message.get(AUTHORS.get(kind, ""), ""),
        metadata.get("channel", ""),
        metadata.get("server", ""),
        message.get("severity", "info" if kind == "system" else ""),
        metadata.get("level", 0),
        terms(decode(payload)).text,
    )
