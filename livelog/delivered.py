"""The six messages as they are delivered: complete, and with their place in the log.

Each is the struct of `messages` with `id` and `timestamp` filled in and one field more, so
`isinstance` and `match` work with the plain names, and `message.content` and `message.seq` read
alike. Unlike the way in, a field that is not known is passed over: a newer server may add one.
"""

from __future__ import annotations

from livelog.messages import (
    DirectMessage,
    GuildMessage,
    PartyMessage,
    RaidMessage,
    SystemMessage,
    UserMessage,
)


class DeliveredUser(UserMessage, kw_only=True, forbid_unknown_fields=False, tag="user"):
    """A `UserMessage` at its place in the log."""

    id: str
    timestamp: str
    seq: int


class DeliveredSystem(SystemMessage, kw_only=True, forbid_unknown_fields=False, tag="system"):
    """A `SystemMessage` at its place in the log."""

    id: str
    timestamp: str
    seq: int


class DeliveredDirect(DirectMessage, kw_only=True, forbid_unknown_fields=False, tag="dm"):
    """A `DirectMessage` at its place in the log."""

    id: str
    timestamp: str
    seq: int


class DeliveredRaid(RaidMessage, kw_only=True, forbid_unknown_fields=False, tag="raid"):
    """A `RaidMessage` at its place in the log."""

    id: str
    timestamp: str
    seq: int


class DeliveredParty(PartyMessage, kw_only=True, forbid_unknown_fields=False, tag="party"):
    """A `PartyMessage` at its place in the log."""

    id: str
    timestamp: str
    seq: int


class DeliveredGuild(GuildMessage, kw_only=True, forbid_unknown_fields=False, tag="guild"):
    """A `GuildMessage` at its place in the log."""

    id: str
    timestamp: str
    seq: int


Delivered = (
    DeliveredUser
    | DeliveredSystem
    | DeliveredDirect
    | DeliveredRaid
    | DeliveredParty
    | DeliveredGuild
)
