"""The routes of plain HTTP. A table: path → method → route.

The rule: a route takes the principal unless its row opens it to anybody, so that one added without
a thought is closed.

Handlers take the whole request and return the whole response; what they cannot grant they raise as
`RefusedError`, which the connection turns into the `error` object that a WebSocket client gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from livelog.auth.principal import Principal
from livelog.net import queries
from livelog.net.admin.table import COMMANDS
from livelog.net.context import Context
from livelog.net.http import openapi
from livelog.net.http.admin import ADMIN_PATH, admin
from livelog.net.http.assets import ASSETS
from livelog.net.http.documents import asset, asyncapi_document, sign_in
from livelog.net.http.errors import HttpRefusedError
from livelog.net.http.health import health, readiness
from livelog.net.http.memory import held, reserve
from livelog.net.http.message import Request, Response
from livelog.net.http.metrics import metrics, open_metrics
from livelog.net.http.publishing import publish
from livelog.net.http.reading import page, presence, stream
from livelog.net.http.replication import acts, whole_log
from livelog.net.http.stream.connection import Stream
from livelog.net.identify import identify
from livelog.wire import WEBSOCKET_PATH
from livelog.wire.commands import Analyze, GetHistory, Search


async def answer(context: Context, request: Request, routes: Routes) -> Response | Stream:
    """Find the handler and call it. Raises `RefusedError`."""
    methods = routes.get(request.path)
    if methods is None:
        named = [path for path in routes if path == "/" or path not in ASSETS]
        issue = f"nothing here; there is {', '.join(named)}"
        raise HttpRefusedError(404, "path", issue)
    wanted = request.header("access-control-request-method")
    preflight = context.origins.preflight(request.header("origin"), wanted)
    if request.method == "OPTIONS" and preflight is not None:
        return Response(b"", headers=preflight)
    route = methods.get("GET" if request.method == "HEAD" else request.method)
    if route is None:
        allowed = ", ".join(methods)
        issue = f"{request.method} is not offered here"
        # RFC 9110 section 15.5.6 asks for the header.
        raise HttpRefusedError(405, "method", issue, headers={"Allow": allowed}, allowed=allowed)
    if not route.anybody:
        request.principal = await _identify(context, request)
    return await route.handler(context, request)


async def _identify(context: Context, request: Request) -> Principal:
    """Return the principal of the credential. Raises `RefusedError` without a good one."""
    principal = await identify(context, request.credential)
    context.limiter.blocked.check_address(request.address)  # again: the body may have taken long
    return principal


async def upgrade_required(context: Context, request: Request) -> Response:
    """Refuse a plain request to the WebSocket's address (RFC 9110 section 15.5.22)."""
    issue = "this is a WebSocket, connect with a WebSocket client"
    raise HttpRefusedError(426, "upgrade", issue, headers={"Upgrade": "websocket"})


async def openapi_document(context: Context, request: Request) -> Response:
    """Return these routes as an OpenAPI document."""
    reserve(context, request)
    routes = tuple(
        (path, method, route.anybody)
        for path, methods in ROUTES.items()
        for method, route in methods.items()
    )
    # It takes tens of milliseconds, once: deliveries go on meanwhile.
    document = await asyncio.to_thread(openapi.document, context.version, routes)
    return held(context, request, Response(document))


Handler = Callable[[Context, Request], Awaitable[Response | Stream]]


class Route(NamedTuple):
    """A handler, and the word that opens it to anybody."""

    handler: Handler
    anybody: bool = False
    """No credential is looked at, on a server with authentication either."""


Routes = dict[str, dict[str, Route]]
"""Path → method → route."""

ROUTES: Routes = {
    WEBSOCKET_PATH: {"GET": Route(upgrade_required, anybody=True)},
    "/healthz": {"GET": Route(health, anybody=True)},
    "/readyz": {"GET": Route(readiness, anybody=True)},
    "/metrics": {"GET": Route(metrics)},
    "/asyncapi.json": {"GET": Route(asyncapi_document, anybody=True)},
    "/openapi.json": {"GET": Route(openapi_document, anybody=True)},
    "/api/messages": {"POST": Route(publish)},
    "/api/history": {"GET": Route(partial(page, GetHistory, queries.history))},
    "/api/search": {"GET": Route(partial(page, Search, queries.search))},
    "/api/log": {"GET": Route(whole_log)},
    "/api/log/acts": {"GET": Route(acts)},
    "/api/analytics": {"GET": Route(partial(page, Analyze, queries.analyze))},
    "/api/presence": {"GET": Route(presence)},
    "/api/stream": {"GET": Route(stream)},
    "/api/sign-in": {"GET": Route(sign_in, anybody=True)},
    **{f"{ADMIN_PATH}{command}": {"POST": Route(admin)} for command in COMMANDS},
    **{path: {"GET": Route(asset, anybody=True)} for path in ASSETS},
}

INTERNAL_ROUTES: Routes = {
    "/metrics": {"GET": Route(open_metrics, anybody=True)},
    "/healthz": {"GET": Route(health, anybody=True)},
    "/readyz": {"GET": Route(readiness, anybody=True)},
}
"""Those of a listener that only operators reach."""
