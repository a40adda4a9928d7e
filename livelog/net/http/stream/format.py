"""The two forms of a stream: each turns a payload, a message or an event, into bytes.

NDJSON has a line for each. Server-Sent Events are those of the HTML standard, section 9.2.6.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from livelog.wire.events import Disconnected, Gap

EVENT_STREAM = "text/event-stream"
NDJSON = "application/x-ndjson"

_EVENT = b'{"action":"'
"""The first bytes of an event; those of a message are others."""
_SEQ = b',"seq":'
_NAMES = {b"error": b"problem"}
"""Events that have another name here: by `error` a browser tells of a connection that failed."""

_gap_decoder = msgspec.json.Decoder(Gap)
_end_decoder = msgspec.json.Decoder(Disconnected)


def as_line(payload: bytes) -> bytes:
    """Write a line of NDJSON."""
    return payload + b"\n"


def as_sent_event(payload: bytes) -> bytes:
    """Write a Server-Sent Event; messages and gaps have an id, with which a browser resumes."""
    if not payload.startswith(_EVENT):
        # The seq is the last field of every message, so it is read without decoding the rest.
        seq = payload[payload.rindex(_SEQ) + len(_SEQ) : -1]
        return b"id: %b\ndata: %b\n\n" % (seq, payload)
    name = payload[len(_EVENT) : payload.index(b'"', len(_EVENT))]
    more = _MORE[name](payload) if name in _MORE else b""
    return b"event: %b\n%bdata: %b\n\n" % (_NAMES.get(name, name), more, payload)


def _id_of_gap(payload: bytes) -> bytes:
    return b"id: %d\n" % _gap_decoder.decode(payload).to


def _retry(payload: bytes) -> bytes:
    again = _end_decoder.decode(payload).reconnect_after_ms
    return b"" if again is UNSET else b"retry: %d\n" % again


_MORE = {b"gap": _id_of_gap, b"disconnected": _retry}
"""Event → further fields of it."""
