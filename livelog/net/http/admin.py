"""`POST /api/admin/COMMAND`: a command of an operator or a moderator, its fields in the body."""

from __future__ import annotations

from livelog.budget.slices import interleaved
from livelog.errors import MESSAGE_TOO_BIG, RefusedError
from livelog.net.admin.asking import Asking, UnknownTargetError
from livelog.net.admin.table import carry_out
from livelog.net.context import Context
from livelog.net.http.body import unpack
from livelog.net.http.errors import HttpRefusedError
from livelog.net.http.memory import held, owner_of
from livelog.net.http.message import Request, Response, json_response
from livelog.wire.admin import fields_of_body

ADMIN_PATH = "/api/admin/"


async def admin(context: Context, request: Request) -> Response:
    """Carry out the command that the path names."""
    context.limiter.spend("messages", request.address, request.principal)
    asking = Asking(context, request.principal, request.address)
    command, most = request.path.removeprefix(ADMIN_PATH), context.config.net.max_frame_bytes
    await interleaved(unpack(request, most), owner_of(request))
    if len(request.body) > most:
        raise RefusedError(MESSAGE_TOO_BIG, "body", f"at most {most} bytes are allowed")
    try:
        event = await carry_out(asking, command, fields_of_body(bytes(request.body)))
    except UnknownTargetError as unknown:
        raise HttpRefusedError(404, unknown.field, unknown.issue) from None
    return held(context, request, json_response(event))
