"""What is served over plain HTTP. A table: path → method → handler.

Handlers take the whole request and return the whole response; what they cannot grant they raise as
`RefusedError`, which the door turns into the same `error` object that a WebSocket client gets.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import msgspec
from msgspec import Raw

from livelog import __version__
from livelog.auth import credentials
from livelog.auth.credentials import Credential
from livelog.auth.principal import ANYBODY, Principal
from livelog.engine.base import Outcome
from livelog.errors import PROTOCOL_ERROR, SERVER_ERROR, UNSUPPORTED_DATA, RefusedError
from livelog.log.ingest import decode
from livelog.net import queries
from livelog.net.context import Context
from livelog.net.http.assets import ASSETS, HEADERS
from livelog.wire import WEBSOCKET_PATH, asyncapi
from livelog.wire.commands import GetHistory, Search
from livelog.wire.events import Event, encoder
from livelog.wire.record import Draft, Receipt

_ORIGIN = re.compile(r"^https?://[^/]*/?", re.IGNORECASE)
_MESSAGES_PER_STEP = 100
"""Messages of one request that are handled between two pauses: some milliseconds."""


@dataclass(slots=True)
class Request:
    """A whole request. Header names are in lower case."""

    method: str = ""
    target: bytes = b""
    version: str = "1.1"
    keep_alive: bool = True
    headers: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""
    """The client's, with proxies looked through; empty behind a Unix socket."""
    admitted: bool = False
    """Its head has passed the checks."""
    body: bytearray = field(default_factory=bytearray)
    principal: Principal = ANYBODY
    """Who asks, on the paths where that matters."""

    @property
    def path(self) -> str:
        """The target up to its query; of an absolute target (RFC 9112 section 3.2.2) its path."""
        path = self.target.partition(b"?")[0].decode("latin-1")
        return path if path.startswith("/") else f"/{_ORIGIN.sub('', path)}"

    @property
    def query(self) -> dict[str, str]:
        """The parameters in the target; of several with one name the last."""
        return dict(self.parameters)

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The parameters in the target, in their order; without those that say who asks."""
        return [pair for pair in self._pairs() if pair[0] not in credentials.PARAMETERS]

    @property
    def credential(self) -> Credential:
        """What the client shows to prove who it is."""
        return credentials.of_request(self.headers, self._pairs())

    def _pairs(self) -> list[tuple[str, str]]:
        query = self.target.partition(b"?")[2].decode("latin-1")
        return parse_qsl(query, keep_blank_values=True)

    def header(self, name: str) -> str:
        """The first header of this name, or an empty string."""
        return next((value for known, value in self.headers if known == name), "")

    def all(self, name: str) -> list[str]:
        """Every header of this name, in their order."""
        return [value for known, value in self.headers if known == name]


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


async def answer(context: Context, request: Request) -> Response:
    """Find the handler and call it."""
    methods = ROUTES.get(request.path)
    if methods is None:
        named = [path for path in ROUTES if path == "/" or path not in ASSETS]
        issue = f"nothing here; there is {', '.join(named)}"
        raise RefusedError(PROTOCOL_ERROR, "path", issue, status=404)
    wanted = request.header("access-control-request-method")
    preflight = context.origins.preflight(request.header("origin"), wanted)
    if request.method == "OPTIONS" and preflight is not None:
        return Response(b"", headers=preflight)
    handler = methods.get("GET" if request.method == "HEAD" else request.method)
    if handler is None:
        allowed = ", ".join(methods)
        issue = f"{request.method} is not offered here"
        raise RefusedError(
            PROTOCOL_ERROR, "method", issue, status=405, headers={"Allow": allowed}, allowed=allowed
        )
    if context.auth is not None and request.path in IDENTIFIED:
        request.principal = await context.auth.check(request.credential)
    return await handler(context, request)


async def upgrade_required(context: Context, request: Request) -> Response:
    """A plain request to the WebSocket's address."""
    raise RefusedError(
        PROTOCOL_ERROR,
        "upgrade",
        "this is a WebSocket, connect with a WebSocket client",
        status=426,
        headers={"Upgrade": "websocket"},
    )


async def health(context: Context, request: Request) -> Response:
    """How the server is: `ok`, `read-only` or `degraded`, and why; `draining` when it ends."""
    refusal, impaired = context.log.refusal, context.log.impaired
    status = "read-only" if refusal else "degraded" if impaired else "ok"
    issue = refusal.issue if refusal else impaired
    ending = context.ending.is_set()
    return _json(
        {
            "status": "draining" if ending else status,
            **({"issue": issue} if issue else {}),
            "version": __version__,
            "connections": len(context.limiter.connections.websockets),
            "head_seq": context.log.head,
            "uptime_seconds": round(context.loop.time() - context.started, 3),
        },
        503 if ending else 200,
    )


async def asyncapi_document(context: Context, request: Request) -> Response:
    """The protocol of the WebSocket, for programs that read such descriptions."""
    return Response(asyncapi.document(WEBSOCKET_PATH))


async def history(context: Context, request: Request) -> Response:
    """A page of the past."""
    context.limiter.spend("commands", request.address, request.principal)
    with _parameters():
        command = queries.command_of(GetHistory, request.parameters)
        return _event(await queries.history(context.log, request.principal, command))


async def search(context: Context, request: Request) -> Response:
    """A page of the past messages in which words occur."""
    context.limiter.spend("commands", request.address, request.principal)
    with _parameters():
        command = queries.command_of(Search, request.parameters)
        return _event(await queries.search(context.log, request.principal, command))


