"""The routes of plain HTTP. A table: path → method → route.

The rule: a route takes the principal unless its row opens it to anybody, so that one added without
a thought is closed.

Handlers take the whole request and return the whole response; what they cannot grant they raise as
`RefusedError`, which the connection turns into the `error` object that a WebSocket client gets.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from livelog.auth.credentials import NOTHING
from livelog.auth.principal import ADMIN, METRICS, PROGRAM, Principal
from livelog.auth.signin import SignIn
from livelog.budget.owner import Owner
from livelog.budget.slices import interleaved
from livelog.engine.base import Node
from livelog.errors import (
    MESSAGE_TOO_BIG,
    POLICY_VIOLATION,
    PROTOCOL_ERROR,
    RefusedError,
    installing,
)
from livelog.log.log import Log
from livelog.net import queries
from livelog.net.addresses import is_loopback
from livelog.net.admin.asking import Asking, UnknownTargetError
from livelog.net.admin.table import COMMANDS, carry_out
from livelog.net.context import Context
from livelog.net.http import openapi
from livelog.net.http.assets import ASSETS, headers
from livelog.net.http.body import unpack
from livelog.net.http.errors import HttpRefusedError
from livelog.net.http.message import Request, Response
from livelog.net.http.publishing import publish
from livelog.net.http.stream.connection import Stream
from livelog.net.http.stream.request import Follow
from livelog.net.identify import identify
from livelog.net.metrics import render
from livelog.net.online import OPEN
from livelog.wire import WEBSOCKET_PATH, asyncapi
from livelog.wire.admin import fields_of_body
from livelog.wire.commands import Analyze, GetHistory, Presence, Search
from livelog.wire.events import Event, encoder


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
    """Refuse a plain request to the WebSocket's address."""
    issue = "this is a WebSocket, connect with a WebSocket client"
    raise HttpRefusedError(426, "upgrade", issue, headers={"Upgrade": "websocket"})


async def health(context: Context, request: Request) -> Response:
    """Return the health: `ok`, `read-only` or `degraded`, and why; `draining` at the end.

    The status is 200 as long as there is an answer: it is for those who would restart the server.
    """
    refusal, lag = context.ingest.refusal, context.ingest.lag
    impaired = context.ingest.impaired or context.log.impaired
    status = "read-only" if refusal else "degraded" if impaired else "ok"
    issue = refusal.issue if refusal else impaired
    nodes = context.ingest.nodes
    inspects = await _may_inspect(context, request)
    return _json(
        {
            "status": "draining" if context.ending.is_set() else status,
            **({"issue": issue} if issue else {}),
            "version": context.version,
            **({"worker": context.worker} if context.worker else {}),
            "connections": len(context.limiter.connections.websockets),
            **({"head_seq": context.log.head} if inspects else {}),
            **({} if lag is None else {"lag": round(lag, 3)}),
            "uptime_seconds": round(context.loop.time() - context.started, 3),
            **({"memory": context.memory.figures()} if inspects else {}),
            **({} if nodes is None or not inspects else {"nodes": [_heard(one) for one in nodes]}),
        }
    )


def _heard(node: Node) -> dict[str, object]:
    """Return a server that shares the log, as it is told."""
    told = node._asdict()
    del told["id"]
    return told


async def readiness(context: Context, request: Request) -> Response:
    """Tell whether clients are to be sent here; 503 while the server starts, and when it ends."""
    if context.ending.is_set():
        return _json({"status": "draining"}, 503)
    issue = context.ingest.unready or context.log.unready
    return _json({"status": "not-ready", "issue": issue}, 503) if issue else _json(_READY)


_READY = {"status": "ready"}


async def _may_inspect(context: Context, request: Request) -> bool:
    """Tell whether the figures are for the client: with authentication, for `admin` alone.

    A credential that is invalid hides them, and counts as a failure; the health is told all the
    same.
    """
    if context.auth is None:
        return True
    if request.credential == NOTHING:
        return False
    try:
        principal = await identify(context, request.credential)
    except RefusedError as refused:
        context.limiter.refused(request.address, refused)
        return False
    return ADMIN in principal.scopes


