"""Commands of operators and moderators, as structs; `admin` carries one of them.

The classes are the protocol, as in `commands`: fields, bounds and defaults are declared only here,
and the options of `livelog admin` are made from them. Unknown fields are refused.

To add a command: its struct here and in `ADMIN`, its handler in `net/admin/table`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.wire import validation
from livelog.wire.bom import without_bom

UserId = Annotated[str, Meta(min_length=1, max_length=256, description="Id of a user.")]
Address = Annotated[
    str,
    Meta(max_length=64, min_length=1, description="Address of clients, or network: 192.0.2.0/24."),
]
ConnectionId = Annotated[
    str,
    Meta(min_length=1, max_length=64, description="Id of a connection, as it was greeted with."),
]
NodeName = Annotated[
    str,
    Meta(min_length=1, max_length=256, description="Name of one of the servers that share a log."),
]
DryRun = Annotated[bool, Meta(description="Tell only how many messages are meant.")]
Count = Annotated[int, Meta(ge=0, description="Number of messages, as the dry run told it.")]
UptoSeq = Annotated[
    int, Meta(ge=0, lt=2**53, description="Seq of the newest, as the dry run told it.")
]
Reason = Annotated[
    str, Meta(max_length=500, description="The reason, for the clients and the audit log.")
]
Force = Annotated[
    bool, Meta(description="Do it although it concerns yourself, this machine or everybody.")
]
Limit = Annotated[int, Meta(ge=1, le=1000, description="Number of rows, 1 to 1000.")]
Offset = Annotated[int, Meta(ge=0, lt=2**53, description="Number of rows to pass over.")]


class AdminCommand(Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of all of them."""


class Connections(AdminCommand, kw_only=True):
    """List open WebSockets and streams."""

    connection_id: ConnectionId | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET
    address: Address | UnsetType = UNSET
    node: NodeName | UnsetType = UNSET
    sort: Annotated[
        Literal["since", "behind", "bytes_sent"],
        Meta(description="Order: the oldest first, or those with the most of it."),
    ] = "since"
    limit: Limit = 100
    offset: Offset = 0


class Disconnect(AdminCommand, kw_only=True):
    """Close the connections of a user or an address, or one connection."""

    connection_id: ConnectionId | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET
    address: Address | UnsetType = UNSET
    reason: Reason = ""
    reconnect: Annotated[bool, Meta(description="Let the clients come back.")] = True
    reconnect_after_seconds: Annotated[
        float, Meta(ge=0, le=86_400, description="Seconds after which they may.")
    ] = 1.0
    force: Force = False


class Block(AdminCommand, kw_only=True):
    """Keep a user, an address or a network out."""

    user_id: UserId | UnsetType = UNSET
    address: Address | UnsetType = UNSET
    duration_seconds: (
        Annotated[
            float,
            Meta(gt=0, le=3_155_760_000, description="Seconds until it ends (default: never)."),
        ]
        | UnsetType
    ) = UNSET
    reason: Reason = ""
    force: Force = False


class Unblock(AdminCommand, kw_only=True):
    """End the block of a user, an address or a network."""

    user_id: UserId | UnsetType = UNSET
    address: Address | UnsetType = UNSET
    reason: Reason = ""


class Blocks(AdminCommand, kw_only=True):
    """List the blocks in force."""

    limit: Limit = 100
    offset: Offset = 0


class Audit(AdminCommand, kw_only=True):
    """List what has been done by admin commands, the newest first."""

    before: Annotated[
        int, Meta(ge=0, lt=2**53, description="List what is older than this seq.")
    ] | (UnsetType) = UNSET
    limit: Limit = 100


class Announce(AdminCommand, kw_only=True):
    """Publish a `system` message `server_maintenance` to everybody."""

    text: Annotated[str, Meta(min_length=1, max_length=2000, description="Text for people.")]
    severity: Annotated[
        Literal["info", "warning", "error", "critical"], Meta(description="How serious it is.")
    ] = "info"
    reason: Reason = ""


class Redact(AdminCommand, kw_only=True):
    """Take the content of messages away, for good."""

    id: (
        Annotated[str, Meta(min_length=1, max_length=128, description="Id of the message.")]
        | UnsetType
    ) = UNSET
    seq: Annotated[int, Meta(ge=1, lt=2**53, description="Seq of the message.")] | UnsetType = UNSET
    where: (
        Annotated[
            str,
            Meta(min_length=1, max_length=2000, description="Expression that finds the messages."),
        ]
        | UnsetType
    ) = UNSET
    dry_run: DryRun = False
    count: Count | UnsetType = UNSET
    upto_seq: UptoSeq | UnsetType = UNSET
    reason: Reason = ""


class Erase(AdminCommand, kw_only=True):
    """Put a pseudonym in the place of a user's id and names, for good."""

    user_id: UserId
    dry_run: DryRun = False
    count: Count | UnsetType = UNSET
    upto_seq: UptoSeq | UnsetType = UNSET
    reason: Reason = ""


class LogLevel(AdminCommand, kw_only=True):
    """Set the least level of the lines that a server logs, until it stops."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="The level.")]
    node: NodeName | UnsetType = UNSET
    reason: Reason = ""


class Drain(AdminCommand, kw_only=True):
    """Have a server take no new clients, and disconnect those it has over `--drain-seconds`."""

    undo: Annotated[bool, Meta(description="Take clients again.")] = False
    node: NodeName | UnsetType = UNSET
    reason: Reason = ""


class Reload(AdminCommand, kw_only=True):
    """Have a server read certificate, API keys and settings again, and report what has changed."""

    node: NodeName | UnsetType = UNSET
    reason: Reason = ""


ADMIN: dict[str, type[AdminCommand]] = {
    "connections": Connections,
    "disconnect": Disconnect,
    "block": Block,
    "unblock": Unblock,
    "blocks": Blocks,
    "audit": Audit,
    "redact": Redact,
    "erase": Erase,
    "announce": Announce,
    "log-level": LogLevel,
    "drain": Drain,
    "reload": Reload,
}
"""Command → its fields."""

_ENVELOPE = ("action", "command", "request_id")
"""Fields of a WebSocket's command that are not those of the command which it carries."""


def decode(command: str, fields: dict[str, Any]) -> AdminCommand:
    """Check the fields of a command. Raises `RefusedError` for an unknown or invalid one."""
    shape = ADMIN.get(command)
    if shape is None:
        issue = f"unknown command {command[:64]!r}"
        raise RefusedError(PROTOCOL_ERROR, "command", issue, allowed=[*ADMIN])
    try:
        return msgspec.convert(fields, shape)
    except ValueError as error:
        raise validation.refusal(error, shape, fields) from None


def fields_of(data: bytes) -> dict[str, Any]:
    """Return the fields of the command that an `admin` carries. Raises `RefusedError`."""
    return {name: value for name, value in _decoded(data).items() if name not in _ENVELOPE}


def fields_of_body(body: bytes) -> dict[str, Any]:
    """Return the fields in the body of a request; none in an empty one. Raises `RefusedError`."""
    text = without_bom(body)
    return _decoded(text) if text.strip() else {}


def _decoded(data: bytes) -> dict[str, Any]:
    """Decode an object. The check of an `admin` has passed over numbers that no field can have."""
    try:
        fields: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        raise validation.refusal(error, dict[str, Any], data) from None
    return fields
