"""Principals: an identity and its scopes, which decide what it may read and publish.

A principal is a value: the authenticator makes it, and every check of a permission asks it. Scopes
are the words of a token's `scope` claim (RFC 8693 section 4.2; some providers call it `scp` or
`scopes`, or give a list) or of an API key's list; unknown ones are ignored. Direct messages are
readable by their sender and recipient only, whatever the scopes; another server, which keeps the
whole log, has the scope `replicate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from livelog.errors import POLICY_VIOLATION, RefusedError
from livelog.wire.messages import TYPES, AnyMessage, MessageType

READ, PUBLISH, ANYONE = "read", "publish", "publish:any"
MODERATE, PRESENCE, METRICS = "moderate", "presence", "metrics"
ADMIN, REPLICATE = "admin", "replicate"
SCOPES: tuple[str, ...] = (
    *(READ, *(f"{READ}:{name}" for name in TYPES)),
    *(PUBLISH, *(f"{PUBLISH}:{name}" for name in TYPES)),
    ANYONE,
    MODERATE,
    PRESENCE,
    METRICS,
    ADMIN,
    REPLICATE,
)
"""`read` and `publish`, also for one type only; `publish:any` allows any author, `moderate` the
commands of moderators, `presence` to see who is on line, `metrics` to read those of the server;
`admin` is all of these. `replicate`, for other servers, is the whole log as it is stored, and no
part of `admin`."""

AUTHORS: dict[str, str] = {"user": "user_id", "dm": "from_user_id"}
"""Type of message → field of its author. Messages of the other types come from the game, not from a
user: `publish` alone does not allow them, `publish:TYPE` or `publish:any` does."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An id with scopes."""

    id: str
    """The `sub` of a token, or the owner of an API key."""
    scopes: frozenset[str] = frozenset()
    expires: float | None = None
    """Unix time at which the credential expires; None for one that does not."""
    open: bool = False
    """True on a server without authentication, where everything is public."""
    key: str | None = None
    """Id of the API key, if the credential was one."""

    @property
    def reads_as(self) -> str | None:
        """The id whose direct messages, sent or received, are readable; None for everybody's."""
        return None if self.open else self.id

    @property
    def readable(self) -> frozenset[MessageType]:
        """The message types that may be read."""
        if self.open or not self.scopes.isdisjoint((READ, ADMIN)):
            return frozenset(TYPES)
        return frozenset(name for name in TYPES if f"{READ}:{name}" in self.scopes)

    def check_reads(self, types: Iterable[MessageType], field: str) -> None:
        """Check that all of `types` may be read. Raises `RefusedError`, which names `field`."""
        readable = self.readable
        for name in types:
            if name not in readable:
                raise _missing(f"{READ}:{name}", field)

    def check_publishes(self, message: AnyMessage) -> None:
        """Check that `message` may be published under its author. Raises `RefusedError`."""
        if self.open or not self.scopes.isdisjoint((ANYONE, ADMIN)):
            return
        name = message.__struct_config__.tag
        author = AUTHORS.get(name)  # type: ignore[arg-type]  # the tag of a message is its type
        allowed = {f"{PUBLISH}:{name}", *([PUBLISH] if author else [])}
        if self.scopes.isdisjoint(allowed):
            raise _missing(f"{PUBLISH}:{name}", "type")
        if author and getattr(message, author) != self.id:
            raise _missing(ANYONE, author, f"is not you, who are {self.id!r}")

    def check_administers(self, scope: str) -> None:
        """Check that admin commands of a `scope` may be given. Raises `RefusedError`."""
        if self.scopes.isdisjoint((scope, ADMIN)):
            raise _missing(scope, "command")

    def check_replicates(self) -> None:
        """Check that the whole log may be copied. Raises `RefusedError`."""
        if not self.open and REPLICATE not in self.scopes:
            raise _missing(REPLICATE, "token")


ANYBODY = Principal("", frozenset([ADMIN]), open=True)
"""The principal of every client of a server without authentication."""

PROGRAM = Principal("program", frozenset([ADMIN]), open=True)
"""The program that embeds the server: it may publish and read everything. Its id is the author of
what it does as a moderator."""

NOBODY = Principal("")
"""The principal of a client that has not authenticated yet."""


def scopes(words: str | Iterable[str]) -> frozenset[str]:
    """Return the known scopes among `words`, a list or one text.

    In a text the space of ASCII separates them and nothing else does (RFC 6749 section 3.3): a
    no-break space is a part of its word.
    """
    listed = words.split(" ") if isinstance(words, str) else words
    return frozenset(listed).intersection(SCOPES)


def _missing(scope: str, field: str, issue: str = "") -> RefusedError:
    """Return the refusal that names the scope which would have helped."""
    said = f"{issue}: " if issue else ""
    return RefusedError(POLICY_VIOLATION, field, f"{said}the scope {scope} is missing", scope=scope)
