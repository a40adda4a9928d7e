"""The memory of answers: reserved before one is made, counted until the client has been sent it."""

from __future__ import annotations

from livelog.budget.owner import Owner
from livelog.net import queries
from livelog.net.context import Context
from livelog.net.http.message import Request, Response


def owner_of(request: Request) -> Owner:
    """Return the owner of the work for a request, and of the memory that it takes."""
    return queries.owner(request.principal, request.address)


def reserve(context: Context, request: Request) -> int:
    """Return the bytes that the answer may have. Raises `RefusedError` where there is no room."""
    return context.memory.reserve_answer(request, owner_of(request))


def held(context: Context, request: Request, response: Response) -> Response:
    """Count a large response, until the connection has sent it."""
    context.memory.answers.hold(request, len(response.body), owner_of(request))
    return response