@contextmanager
def _parameters() -> Iterator[None]:
    """A URL has no objects: what is wrong with `filters.date_from` is wrong with `date_from`."""
    try:
        yield
    except RefusedError as refused:
        refused.field = refused.field.removeprefix("filters.")
        raise


async def publish(context: Context, request: Request) -> Response:
    """Append one message, a JSON array of them or NDJSON.

    A message that is invalid, not permitted, too big or under somebody else's id refuses the whole
    body, and nothing is published. An engine may still refuse messages after that: if it refuses
    all of them, the answer is that refusal; if it refuses some, the answer is a 503 whose details
    say which ids are `acknowledged` and, by their place in the body and id, which are `refused`.
    """
    context.limiter.spend("messages", request.address, request.principal)
    places: list[_Place] = []
    drafts: list[Draft] = []
    for place, raw in _messages(request):
        try:
            drafts.append(context.ingest.admit(request.principal, decode(raw)))
        except RefusedError as refused:
            refused.details.update(place)
            raise
        places.append(place)
        if len(drafts) % _MESSAGES_PER_STEP == 0:
            await asyncio.sleep(0)
    if not drafts:
        raise RefusedError(PROTOCOL_ERROR, "body", "there is no message in it")
    context.limiter.charge(len(drafts) - 1, request.address, request.principal)
    # What has begun is carried through, even if the client leaves.
    publishing = context.loop.create_task(_outcomes(context, drafts))
    receipts = _acknowledged(places, drafts, await asyncio.shield(publishing))
    return _json(
        {
            "action": "published",
            "count": len(receipts),
            "messages": [{"id": receipt.id, "seq": receipt.seq} for receipt in receipts],
        },
        status=201,
    )


async def _outcomes(context: Context, drafts: list[Draft]) -> list[Outcome]:
    """Publish in steps, so that a large body does not hold up the loop; wait for all outcomes."""
    steps = []
    for start in range(0, len(drafts), _MESSAGES_PER_STEP):
        answered: asyncio.Future[Sequence[Outcome]] = context.loop.create_future()
        context.ingest.publish(drafts[start : start + _MESSAGES_PER_STEP], answered.set_result)
        steps.append(answered)
        await asyncio.sleep(0)
    return [outcome for step in steps for outcome in await step]


def _acknowledged(
    places: list[_Place], drafts: list[Draft], outcomes: list[Outcome]
) -> list[Receipt]:
    """Return the receipts of a whole body. Raises `RefusedError` unless there is one for each."""
    receipts = [outcome for outcome in outcomes if not isinstance(outcome, RefusedError)]
    refused = [
        (outcome, {**place, "id": draft.id})
        for place, draft, outcome in zip(places, drafts, outcomes, strict=True)
        if isinstance(outcome, RefusedError)
    ]
    if not refused:
        return receipts
    first = refused[0][0]
    if not receipts:
        raise first
    issue = f"{len(refused)} of {len(drafts)} messages are not acknowledged: {first}"
    raise RefusedError(
        SERVER_ERROR,
        "",
        issue,
        status=503,
        headers={"Retry-After": "1"},
        acknowledged=[receipt.id for receipt in receipts],
        refused=[which for _, which in refused],
    )


_Place = dict[str, int]
"""The place of a message in the body: `index` in an array, `line` in NDJSON, none if alone."""


def _messages(request: Request) -> Iterator[tuple[_Place, bytes]]:
    """Yield each message of the body, with its place in it."""
    kind = request.header("content-type").partition(";")[0].strip().lower()
    split = _BODIES.get(kind)
    if split is None or request.header("content-encoding"):
        raise RefusedError(
            UNSUPPORTED_DATA,
            "content-type" if split is None else "content-encoding",
            "not a kind of body that is taken",
            allowed=[*_BODIES],
        )
    return split(bytes(request.body))


def _from_json(body: bytes) -> Iterator[tuple[_Place, bytes]]:
    if not body.lstrip().startswith(b"["):
        yield {}, body
        return
    try:
        items = _array_decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(PROTOCOL_ERROR, "body", f"not a JSON array: {error}") from None
    for index, item in enumerate(items):
        yield {"index": index}, bytes(item)


def _from_lines(body: bytes) -> Iterator[tuple[_Place, bytes]]:
    for number, line in enumerate(body.split(b"\n"), 1):
        if line.strip():
            yield {"line": number}, line


_array_decoder = msgspec.json.Decoder(list[Raw])
_BODIES = {
    "application/json": _from_json,
    "application/x-ndjson": _from_lines,
    "application/ndjson": _from_lines,
    "application/jsonl": _from_lines,
}


async def asset(context: Context, request: Request) -> Response:
    """A file of the viewer."""
    found = ASSETS[request.path]
    return Response(found.body, content_type=found.content_type, headers=HEADERS)


Handler = Callable[[Context, Request], Awaitable[Response]]

ROUTES: dict[str, dict[str, Handler]] = {
    WEBSOCKET_PATH: {"GET": upgrade_required},
    "/healthz": {"GET": health},
    "/asyncapi.json": {"GET": asyncapi_document},
    "/api/messages": {"POST": publish},
    "/api/history": {"GET": history},
    "/api/search": {"GET": search},
    **{path: {"GET": asset} for path in ASSETS},
}
IDENTIFIED = ("/api/messages", "/api/history", "/api/search")
"""Paths on which it matters who asks."""


def _event(event: Event) -> Response:
    return Response(encoder.encode(event))


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status)
