"""The bodies of `POST /api/messages`: which kinds are taken, and where each message is in them.

Two tables: coding → how it is unpacked, and content type → how it is split. A body is unpacked in
steps, and bounded as it grows, so that a small one cannot become a large one. Messages are passed
on one by one, so that a large body need not be decoded at once; each with its place, for the
refusal to name.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Generator, Iterator

from livelog.errors import MESSAGE_TOO_BIG, PROTOCOL_ERROR, UNSUPPORTED_DATA, RefusedError
from livelog.log.ingest import Place
from livelog.net.http.arrays import elements
from livelog.net.http.errors import HttpRefusedError
from livelog.net.http.message import Request
from livelog.wire.bom import without_bom

Body = bytes | bytearray


def messages(request: Request, max_bytes: int) -> Iterator[tuple[Place, bytes] | None]:
    """Return each message of the body, with its place, and None for a pause.

    Raises `RefusedError`, also for a text that cannot be that of a message of `max_bytes`.
    """
    kind = request.header("content-type").partition(";")[0].strip().lower()
    split = KINDS.get(kind)
    if split is None:
        issue = "not a kind of body that is taken"
        raise RefusedError(UNSUPPORTED_DATA, "content-type", issue, allowed=[*KINDS])
    return split(request.body, _LONGEST_ESCAPE * max_bytes)


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
    if len(codings) > 1 or codings[0] not in CODINGS:
        raise HttpRefusedError(
            415,  # with the header of RFC 9110 section 15.5.16
            "content-encoding",
            "not a coding that is taken",
            code=UNSUPPORTED_DATA,
            headers={"Accept-Encoding": ", ".join(CODINGS)},
            allowed=[*CODINGS, "identity"],
        )
    return CODINGS[codings[0]]


def _window_bits(coding: str, packed: memoryview) -> int:
    """Return the format as `zlib` takes it. Behind `deflate` there may be zlib's format, as RFC
    9110 section 8.4.1.2 has it, or bare deflate data, as some clients send."""
    if coding == "gzip":
        return 16 + zlib.MAX_WBITS
    start = bytes(packed[:2])
    wrapped = len(start) == 2 and start[0] & 0x0F == 8 and int.from_bytes(start, "big") % 31 == 0
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS


def _from_json(data: Body, max_bytes: int) -> Iterator[tuple[Place, bytes] | None]:
    body = without_bom(data).strip()
    if not body.startswith(b"["):
        yield {}, _bounded({}, body, max_bytes)
        return
    index = 0
    for item in elements(body, max_bytes):
        yield None if item is None else ({"index": index}, item)
        index += item is not None


def _from_lines(body: Body, max_bytes: int) -> Iterator[tuple[Place, bytes] | None]:
    start, number = 0, 1
    while start < len(body):
        space = _SPACE.match(body, start)
        if space is not None:
            start = space.end()
            number += space[0].count(b"\n")
            yield None
            continue
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        # Of every line: files of their own may have been joined.
        line = without_bom(body[start:end]).strip()
        place = {"line": number}
        yield (place, _bounded(place, line, max_bytes)) if line else None
        start, number = end + 1, number + 1


def _bounded(place: Place, text: Body, max_bytes: int) -> bytes:
    """Return the text of a message. Raises `RefusedError` when it is too long to be decoded."""
    if len(text) > max_bytes:
        issue = f"{len(text)} bytes, more than any message has that is taken"
        raise RefusedError(MESSAGE_TOO_BIG, "", issue).explain(place)
    return bytes(text)


_STEP = 64 * 1024
"""Bytes of packed data and of its content that are handled in one step: less than a millisecond."""

_MAX_MEMBERS = 1000
"""Gzip streams in a row (RFC 1952 section 2.2): each costs time, however little is in it."""

CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
"""Names of codings (RFC 9110 section 8.4.1) → what they are."""

_LONGEST_ESCAPE = 6
"""Bytes of JSON that may stand for one byte of text: a backslash, `u` and four digits."""

_SPACE = re.compile(rb"[ \t\r\n]{1,65536}")
"""Blank lines and the like; a body may have millions of them, which are passed over in steps."""

KINDS: dict[str, Callable[[Body, int], Iterator[tuple[Place, bytes] | None]]] = {
    "application/json": _from_json,
    "application/x-ndjson": _from_lines,
    "application/ndjson": _from_lines,
    "application/jsonl": _from_lines,
}
