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
from livelog.wire.bom import without_bom

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
    return split(bytes(request.body))


def _from_json(data: bytes) -> Iterator[tuple[Place, bytes]]:
    body = without_bom(data)
    if not body.lstrip().startswith(b"["):
        yield {}, body
        return
    try:
        items = _array_decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(PROTOCOL_ERROR, "body", f"not a JSON array: {error}") from None
    for index, item in enumerate(items):
        yield {"index": index}, bytes(item)


def _from_lines(body: bytes) -> Iterator[tuple[Place, bytes]]:
    for number, line in enumerate(body.split(b"\n"), 1):
        text = without_bom(line)  # of every line: files of their own may have been joined
        if text.strip():
            yield {"line": number}, text


_array_decoder = msgspec.json.Decoder(list[Raw])

_KINDS: dict[str, Callable[[bytes], Iterator[tuple[Place, bytes]]]] = {
    "application/json": _from_json,
    "application/x-ndjson": _from_lines,
    "application/ndjson": _from_lines,
    "application/jsonl": _from_lines,
}
