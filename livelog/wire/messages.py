"""The six message types of the API, as structs.

The classes are the schema: required fields, allowed values, defaults. Unknown fields are refused;
`metadata`, `data` and `event_data` are free objects and kept as they are. Every delivered message
has every field of its type, in the order below.
"""

from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(max_length=256)]
Url = Annotated[str, Meta(max_length=2048)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]  # exact in JavaScript
Percentage = Annotated[int, Meta(ge=0, le=100)] | Annotated[float, Meta(ge=0, le=100)]
Seconds = Annotated[int, Meta(ge=0, le=2**53 - 1)] | Annotated[float, Meta(ge=0, le=2**53 - 1)]
Free = dict[str, Any]

MessageType = Literal["user", "system", "dm", "raid", "party", "guild"]
TYPES: tuple[MessageType, ...] = ("user", "system", "dm", "raid", "party", "guild")


class Message(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of the six types. The server makes `id` and `timestamp` when they are absent."""

    prefix: ClassVar[str]
    """Prefix of the ids that the server makes for this type."""

    id: Id | UnsetType = UNSET
    timestamp: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    """RFC 3339 with a time zone; kept as the producer wrote it."""


class UserMessage(Message, kw_only=True, tag="user"):
    """A chat message of a user.

    >>> UserMessage(user_id="u1", username="Ann", content="hello", metadata={"channel": "general"})
    UserMessage(id=UNSET, timestamp=UNSET, user_id='u1', username='Ann', ...)
    """

    prefix: ClassVar[str] = "msg_"

    user_id: Id
    username: Name
    user_avatar: Url | None = None
    user_badge: Name | None = None
    content: str
    metadata: Free = {}


class SystemMessage(Message, kw_only=True, tag="system"):
    """An event of the game server.

    >>> SystemMessage(event="raid_started", data={"raid_id": "raid_7"}).severity
    'info'
    """

    prefix: ClassVar[str] = "sys_"

    event: Literal[
        "user_joined",
        "user_left",
        "user_leveled_up",
        "raid_started",
        "server_maintenance",
        "error",
    ]
    data: Free = {}
    severity: Literal["info", "warning", "error", "critical"] = "info"


class DirectMessage(Message, kw_only=True, tag="dm"):
    """A private message from one user to another.

    >>> DirectMessage(from_user_id="u1", from_username="Ann", to_user_id="u2", content="hi").read
    False
    """

    prefix: ClassVar[str] = "dm_"

    from_user_id: Id
    from_username: Name
    to_user_id: Id
    content: str
    read: bool = False


class Participant(Struct, kw_only=True, forbid_unknown_fields=True, rename={"class_": "class"}):
    """One member of a raid; `class` is `class_` in Python.

    >>> Participant(user_id="u1", username="Ann", role="tank", class_="warrior").class_
    'warrior'
    """

    user_id: Id
    username: Name
    role: Name | None = None
    class_: Name | None = None


class RaidMessage(Message, kw_only=True, tag="raid"):
    """The state of a raid.

    >>> RaidMessage(
    ...     raid_id="raid_7",
    ...     raid_name="Dragon's Lair",
    ...     boss_name="Ancient Red Dragon",
    ...     difficulty="mythic",
    ...     status="in_progress",
    ... ).participants
    []
    """

    prefix: ClassVar[str] = "raid_"

    raid_id: Id
    raid_name: Name
    boss_name: Name
    difficulty: Name
    participants: list[Participant] = []
    status: Literal["preparing", "in_progress", "wipe", "victory"]
    health_percentage: Percentage | None = None
    duration_seconds: Seconds | None = None


class PartyMessage(Message, kw_only=True, tag="party"):
    """An event in a party.

    >>> PartyMessage(
    ...     party_id="p1", leader_id="u1", leader_name="Ann", member_count=4, event="disbanded"
    ... ).event
    'disbanded'
    """

    prefix: ClassVar[str] = "party_"

    party_id: Id
    leader_id: Id
    leader_name: Name
    member_count: Count
    event: Literal["member_joined", "member_left", "member_promoted", "disbanded", "level_bonus"]
    event_data: Free = {}


class GuildMessage(Message, kw_only=True, tag="guild"):
    """An event in a guild.

    >>> GuildMessage(guild_id="g1", guild_name="Owls", guild_level=25, event="war_declared").event
    'war_declared'
    """

    prefix: ClassVar[str] = "guild_"

    guild_id: Id
    guild_name: Name
    guild_level: Count
    event: Literal[
        "member_joined",
        "member_left",
        "conquest_started",
        "conquest_complete",
        "upgrade_complete",
        "war_declared",
        "treasury_deposit",
    ]
    event_data: Free = {}


AnyMessage = UserMessage | SystemMessage | DirectMessage | RaidMessage | PartyMessage | GuildMessage

PREFIXES = {kind.__struct_config__.tag: kind.prefix for kind in get_args(AnyMessage)}
"""Type → prefix of the ids made for it."""

decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyMessage)
encoder = msgspec.json.Encoder()


# The six types as they are delivered: with `id`, `timestamp` and `seq`. They are subclasses, so
# `isinstance` and `match` work with the plain names. Clients ignore unknown fields, since a newer
# server may add one; the server refuses them in published messages.


class DeliveredUser(UserMessage, kw_only=True, forbid_unknown_fields=False, tag="user"):
    """A `UserMessage` with its place in the log."""

    id: str
    timestamp: str
    seq: int


class DeliveredSystem(SystemMessage, kw_only=True, forbid_unknown_fields=False, tag="system"):
    """A `SystemMessage` with its place in the log."""

    id: str
    timestamp: str
    seq: int


class DeliveredDirect(DirectMessage, kw_only=True, forbid_unknown_fields=False, tag="dm"):
    """A `DirectMessage` with its place in the log."""

    id: str
    timestamp: str
    seq: int


class DeliveredRaid(RaidMessage, kw_only=True, forbid_unknown_fields=False, tag="raid"):
    """A `RaidMessage` with its place in the log."""

    id: str
    timestamp: str
    seq: int


class DeliveredParty(PartyMessage, kw_only=True, forbid_unknown_fields=False, tag="party"):
    """A `PartyMessage` with its place in the log."""

    id: str
    timestamp: str
    seq: int


class DeliveredGuild(GuildMessage, kw_only=True, forbid_unknown_fields=False, tag="guild"):
    """A `GuildMessage` with its place in the log."""

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
