"""The bodies of `POST /api/messages`: which kinds are taken, and where each message is in them.

Two tables: coding → how it is unpacked, and content type → how it is split. A body is unpacked in
steps, and bounded as it grows, so that a small one cannot become a large one. Messages are passed
on one by one, so that a large body need not be decoded at once; each with its place, for the
refusal to name.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator

import msgspec
from msgspec import Raw

from livelog.errors import MESSAGE_TOO_BIG, PROTOCOL_ERROR, UNSUPPORTED_DATA, RefusedError
from livelog.net.http.errors import HttpRefusedError
from livelog.net.http.message import Request
from livelog.wire.bom import without_bom

Body = bytes | bytearray

Place = dict[str, int]
"""`index` in an array or `line` of NDJSON, for the details of a refusal."""


def messages(request: Request) -> Iterator[tuple[Place, bytes]]:
    """Return each message of the body, with its place. Raises `RefusedError`."""
    kind = request.header("content-type").partition(";")[0].strip().lower()
    split = _KINDS.get(kind)
    if split is None:
        issue = "not a kind of body that is taken"
        raise RefusedError(UNSUPPORTED_DATA, "content-type", issue, allowed=[*_KINDS])
    return split(request.body)


def unpack(request: Request, max_bytes: int) -> Generator[None, None, None]:
    """Replace a compressed body by what is in it, which grows in steps. Raises `RefusedError`."""
    coding = _coding(request)
    if coding is None:
        return
    packed, content, members = memoryview(bytes(request.body)), bytearray(), 0
    request.body = content
    while packed or not members:
        members += 1
        if members > _MAX_MEMBERS or (members > 1 and coding == "deflate"):
            raise RefusedError(PROTOCOL_ERROR, "body", f"has something behind its {coding} data")
        machine = zlib.decompressobj(_window_bits(coding, packed))
        while not machine.eof:
            try:
                part = machine.decompress(packed[:_STEP], _STEP)
            except zlib.error as error:
                raise RefusedError(PROTOCOL_ERROR, "body", f"not {coding}: {error}") from None
            if not (packed or part):
                raise RefusedError(PROTOCOL_ERROR, "body", f"its {coding} data is cut off")
            left = len(machine.unconsumed_tail) + len(machine.unused_data)
            packed = packed[len(packed[:_STEP]) - left :]
            content += part
            if len(content) > max_bytes:
                issue = f"larger than {max_bytes} bytes when it is unpacked"
                raise RefusedError(MESSAGE_TOO_BIG, "body", issue)
            yield


def _coding(request: Request) -> str | None:
    """Return how the body is compressed, None if it is not. Raises `RefusedError`."""
    named = ",".join(request.all("content-encoding")).lower().split(",")
    codings = [name for name in map(str.strip, named) if name not in ("", "identity")]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in _CODINGS:
        raise HttpRefusedError(
            415,  # with the header of RFC 9110 section 15.5.16
            "content-encoding",
            "not a coding that is taken",
            code=UNSUPPORTED_DATA,
            headers={"Accept-Encoding": ", ".join(_CODINGS)},
            allowed=[*_CODINGS, "identity"],
        )
    return _CODINGS[codings[0]]


def _window_bits(coding: str, packed: memoryview) -> int:
    """Return the format as `zlib` takes it. Behind `deflate` there may be zlib's format, as RFC
    9110 section 8.4.1.2 has it, or bare deflate data, as some clients send."""
    if coding == "gzip":
        return 16 + zlib.MAX_WBITS
    start = bytes(packed[:2])
    wrapped = len(start) == 2 and start[0] & 0x0F == 8 and int.from_bytes(start, "big") % 31 == 0
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS


def _from_json(data: Body) -> Iterator[tuple[Place, bytes]]:
    body = without_bom(bytes(data))
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
        # Of every line: files of their own may have been joined.
        line = without_bom(bytes(body[start:end]))
        if line.strip():
            yield {"line": number}, line
        start, number = end + 1, number + 1


_STEP = 64 * 1024
"""Bytes of packed data and of its content that are handled in one step: less than a millisecond."""

_MAX_MEMBERS = 1000
"""Gzip streams in a row (RFC 1952 section 2.2): each costs time, however little is in it."""

_CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
"""Names of codings (RFC 9110 section 8.4.1) → what they are."""

_array_decoder = msgspec.json.Decoder(list[Raw])

_KINDS: dict[str, Callable[[Body], Iterator[tuple[Place, bytes]]]] = {
    "application/json": _from_json,
    "application/x-ndjson": _from_lines,
    "application/ndjson": _from_lines,
    "application/jsonl": _from_lines,
}
