"""The whole log, for the store of another server: `GET /api/log` and `GET /api/log/acts`."""

from __future__ import annotations

import re
from collections.abc import Generator

import msgspec

from livelog.auth.principal import PROGRAM
from livelog.budget.slices import interleaved
from livelog.errors import POLICY_VIOLATION, PROTOCOL_ERROR, RefusedError
from livelog.log.log import Log
from livelog.net import queries
from livelog.net.context import Context
from livelog.net.http.memory import held, owner_of, reserve
from livelog.net.http.message import Request, Response
from livelog.net.http.reading import parameters, read_page
from livelog.wire.commands import GetHistory

_ACTS = 32
"""Acts in one answer."""

_SEQ = re.compile("[0-9]{1,16}")


async def whole_log(context: Context, request: Request) -> Response:
    """Return the next messages as they are stored."""
    request.principal.check_replicates()
    if (extent := context.log.extent) is None:
        raise RefusedError(POLICY_VIOLATION, "store", "this server keeps only the newest messages")
    context.limiter.spend("commands", request.address, request.principal)
    with parameters():
        command = queries.command_of(GetHistory, request.parameters)
        # As the program, for whom no message is left out: a copy needs the direct ones, too.
        page = (await read_page(context, request, PROGRAM, queries.history, command)).body
    kept = {"began": extent[0], "trimmed_upto": extent[1], "head_seq": context.log.head}
    kept["act_seq"] = next((newest.seq for newest in context.log.acts(limit=1)), 0)
    return Response(b'%b,"page":%b}' % (msgspec.json.encode(kept)[:-1], page))


async def acts(context: Context, request: Request) -> Response:
    """Return some acts, the newest first."""
    request.principal.check_replicates()
    context.limiter.spend("commands", request.address, request.principal)
    match request.parameters:
        case [("before", digits)] if _SEQ.fullmatch(digits):
            reserve(context, request)
            found = await interleaved(_some_acts(context.log, int(digits)), owner_of(request))
            return held(context, request, Response(found))
    raise RefusedError(PROTOCOL_ERROR, "before", "required: a seq, and nothing else")


def _some_acts(log: Log, before: int) -> Generator[None, None, bytes]:
    """Encode acts with a seq below `before`, in steps: each may name thousands of messages."""
    parts: list[bytes] = []
    while len(parts) < _ACTS and (found := log.acts(before, 1)):
        before = found[0].seq
        parts.append(msgspec.json.encode(found[0]))
        yield
    return b"[%b]" % b",".join(parts)
