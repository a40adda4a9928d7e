"""Requests that two servers in a row could read in two ways, each with another hidden behind it.

What is hidden publishes a message that says `smuggled`: whoever finds one in the log was fooled.
"""

from __future__ import annotations

import json

from tests.support.wire import KEY, request, user

HIDDEN = request("POST", "/api/messages", json.dumps(user("smuggled")))
LAST_CHUNK = b"0\r\n\r\n"


def _post(*lines: bytes, body: bytes = LAST_CHUNK) -> bytes:
    usual = (b"POST /api/messages HTTP/1.1", b"Host: localhost", b"Content-Type: application/json")
    return b"\r\n".join([*usual, *lines]) + b"\r\n\r\n" + body + HIDDEN


_LENGTH = b"Content-Length: %d" % len(LAST_CHUNK + HIDDEN)
_CHUNKED = b"Transfer-Encoding: chunked"

SMUGGLED = {
    "a length and chunks": _post(_LENGTH, _CHUNKED),
    "chunks and a length": _post(_CHUNKED, b"Content-Length: 5"),
    "two lengths": _post(b"Content-Length: 5", _LENGTH),
    "the same length twice": _post(_LENGTH, _LENGTH),
    "a list of lengths": _post(b"Content-Length: 5, 5"),
    "a length with a sign": _post(b"Content-Length: +5"),
    "a length below zero": _post(b"Content-Length: -5"),
    "a length in hexadecimal": _post(b"Content-Length: 0x5"),
    "a length and a blank": _post(b"Content-Length: 5 5"),
    "a length beyond all numbers": _post(b"Content-Length: 18446744073709551621"),
    "a coding unheard of": _post(b"Transfer-Encoding: xchunked"),
    "a coding that is chunked but not last": _post(b"Transfer-Encoding: chunked, identity"),
    "codings in two headers": _post(_CHUNKED, b"Transfer-Encoding: identity"),
    "another coding before it": _post(b"Transfer-Encoding: gzip, chunked"),
    "a folded coding": _post(b"Transfer-Encoding:", b" chunked"),
    "a folded length": _post(_CHUNKED, b"X: y", b" Content-Length: 5"),
    "a line that begins with a blank": _post(b" " + _CHUNKED),
    "a carriage return alone": _post(b"X: y\r" + _CHUNKED),
    "a zero byte": _post(b"X: y\x00", _LENGTH),
    "a chunk's size with a sign": _post(_CHUNKED, body=b"+0\r\n\r\n"),
    "a chunk's size in C": _post(_CHUNKED, body=b"0x0\r\n\r\n"),
    "a chunk's size beyond all numbers": _post(_CHUNKED, body=b"10000000000000000\r\n\r\n"),
    "two hosts": _post(b"Host: there", _CHUNKED),
}
"""What every server in between has to refuse as well."""

TOLERATED = {
    "line feeds alone": _post(_CHUNKED).replace(b"\r\n", b"\n", 4),
    "a blank behind a header's name": _post(b"Transfer-Encoding : chunked"),
    "a chunk's extension with a line feed": _post(_CHUNKED, body=b"0;x=\ny\r\n\r\n"),
    "chunks with line feeds": _post(_CHUNKED, body=b"0\n\n"),
    "no host": b"POST /api/messages HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345" + HIDDEN,
    "chunks of long ago": _post(_CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
}
"""What some servers mend before they pass it on; livelog refuses it."""

FAILED_UPGRADE = (
    request(
        "GET",
        "/ws/live-log",
        Upgrade="websocket",
        Connection="Upgrade",
        Sec_WebSocket_Key=KEY,
        Sec_WebSocket_Version="777",
    )
    + HIDDEN
)
"""A proxy that takes it for granted that the upgrade succeeds passes on what follows unread."""
