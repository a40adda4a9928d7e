"""The one who gives an admin command, and the refusals that only these commands have."""

from __future__ import annotations

from dataclasses import dataclass, field

from livelog.auth.principal import Principal
from livelog.errors import POLICY_VIOLATION, PROTOCOL_ERROR, RefusedError
from livelog.net.context import Context

_NEEDS_A_KEY = (
    "admin commands need authentication, and this server has none: `livelog keys create --api-keys"
    " keys.json --owner NAME --scopes moderate` makes a key, `livelog serve --api-keys keys.json`"
    " takes it"
)


class UnknownTargetError(RefusedError):
    """A command for something that is not there."""

    def __init__(self, field: str, issue: str) -> None:
        super().__init__(PROTOCOL_ERROR, field, issue)


@dataclass(frozen=True, slots=True)
class Asking:
    """A principal with an address, at one of the doors."""

    context: Context
    principal: Principal
    address: str = ""
    connection_id: str = ""
    """Id of the WebSocket; empty at the other doors."""
    is_program: bool = False
    """It is the program that embeds the server, which may do everything, in whatever name."""
    nodes: dict[str, str] = field(default_factory=dict)
    """Other servers that were asked for this command, and whether they have answered."""

    def check_is_welcome(self) -> None:
        """Check that the one who asks has not been blocked meanwhile. Raises `BlockedError`."""
        if not self.is_program:
            self.context.limiter.blocked.check(self.principal.id, self.address)

    def check_may(self, scope: str) -> None:
        """Check that commands of a scope may be given. Raises `RefusedError`."""
        if self.is_program:
            return
        if self.principal.open:
            raise RefusedError(POLICY_VIOLATION, "command", _NEEDS_A_KEY)
        self.principal.check_administers(scope)
