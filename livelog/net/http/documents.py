"""Documents that are the same for everybody: the viewer's files, its sign-in, and the AsyncAPI
document."""

from __future__ import annotations

from livelog.auth.signin import SignIn
from livelog.net.context import Context
from livelog.net.http.assets import ASSETS, headers
from livelog.net.http.memory import held, reserve
from livelog.net.http.message import Request, Response, json_response
from livelog.wire import WEBSOCKET_PATH, asyncapi


async def asset(context: Context, request: Request) -> Response:
    """Return a file of the viewer or of the JavaScript client."""
    reserve(context, request)
    found = _sign_in(context)
    more = headers("" if found is None else found.origin)
    return held(context, request, await ASSETS[request.path].answer(request, more))


async def sign_in(context: Context, request: Request) -> Response:
    """Return how the viewer's page signs its reader in; an empty object where it does not."""
    return json_response(_sign_in(context) or {})


def _sign_in(context: Context) -> SignIn | None:
    return None if context.auth is None else context.auth.sign_in


async def asyncapi_document(context: Context, request: Request) -> Response:
    """Return the protocol of the WebSocket as an AsyncAPI document."""
    reserve(context, request)
    document = asyncapi.document(WEBSOCKET_PATH, context.version)
    return held(context, request, Response(document))
