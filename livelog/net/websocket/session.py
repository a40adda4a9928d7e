"""Who a connection is: nobody yet, somebody for a while, or somebody for good.

Knows what is due next (to have authenticated, to be warned, to end) and when; the connection keeps
the time. `now` is Unix time and `here` the loop's, which do not run alike.
"""

from __future__ import annotations

import math

from livelog.auth.credentials import failed, invalid
from livelog.auth.principal import NOBODY, Principal
from livelog.errors import TOKEN_EXPIRED
from livelog.wire.events import Authenticated, TokenExpiring
from livelog.wire.moments import timestamp

WARNING = 60.0
"""Seconds ahead at which a client is told that its token expires."""


class Session:
    """Of one connection."""

    __slots__ = ("_warned", "due", "principal")

    def __init__(self, principal: Principal, due: float = math.inf) -> None:
        self.principal = principal
        self.due = due
        """When to `review`, in the loop's time."""
        self._warned = False

    @property
    def admitted(self) -> bool:
        """Whether it is known who this is."""
        return self.principal is not NOBODY

    def enter(self, principal: Principal, now: float, here: float) -> None:
        """Take somebody in, or the new token of somebody who is in.

        Raises `RefusedError` when it is somebody else: what is subscribed to was granted to the
        first.
        """
        if self.admitted and principal.id != self.principal.id:
            raise invalid("it is of somebody else than the one who is connected")
        self.principal = principal
        self._warned = False
        self._plan(now, here)

    def review(self, now: float, here: float) -> TokenExpiring | None:
        """What the client is to be told. Raises `RefusedError` when its time is over."""
        if not self.admitted:
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


def authenticated(principal: Principal) -> Authenticated:
    """What somebody is told who has been recognized."""
    event = Authenticated(id=principal.id, scopes=sorted(principal.scopes))
    if principal.expires is not None:
        event.expires = timestamp(principal.expires)
    return event