async def metrics(context: Context, request: Request) -> Response:
    """Return the metrics to a client that may see them."""
    _check_inspects(request)
    return await open_metrics(context, request)


async def open_metrics(context: Context, request: Request) -> Response:
    """Return the metrics in the text format of Prometheus, or in OpenMetrics."""
    try:
        body, content_type = render(context, request.header("accept"))
    except ImportError:
        issue = f"the server lacks prometheus-client: {installing('metrics')}"
        raise HttpRefusedError(501, "path", issue) from None
    return Response(body, content_type=content_type)


def _check_inspects(request: Request) -> None:
    """Check that the metrics are for the client.

    That takes one of two scopes; where everything is public, a client on this machine that has not
    come through a proxy. Raises `RefusedError`.
    """
    principal = request.principal
    if not principal.open:
        if principal.scopes.isdisjoint((METRICS, ADMIN)):
            issue = f"the scope {METRICS} is missing"
            raise RefusedError(POLICY_VIOLATION, "path", issue, scope=METRICS)
    elif (request.address and not is_loopback(request.address)) or request.is_forwarded:
        issue = (
            "on a server without authentication the metrics are for clients on the same machine;"
            " `livelog keys create` makes a key for others"
        )
        raise RefusedError(POLICY_VIOLATION, "path", issue)


async def asyncapi_document(context: Context, request: Request) -> Response:
    """Return the protocol of the WebSocket as an AsyncAPI document."""
    owner = _owner(request)
    context.memory.reserve_answer(request, owner)
    document = asyncapi.document(WEBSOCKET_PATH, context.version)
    return _held(context, request, owner, Response(document))


async def openapi_document(context: Context, request: Request) -> Response:
    """Return these routes as an OpenAPI document."""
    owner = _owner(request)
    context.memory.reserve_answer(request, owner)
    routes = tuple(
        (path, method, route.anybody)
        for path, methods in ROUTES.items()
        for method, route in methods.items()
    )
    # It takes tens of milliseconds, once: deliveries go on meanwhile.
    document = await asyncio.to_thread(openapi.document, context.version, routes)
    return _held(context, request, owner, Response(document))


async def history(context: Context, request: Request) -> Response:
    """Return a page of history."""
    context.limiter.spend("commands", request.address, request.principal)
    with _parameters():
        command = queries.command_of(GetHistory, request.parameters)
        return await _page(context, request, queries.history, command)


async def search(context: Context, request: Request) -> Response:
    """Return a page of the messages in which words occur."""
    context.limiter.spend("commands", request.address, request.principal)
    with _parameters():
        command = queries.command_of(Search, request.parameters)
        return await _page(context, request, queries.search, command)


async def analytics(context: Context, request: Request) -> Response:
    """Return counts of past messages."""
    context.limiter.spend("commands", request.address, request.principal)
    with _parameters():
        command = queries.command_of(Analyze, request.parameters)
        return await _page(context, request, queries.analyze, command)


async def presence(context: Context, request: Request) -> Response:
    """Return who is on line."""
    context.limiter.spend("commands", request.address, request.principal)
    if context.online is None:
        raise RefusedError(POLICY_VIOLATION, "path", OPEN)
    command = queries.command_of(Presence, request.parameters)
    return _event(context.online.answer(request.principal, command))


async def stream(context: Context, request: Request) -> Response | Stream:
    """Return live messages, or live counts of them, without an end."""
    context.limiter.spend("commands", request.address, request.principal)
    made = Stream(context, request)
    with _parameters():
        command = queries.command_of(Follow, request.parameters)
        await made.prepare(command, request.header("last-event-id"))
    return made.head if request.method == "HEAD" else made


async def whole_log(context: Context, request: Request) -> Response:
    """Return the next messages as they are stored, for the store of another server."""
    request.principal.check_replicates()
    if (extent := context.log.extent) is None:
        raise RefusedError(POLICY_VIOLATION, "store", "this server keeps only the newest messages")
    context.limiter.spend("commands", request.address, request.principal)
    with _parameters():
        command = queries.command_of(GetHistory, request.parameters)
        page = (await _page(context, request, queries.history, command, PROGRAM)).body
    kept = {"began": extent[0], "trimmed_upto": extent[1], "head_seq": context.log.head}
    kept["act_seq"] = next((newest.seq for newest in context.log.acts(limit=1)), 0)
    return Response(b'%b,"page":%b}' % (msgspec.json.encode(kept)[:-1], page))


