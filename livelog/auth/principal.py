"""Who somebody is to the server, and what that lets them see and do.

A principal is a value: made where somebody proves who they are, asked wherever it matters. Scopes
are the words of a token's `scope` claim (RFC 8693 section 4.2) or of an API key's list; those that
mean nothing here are left out. Nobody reads the direct messages of others, whatever the scopes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from livelog.errors import POLICY_VIOLATION, RefusedError
from livelog.wire.messages import TYPES, AnyMessage, MessageType

READ, PUBLISH, ANYONE, ADMIN = "read", "publish", "publish:any", "admin"
SCOPES: tuple[str, ...] = (
    *(READ, *(f"{READ}:{name}" for name in TYPES)),
    *(PUBLISH, *(f"{PUBLISH}:{name}" for name in TYPES)),
    ANYONE,
    ADMIN,
)
"""`read` and `publish`, also for one type only; `publish:any` publishes as anybody; `admin` is all
of them."""

_AUTHORS: dict[str, str] = {"user": "user_id", "dm": "from_user_id"}
"""Who says a message of this type. The other types are the word of the game and not of a user, so
`publish` alone does not reach them: they take `publish:TYPE` or `publish:any`."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody with an id and scopes."""

    id: str
    """The `sub` of a token, or the owner of an API key."""
    scopes: frozenset[str] = frozenset()
    expires: float | None = None
    """Unix time from which on it is no longer believed."""
    open: bool = False
    """The server has no authentication: everything is public."""
    key: str | None = None
    """The id of the API key, if it was one."""

    @property
    def reads_as(self) -> str | None:
        """Whose direct messages they may read: those from or to this id; anybody's if None."""
        return None if self.open else self.id

    @property
    def readable(self) -> frozenset[MessageType]:
        """The types they may read."""
        if self.open or not self.scopes.isdisjoint((READ, ADMIN)):
            return frozenset(TYPES)
        return frozenset(name for name in TYPES if f"{READ}:{name}" in self.scopes)

    def check_reads(self, types: Iterable[MessageType], field: str) -> None:
        """Raises `RefusedError`, in the name of `field`, unless they may read all of these
        types."""
        readable = self.readable
        for name in types:
            if name not in readable:
                raise _missing(f"{READ}:{name}", field)

    def check_publishes(self, message: AnyMessage) -> None:
        """Raises `RefusedError` unless they may publish this message, in the name it is in."""
        if self.open or not self.scopes.isdisjoint((ANYONE, ADMIN)):
            return
        name = message.__struct_config__.tag
        author = _AUTHORS.get(name)  # type: ignore[arg-type]  # the tag of a message is its type
        allowed = {f"{PUBLISH}:{name}", *([PUBLISH] if author else [])}
        if self.scopes.isdisjoint(allowed):
            raise _missing(f"{PUBLISH}:{name}", "type")
        if author and getattr(message, author) != self.id:
            raise _missing(ANYONE, author, f"is not you, who are {self.id!r}")


ANYBODY = Principal("", frozenset([ADMIN]), open=True)
"""Whoever connects to a server without authentication."""

NOBODY = Principal("")
"""Whoever has not yet said who they are."""


def scopes(words: str) -> frozenset[str]:
    """Those of the space-separated `words` that mean something here."""
    return frozenset(words.split()).intersection(SCOPES)


def _missing(scope: str, field: str, issue: str = "") -> RefusedError:
    """Return the refusal that names the scope which would have helped."""
    said = f"{issue}: " if issue else ""
    return RefusedError(POLICY_VIOLATION, field, f"{said}the scope {scope} is missing", scope=scope)
