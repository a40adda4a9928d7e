"""Stubs: what stands in the place of a message whose content was redacted.

A stub keeps the type, the id, the timestamp and the seq; of a direct message also the ids of its
two users, since nobody else may see it. Its JSON begins with `PREFIX`, which no message does.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from livelog.wire.messages import Delivered, Message, MessageType

PREFIX = b'{"redacted":true,'
_SEQ = b',"seq":'


class Stub(Message, kw_only=True, forbid_unknown_fields=False):
    """A message without its content."""

    id: str
    timestamp: str
    redacted: Literal[True]
    reason: str = ""
    """The reason that was given for the redaction."""
    seq: int = 0


class UserStub(Stub, kw_only=True, tag="user"):
    """Stub of a `UserMessage`."""


class SystemStub(Stub, kw_only=True, tag="system"):
    """Stub of a `SystemMessage`."""


class DirectStub(Stub, kw_only=True, tag="dm"):
    """Stub of a `DirectMessage`."""

    from_user_id: str
    to_user_id: str


class RaidStub(Stub, kw_only=True, tag="raid"):
    """Stub of a `RaidMessage`."""


class PartyStub(Stub, kw_only=True, tag="party"):
    """Stub of a `PartyMessage`."""


class GuildStub(Stub, kw_only=True, tag="guild"):
    """Stub of a `GuildMessage`."""


AnyStub = UserStub | SystemStub | DirectStub | RaidStub | PartyStub | GuildStub

Received = Delivered | AnyStub
"""A message as a client gets it: whole, or without its content."""

decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyStub)


class _Kept(msgspec.Struct):
    type: MessageType
    id: str
    timestamp: str
    from_user_id: str | UnsetType = UNSET
    to_user_id: str | UnsetType = UNSET


_kept_decoder = msgspec.json.Decoder(_Kept)


def is_stub(payload: bytes) -> bool:
    """Tell whether a payload is that of a stub."""
    return payload.startswith(PREFIX)


def stub_of(payload: bytes, reason: str) -> bytes:
    """Return the stub of a message, given with its seq."""
    return b"".join(ends_of_stub(payload, reason))


def ends_of_stub(payload: bytes, reason: str) -> tuple[bytes, bytes]:
    """Return the same in two parts, between which there may be white space."""
    kept = _kept_decoder.decode(payload)
    fields: dict[str, Any] = {"redacted": True, "type": kept.type, "id": kept.id}
    fields["timestamp"] = kept.timestamp
    if kept.type == "dm":
        fields |= {"from_user_id": kept.from_user_id, "to_user_id": kept.to_user_id}
    if reason:
        fields["reason"] = reason
    return msgspec.json.encode(fields)[:-1], payload[payload.rindex(_SEQ) :]


def stub_for(message: Received, reason: str) -> AnyStub:
    """Return the stub of a message that a client has."""
    stub: AnyStub = decoder.decode(stub_of(msgspec.json.encode(message), reason))
    return stub


def seq_at_end(payload: bytes) -> int:
    """Return the seq of a message, which is its last field; 0 for what has none."""
    _, found, seq = payload.rpartition(_SEQ)
    return int(seq[:-1]) if found and seq[:-1].isdigit() else 0
