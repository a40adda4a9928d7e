"""Gossip: what the nodes of a log say of themselves every few seconds, and what was heard of it.

Nobody is asked, so a node that is gone holds nobody up: what was heard last is told with its age,
which is measured here, whatever the clocks of the others say. What is heard decides about nothing
but what people are shown; the table is bounded, and what is malformed is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from livelog.engine.base import Node

SAID_EVERY = 2.0
"""Seconds between two words of a node."""

GONE_SECONDS = 10.0
"""Seconds of silence after which a node is gone."""

USERS = b"U"
"""Begins a word about users, which stands for itself (`Herald`); others are JSON objects."""

_MAX_BYTES = 8192
_MAX_NODES = 512
_MAX_ISSUE = 1024

_TEXT = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
"""Without what could make one line in the log look like two."""

Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=_TEXT)]
_Count = Annotated[int, Meta(ge=0, lt=2**53)]


class Word(msgspec.Struct, frozen=True):
    """A node's word about itself."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")]
    """Of the process."""
    node: Name
    version: Annotated[str, Meta(max_length=64, pattern=_TEXT)]
    formats: Annotated[list[Name], Meta(max_length=64)]
    """Formats of entries that it reads."""
    seq: _Count
    lag: Annotated[float, Meta(ge=0, lt=1e12)]
    connections: _Count
    users: _Count
    issue: Annotated[str, Meta(max_length=_MAX_ISSUE, pattern=_TEXT)] = ""
    """The reason why it is not well, empty if it is."""
    keeps_from: _Count = 2**53 - 1
    """The messages that it keeps have seqs above."""
    leaving: bool = False
    """It says so with its last word."""


_decoder = msgspec.json.Decoder(Word)


@dataclass(slots=True)
class _Heard:
    """A node, as it was heard."""

    word: Word
    first: float
    last: float


def encoded(word: Word) -> bytes:
    """Return a word as it is said: of an issue only what fits, and on one line."""
    issue = "".join(c if c.isprintable() else " " for c in word.issue)[:_MAX_ISSUE]
    return msgspec.json.encode(msgspec.structs.replace(word, issue=issue))


class Nodes:
    """The nodes that were heard. `own` is the id of this process, whose words come back to it.

    Times are seconds of a clock that is never set. A node is gone when it was silent while this
    node heard itself: without a broker nobody is.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._heard: dict[str, _Heard] = {}
        self._news: list[str] = []
        self._faults: list[str] = []
        self._told: set[str] = set()
        """Faults that have been told, each once."""

    def __len__(self) -> int:
        return len(self._heard)

    def hear(self, body: bytes, now: float) -> None:
        """Take a word; one about users is for others."""
        if body.startswith(USERS):
            return
        if len(body) > _MAX_BYTES:
            self._tell("a word of a node is too long, and passed over")
            return
        try:
            word = _decoder.decode(body)
        except ValueError as error:
            self._tell(f"a word of a node is malformed, and passed over: {str(error)[:200]}")
            return
        if word.leaving:
            self._leave(word)
        elif (known := self._heard.get(word.id)) is not None:
            self._note(known, word, now)
        elif len(self._heard) >= _MAX_NODES:
            self._tell(f"more than {_MAX_NODES} nodes are heard; the others are passed over")
        else:
            self._come(word, now)
        if word.id == self._own:
            self._forget(now)

    def nodes(self, now: float) -> list[Node]:
        """Return the nodes, by name."""
        found = [_node(heard, now) for heard in self._heard.values()]
        return sorted(found, key=lambda node: (node.name, node.id))

    def news(self) -> tuple[list[str], list[str]]:
        """Return who has come and gone since the last call, and what is wrong, as lines."""
        news, self._news = self._news, []
        faults, self._faults = self._faults, []
        return news, faults

    def _come(self, word: Word, now: float) -> None:
        if word.id != self._own:
            self._news.append(f"node {word.node} came, version {word.version}")
        self._heard[word.id] = _Heard(word, now, now)

    def _note(self, known: _Heard, word: Word, now: float) -> None:
        """Note a node's next word. Two processes of one name that both go on have to be told."""
        known.word, known.last = word, now
        for other in self._heard.values():
            same = other is not known and other.word.node == word.node
            if same and other.last > known.first and known.last > other.first:
                self._tell(f"two nodes are called {word.node}; give each a --node-name of its own")

    def _leave(self, word: Word) -> None:
        if self._heard.pop(word.id, None) is not None and word.id != self._own:
            self._news.append(f"node {word.node} left")

    def _forget(self, now: float) -> None:
        """Forget the nodes that are silent; called while this node hears."""
        for id, heard in list(self._heard.items()):
            if heard.last < now - GONE_SECONDS:
                del self._heard[id]
                self._news.append(f"node {heard.word.node} is gone: silent for {GONE_SECONDS:g} s")

    def _tell(self, fault: str) -> None:
        kind = fault.split(":")[0]
        if kind not in self._told and len(self._told) < _MAX_NODES:
            self._told.add(kind)
            self._faults.append(fault)


def _node(heard: _Heard, now: float) -> Node:
    word = heard.word
    return Node(
        id=word.id,
        name=word.node,
        version=word.version,
        formats=word.formats,
        seq=word.seq,
        lag=word.lag,
        connections=word.connections,
        users=word.users,
        issue=word.issue,
        age=round(max(0.0, now - heard.last), 3),
        keeps_from=word.keeps_from,
    )


def problems(nodes: list[Node]) -> Iterator[str]:
    """Yield what is wrong with the nodes that were heard, in words."""
    for node in nodes:
        if node.age > 2 * SAID_EVERY + 1:
            yield f"node {node.name} has been silent for {node.age:.0f} s"
        if node.issue:
            yield f"node {node.name}: {node.issue}"
    names = [node.name for node in nodes]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"two nodes are called {name}; give each a --node-name of its own"
