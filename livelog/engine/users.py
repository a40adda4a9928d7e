"""The talk of nodes about their users, as an engine passes it on.

An engine that has other nodes takes a `Talk`; one that is alone has no such method. The words are
bytes to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol, runtime_checkable


class Talk(Protocol):
    """Words about users, to be said and to be heard."""

    def words(self, node: str) -> Iterable[bytes]:
        """Return what is to be said now, in the name of this node."""

    def hear(self, word: bytes) -> None:
        """Take a word of another node."""

    def among(self, own: str, nodes: Collection[str], new: bool) -> None:
        """Take note of the nodes that are there, by id; `new` tells that one has come."""


@runtime_checkable
class Shared(Protocol):
    """An engine with other nodes."""

    def talk(self, talk: Talk) -> None:
        """Pass on words about users; called once, before `start`."""