async def acts(context: Context, request: Request) -> Response:
    """Return some acts, the newest first, for the store of another server."""
    request.principal.check_replicates()
    context.limiter.spend("commands", request.address, request.principal)
    match request.parameters:
        case [("before", digits)] if _SEQ.fullmatch(digits):
            owner = _owner(request)
            context.memory.reserve_answer(request, owner)
            found = await interleaved(_some_acts(context.log, int(digits)), owner)
            return _held(context, request, owner, Response(found))
    raise RefusedError(PROTOCOL_ERROR, "before", "required: a seq, and nothing else")


def _some_acts(log: Log, before: int) -> Generator[None, None, bytes]:
    """Encode acts with a seq below `before`, in steps: each may name thousands of messages."""
    parts: list[bytes] = []
    while len(parts) < _ACTS and (found := log.acts(before, 1)):
        before = found[0].seq
        parts.append(msgspec.json.encode(found[0]))
        yield
    return b"[%b]" % b",".join(parts)


_ACTS = 32
"""Acts in one answer."""

_SEQ = re.compile("[0-9]{1,16}")


async def _page(
    context: Context,
    request: Request,
    read: queries.Read,
    command: Any,
    principal: Principal | None = None,
) -> Response:
    """Read a page as large as the memory allows, as the client or another `principal` may."""
    owner = _owner(request)
    most = context.memory.reserve_answer(request, owner)
    reader = principal or request.principal
    page = await read(context.log, reader, owner, command, context.clock(), most)
    await queries.pause(page)
    return _held(context, request, owner, _event(page))


def _held(context: Context, request: Request, owner: Owner, response: Response) -> Response:
    """Count a large response, until the connection has sent it."""
    context.memory.answers.hold(request, len(response.body), owner)
    return response


def _owner(request: Request) -> Owner:
    return queries.owner(request.principal, request.address)


@contextmanager
def _parameters() -> Iterator[None]:
    """A URL has no objects: what is wrong with `filters.date_from` is wrong with `date_from`."""
    try:
        yield
    except RefusedError as refused:
        raise refused.rename(refused.field.removeprefix("filters.")) from None


async def admin(context: Context, request: Request) -> Response:
    """Carry out a command of an operator or a moderator, with the fields in the body."""
    context.limiter.spend("messages", request.address, request.principal)
    asking = Asking(context, request.principal, request.address)
    command, owner = request.path.removeprefix(ADMIN_PATH), _owner(request)
    await interleaved(unpack(request, context.config.net.max_frame_bytes), owner)
    if len(request.body) > context.config.net.max_frame_bytes:
        issue = f"at most {context.config.net.max_frame_bytes} bytes are allowed"
        raise RefusedError(MESSAGE_TOO_BIG, "body", issue)
    try:
        event = await carry_out(asking, command, fields_of_body(bytes(request.body)))
        return _held(context, request, owner, _event(event))
    except UnknownTargetError as unknown:
        raise HttpRefusedError(404, unknown.field, unknown.issue) from None


ADMIN_PATH = "/api/admin/"


async def asset(context: Context, request: Request) -> Response:
    """Return a file of the viewer or of the JavaScript client."""
    context.memory.reserve_answer(request, _owner(request))
    found = _sign_in(context)
    more = headers("" if found is None else found.origin)
    response = await ASSETS[request.path].answer(request, more)
    return _held(context, request, _owner(request), response)


async def sign_in(context: Context, request: Request) -> Response:
    """Return how the viewer's page signs its reader in; an empty object where it does not."""
    return _json(_sign_in(context) or {})


def _sign_in(context: Context) -> SignIn | None:
    return None if context.auth is None else context.auth.sign_in


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
    "/api/history": {"GET": Route(history)},
    "/api/search": {"GET": Route(search)},
    "/api/log": {"GET": Route(whole_log)},
    "/api/log/acts": {"GET": Route(acts)},
    "/api/analytics": {"GET": Route(analytics)},
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


def _event(event: Event) -> Response:
    return Response(encoder.encode(event))


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status)
