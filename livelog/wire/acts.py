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

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from livelog.wire.messages import MessageType

MAX_SEQS = 10_000
"""Messages that one act names at most."""

MAX_BYTES = 384 * 2**10
"""Bytes of an act as JSON at most: every broker of a shared log takes as many, and some around."""

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
    first_seq: int = 0
    """Seq at which it was placed first; 0 unless this is its repetition in a shared log."""


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


class Renewed(_Act, frozen=True, kw_only=True):
    """A note of a shared log: all acts that last, up to a seq, have been repeated before it."""

    upto: int


Act = Redact | Erase | Disconnect | Block | Unblock | Announce | Operate | Renewed
"""Every kind of act; one more is one more alternative."""


class Enacted(NamedTuple):
    """An act at its place in the log."""

    seq: int
    act: Act

    @property
    def first_seq(self) -> int:
        """The seq at which the act was placed first, which tells it from all others."""
        return self.act.first_seq or self.seq

    @property
    def repetition(self) -> Act:
        """The act, to be placed once more."""
        return msgspec.structs.replace(self.act, first_seq=self.first_seq)


def lasting(acts: Iterable[Enacted], now: float) -> list[Enacted]:
    """Return the acts that a server has to know whenever it joins, in their first order.

    These are redactions and erasures, and the last word about each user and network that was ever
    blocked: a server may know an earlier one. A block that has ended at `now`, Unix time, ends by
    itself, but an earlier one may not.
    """
    changes: list[Enacted] = []
    blocks: dict[tuple[str, str], Enacted] = {}
    for enacted in sorted(acts, key=lambda each: each.first_seq):
        act = enacted.act
        if isinstance(act, Redact | Erase):
            changes.append(enacted)
        elif isinstance(act, Block | Unblock):
            target = act.user_id, act.address
            if target in blocks or not _has_ended(act, now):
                blocks[target] = enacted
    return sorted([*changes, *blocks.values()], key=lambda each: each.first_seq)


def _has_ended(act: Block | Unblock, now: float) -> bool:
    """Tell whether nobody is kept out by an act."""
    return isinstance(act, Unblock) or (act.until is not None and act.until <= now)


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


# Acts without the messages that they name, of which there may be thousands.


class Brief(NamedTuple):
    """An act at its place in the log, and how many messages it names; its groups are empty."""

    seq: int
    act: Act
    messages: int | None = None
    """None for a kind of act that names none."""

    @property
    def first_seq(self) -> int:
        """The seq at which the act was placed first, which tells it from all others."""
        return self.act.first_seq or self.seq


class _Named(msgspec.Struct, array_like=True):
    """The part of a `Group`, or of `Places`, that is counted."""

    what: msgspec.Raw
    seqs: msgspec.Raw


class _Naming(msgspec.Struct):
    """The part of an act that names messages."""

    groups: msgspec.Raw = msgspec.Raw()


_naming_decoder = msgspec.json.Decoder(_Naming)
_named_decoder = msgspec.json.Decoder(list[_Named])


def brief(enacted: Enacted) -> Brief:
    """Return an act without the messages that it names."""
    groups: tuple[Group | Places, ...] | None = getattr(enacted.act, "groups", None)
    if groups is None:
        return Brief(*enacted)
    act = msgspec.structs.replace(enacted.act, groups=())
    return Brief(enacted.seq, act, sum(len(group.seqs) for group in groups))


def decode_brief(seq: int, body: bytes) -> Brief:
    """Return the same of an act that is JSON, without making a number of each seq.

    Raises the same errors.
    """
    text = bytes(_naming_decoder.decode(body).groups)
    if not text:
        return Brief(seq, decode(body))
    # It stands in no string before: there its quotes would be escaped.
    act = decode(body.replace(text, b"[]", 1))
    return Brief(seq, act, sum(_count(bytes(each.seqs)) for each in _named_decoder.decode(text)))


def _count(array: bytes) -> int:
    """Return the number of elements of a JSON array of numbers."""
    return array.count(b",") + 1 if array.strip(b"[] \t\r\n") else 0
