"""The bodies of `POST /api/messages`: which kinds are taken, and where each message is in them.

A table: content type → how it is split. Messages are passed on one by one, so that a large body
need not be decoded at once; each with its place, for the refusal to name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from msgspec import Raw

from livelog.errors import PROTOCOL_ERROR, UNSUPPORTED_DATA, RefusedError
from livelog.net.http.message import Request

Body = bytes | bytearray

Place = dict[str, int]
"""`index` in an array or `line` of NDJSON, for the details of a refusal."""


def messages(request: Request) -> Iterator[tuple[Place, bytes]]:
    """Return each message of the body, with its place. Raises `RefusedError`."""
    kind = request.header("content-type").partition(";")[0].strip().lower()
    split = _KINDS.get(kind)
    if split is None or request.header("content-encoding"):
        raise RefusedError(
            UNSUPPORTED_DATA,
            "content-type" if split is None else "content-encoding",
            "not a kind of body that is taken",
            allowed=[*_KINDS],
        )
    return split(request.body)


def _from_json(body: Body) -> Iterator[tuple[Place, bytes]]:
    if not body.lstrip().startswith(b"["):
        yield {}, bytes(body)
        return
    try:
        items = _array_decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(PROTOCOL_ERROR, "body", f"not a JSON array: {error}") from None
    for index, item in enumerate(items):
        yield {"index": index}, bytes(item)


def _from_lines(body: Body) -> Iterator[tuple[Place, bytes]]:
    start, number = 0, 1
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        line = bytes(body[start:end])
        if line.strip():
            yield {"line": number}, line
        start, number = end + 1, number + 1


_array_decoder = msgspec.json.Decoder(list[Raw])

_KINDS: dict[str, Callable[[Body], Iterator[tuple[Place, bytes]]]] = {
    "application/json": _from_json,
    "application/x-ndjson": _from_lines,
    "application/ndjson": _from_lines,
    "application/jsonl": _from_lines,
}
