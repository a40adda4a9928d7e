"""The session of a connection: its principal, and when to review it.

A connection without a principal has to authenticate in time; one whose principal expires is warned
first. The session says what is due and when, the connection keeps the time. `now` is Unix time and
`here` the loop's, which do not run alike.
"""

from __future__ import annotations

import math

from livelog.auth.credentials import failed, invalid
from livelog.auth.principal import ANYBODY, NOBODY, Principal
from livelog.errors import TOKEN_EXPIRED
from livelog.net.context import Context
from livelog.wire.events import Authenticated, TokenExpiring
from livelog.wire.timestamps import timestamp

WARNING = 60.0
"""Seconds before its token expires at which a client is warned."""


class Session:
    """The principal of one connection."""

    __slots__ = ("_warned", "due", "newest", "principal")

    def __init__(self, principal: Principal, due: float = math.inf) -> None:
        self.principal = principal
        self.due = due
        """Time of the next `review`, in the loop's time."""
        self.newest = 0
        """Seq of the newest message that it could read when the principal became known."""
        self._warned = False

    @property
    def identified(self) -> bool:
        """Whether the principal is known."""
        return self.principal is not NOBODY

    def identify(self, principal: Principal, now: float, here: float) -> None:
        """Set the principal, or renew it with a new token.

        Raises `RefusedError` for another principal: the subscriptions were granted to the first.
        """
        if self.identified and principal.id != self.principal.id:
            raise invalid("it is of somebody else than the one who is connected")
        self.principal = principal
        self._warned = False
        self._plan(now, here)

    def review(self, now: float, here: float) -> TokenExpiring | None:
        """Return the warning that is due. Raises `RefusedError` when the session is over."""
        if not self.identified:
            raise failed("did not authenticate in time")
        ends = self.principal.expires
        if ends is None:
            return None
        if now >= ends:
            raise failed("the token has expired", TOKEN_EXPIRED)
        warn = not self._warned and now >= ends - WARNING
        self._warned = self._warned or warn
        self._plan(now, here)
        left = round(ends - now, 3)
        return TokenExpiring(expires=timestamp(ends), expires_in_seconds=left) if warn else None

    def _plan(self, now: float, here: float) -> None:
        ends = self.principal.expires
        if ends is None:
            self.due = math.inf
        else:
            next_ = ends if self._warned else ends - WARNING
            self.due = here + max(0.0, next_ - now)


def begin(context: Context) -> Session:
    """Begin the session of a new connection."""
    if context.auth is None:
        return Session(ANYBODY)
    return Session(NOBODY, context.loop.time() + context.config.auth.auth_timeout)


def review(session: Session, context: Context, here: float, *, busy: bool) -> TokenExpiring | None:
    """Return the warning that is due. Raises `RefusedError` when the session is over.

    `busy` tells that a command is under way: until there is a principal, the check of a credential.
    """
    if busy and not session.identified:
        session.due = here + context.config.auth.auth_timeout
    warning = session.review(context.clock(), here) if here >= session.due else None
    if context.auth is not None and not context.auth.stands(session.principal):
        raise invalid("the API key was revoked")
    return warning


def authenticated(principal: Principal) -> Authenticated:
    """Build the answer to a client whose credential was accepted."""
    event = Authenticated(id=principal.id, scopes=sorted(principal.scopes))
    if principal.expires is not None:
        event.expires = timestamp(principal.expires)
    return event
