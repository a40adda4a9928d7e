"""Acts: entries of the log that change what readers see, beside the messages.

An act goes through the engine like a batch: it gets a seq, and every server applies it at that
place. It is kept with the store, so that what it has changed survives a restart; the newest of them
are the audit log. An act never holds the text or the expression by which messages were found.

To add a kind of act:

1. Declare a struct here with `_Act` as its base and a tag of its own, and add it to `Act`. It
   holds what every server needs to come to the same result, and nothing that only one of them
   knows.
2. Give it to `Engine.act`, which answers with the seq or a `RefusedError`.
3. React to it where it matters, with a callback in `Log.on_act`: it is called with each act in its
   order among the messages, on every server.
4. If it is to survive a restart, read it back with `Log.acts` after the start.

A server that does not know the kind of an act stops by name, so a new kind is given out only when
all servers that share a log know it.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from livelog.wire.messages import MessageType

MAX_SEQS = 10_000
"""Messages that one act names at most."""

MAX_KEPT = 100_000
"""Acts that are kept; older ones are forgotten."""


class _Act(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="act", tag=str.lower
):
    """The author, the time and the reason that every act has."""

    by: str
    """Id of the principal."""
    at: str
    """Time of the act, RFC 3339."""
    reason: str = ""


class Group(msgspec.Struct, frozen=True, array_like=True):
    """Messages that concern the same readers."""

    type: MessageType
    seqs: tuple[int, ...]
    """Rising."""
    readers: tuple[str, ...] = ()
    """The ids of the two users of direct messages; empty for all other types."""


class Redact(_Act, frozen=True, kw_only=True):
    """Take the content of messages away; a stub stays in the place of each.

    The messages were looked up once, when the act was made: all servers come to the same result,
    and can tell readers of it without looking for messages that only a store has.
    """

    groups: tuple[Group, ...]
    """At most `MAX_SEQS` messages in all. Those that are not there do not count."""

    @property
    def seqs(self) -> list[int]:
        """The seqs of all messages, rising."""
        return sorted(seq for group in self.groups for seq in group.seqs)


class Places(msgspec.Struct, frozen=True, array_like=True):
    """Messages or acts that name a user at the same places."""

    places: tuple[str, ...]
    """JSON Pointers (RFC 6901): `/participants/0/user_id`."""
    seqs: tuple[int, ...]
    """Rising."""


class Erase(_Act, frozen=True, kw_only=True):
    """Put a pseudonym in the place of a user's id and names.

    It names places and not the user, of whom nothing would be erased as long as it is kept: not
    even a digest, since ids can be guessed. They were looked up once, as for `Redact`.
    """

    pseudonym: str
    """Random, and not to be told from the id."""
    groups: tuple[Places, ...]
    """At most `MAX_SEQS` messages in all. Those that are not there do not count."""
    records: tuple[Places, ...] = ()
    """Earlier acts, by the user or about them."""

    @property
    def seqs(self) -> list[int]:
        """The seqs of all messages, rising."""
        return sorted(seq for group in self.groups for seq in group.seqs)


class Disconnect(_Act, frozen=True, kw_only=True):
    """Close connections: one, or those of a user or a network."""

    connection_id: str = ""
    user_id: str = ""
    address: str = ""
    back_in: float | None = None
    """Seconds after which the clients may come back; None if they may not."""


class Block(_Act, frozen=True, kw_only=True):
    """Keep a user or a network out, and close its connections."""

    user_id: str = ""
    address: str = ""
    until: float | None = None
    """Unix time of the end; None if there is none."""


class Unblock(_Act, frozen=True, kw_only=True):
    """End a block."""

    user_id: str = ""
    address: str = ""


class Announce(_Act, frozen=True, kw_only=True):
    """An announcement; its text is in the message, which may be redacted."""

    message: int
    """Seq of the message."""
    severity: str


class Operate(_Act, frozen=True, kw_only=True):
    """A command to one server, such as `drain`: noted, and without effect on the log."""

    command: str
    node: str
    detail: str = ""


Act = Redact | Erase | Disconnect | Block | Unblock | Announce | Operate
"""Every kind of act; one more is one more alternative."""


class Enacted(NamedTuple):
    """An act at its place in the log."""

    seq: int
    act: Act


_decoder = msgspec.json.Decoder(Act)


def encode(act: Act) -> bytes:
    """Return an act as JSON."""
    return msgspec.json.encode(act)


def decode(body: bytes) -> Act:
    """Return the act that `encode` has made JSON of.

    Raises `msgspec.ValidationError` for a kind of act that this version does not know, and
    `msgspec.DecodeError` for what is no JSON.
    """
    return _decoder.decode(body)
