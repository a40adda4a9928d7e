"""The one way from a credential to a principal, for all doors."""

from __future__ import annotations

from livelog.auth.credentials import Credential
from livelog.auth.principal import ANYBODY, Principal
from livelog.net.context import Context


async def identify(context: Context, credential: Credential) -> Principal:
    """Return the principal of a credential.

    Raises `RefusedError` for one that is not valid, and `BlockedError` for a user who is blocked.
    """
    if context.auth is None:
        return ANYBODY
    principal = await context.auth.check(credential)
    context.limiter.blocked.check_user(principal.id)
    return principal
