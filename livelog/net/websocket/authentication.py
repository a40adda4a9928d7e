"""`authenticate`: a credential becomes the principal of the session, or renews it.

A new token may allow less than the one before: then watches and subscriptions end that it does not
allow, and the client is told before the command is answered.
"""

from __future__ import annotations

from msgspec import UNSET

from livelog.auth.credentials import Credential
from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.net.identify import identify
from livelog.net.websocket import visible
from livelog.net.websocket.caller import Caller, Reply
from livelog.net.websocket.session import authenticated
from livelog.net.websocket.subscribing import change
from livelog.wire.commands import Authenticate
from livelog.wire.events import Authenticated, Event, Unsubscribed, Unwatched


def authenticate(caller: Caller, command: Authenticate) -> Reply:
    """Check a credential and begin a session; without authentication there is one already."""
    token = "" if command.token is UNSET else command.token
    api_key = "" if command.api_key is UNSET else command.api_key
    if token and api_key:
        raise RefusedError(PROTOCOL_ERROR, "api_key", "cannot be combined with token")
    if caller.context.auth is None:
        return authenticated(caller.principal)
    return lambda: _identified(caller, Credential(token, api_key))


async def _identified(caller: Caller, credential: Credential) -> Authenticated:
    principal = await identify(caller.context, credential)
    newest = await visible.newest(caller.context, principal)
    caller.identify(principal)
    caller.session.newest = newest
    for id in caller.context.watches.renew(caller, principal, caller.context.log.head):
        caller.send(Unwatched(id=id))
    await _end_forbidden(caller)
    return authenticated(caller.principal)


async def _end_forbidden(caller: Caller) -> None:
    """Remove the types that a new token no longer allows, and tell the client."""
    reader = caller.reader
    forbidden = frozenset(reader.subscription.types) - caller.principal.readable
    if forbidden:
        reply = change(caller, Unsubscribed, reader.subscription.without(forbidden))
        caller.send(reply if isinstance(reply, Event) else await reply())
