"""Health and readiness: `GET /healthz` and `GET /readyz`, for those who restart servers or route
clients to them."""

from __future__ import annotations

from livelog.auth.credentials import NOTHING
from livelog.auth.principal import ADMIN
from livelog.engine.base import Node
from livelog.errors import RefusedError
from livelog.net.context import Context
from livelog.net.http.message import Request, Response, json_response
from livelog.net.identify import identify

_READY = {"status": "ready"}


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
    return json_response(
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
        return json_response({"status": "draining"}, 503)
    issue = context.ingest.unready or context.log.unready
    if issue:
        return json_response({"status": "not-ready", "issue": issue}, 503)
    return json_response(_READY)


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
