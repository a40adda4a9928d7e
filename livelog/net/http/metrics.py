"""`GET /metrics`: the figures of the server, for those who may see them."""

from __future__ import annotations

from livelog.auth.principal import ADMIN, METRICS
from livelog.errors import POLICY_VIOLATION, RefusedError, installing
from livelog.net.addresses import is_loopback
from livelog.net.context import Context
from livelog.net.http.errors import HttpRefusedError
from livelog.net.http.message import Request, Response
from livelog.net.metrics import render


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
