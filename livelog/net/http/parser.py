"""A parser of HTTP/1.1 requests: bytes in, events out.

httptools (llhttp, in its strict mode) knows the syntax of RFC 9112; here its callbacks become
events, and what a client may send is bounded. The parser has no transport and no clock. However
the bytes are cut into pieces, the events are the same; only a head that goes on after it has been
found too large is noticed sooner or later.

Per request the events are `HeadComplete`, perhaps `ContinueExpected`, and one of `RequestComplete`,
`UpgradeRequested` and `Malformed`. The last two end the stream: what follows on the connection is
another protocol, or cannot be trusted. A head that is malformed has no `HeadComplete`.

An offer to go on with another protocol than a WebSocket, such as `h2c`, is passed over (RFC 9110
section 7.8). llhttp stops behind the head of such a request, so another parser takes its place: it
is fed the framing of the request again, without the offer, and goes on with the body.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import httptools

from livelog.errors import MESSAGE_TOO_BIG, RefusedError
from livelog.net.http.errors import HttpRefusedError
from livelog.net.http.message import Request

MAX_HEAD_BYTES = 16 * 1024
"""Target, names and values of the headers, and their separators."""

_MAX_UNFINISHED_BYTES = 2 * MAX_HEAD_BYTES
"""Bytes of a head before it is complete. llhttp keeps back a header until it has it whole, so one
that never ends shows only here."""


_FRAMING = ("content-length", "transfer-encoding")
"""Headers that say how long a body is (RFC 9112 section 6)."""

_LATER = ("2.0", "3.0")
"""Versions that llhttp recognizes and that are not spoken here."""


class HeadComplete(NamedTuple):
    """The head of a request; its body, if it has one, follows."""

    request: Request


class ContinueExpected(NamedTuple):
    """The client waits for an interim response before it sends the body (RFC 9110 10.1.1)."""

    request: Request


class RequestComplete(NamedTuple):
    """A request with its body."""

    request: Request


class UpgradeRequested(NamedTuple):
    """A request to go on with another protocol (RFC 9110 7.8), of which `rest` is the start."""

    request: Request
    rest: bytes


class Malformed(NamedTuple):
    """A request that breaks the rules, as far as it was understood."""

    request: Request
    refused: RefusedError


Event = HeadComplete | ContinueExpected | RequestComplete | UpgradeRequested | Malformed


Stage = Literal["start", "head", "body"]
"""The part of a request that is expected next."""


class RequestParser:
    """Parses the requests of one connection, one after the other."""

    def __init__(self, max_body_bytes: int) -> None:
        self.stage: Stage = "start"
        self.request = Request()
        """The request that is being received, or was received last."""
        self._max_body_bytes = max_body_bytes
        self._syntax: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._events: list[Event] = []
        self._ended = False  # no events any more
        self._head_bytes = 0  # of the present head, as httptools has reported them
        self._unfinished_bytes = 0  # fed since a head was completed last
        self._head_ended = False  # within the bytes that are being fed
        self._repeating = False  # a head whose offer is passed over is fed again

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return what they complete.

        Raises `MemoryError` where there is no memory for them, which is no fault of the client.
        """
        if self._syntax is None or self._ended:
            return []
        self._head_ended = self.stage == "body"
        try:
            self._parse(memoryview(data))
        except httptools.HttpParserCallbackError as error:
            raise (error.__context__ or error) from None  # no fault of the request
        except httptools.HttpParserError as error:
            self._end(Malformed(self.request, self._fault(error)))
        self._bound_unfinished(len(data))
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Take nothing more, and let go of httptools, which refers back to this object."""
        self._ended = True
        self._syntax = None

    def _parse(self, data: memoryview) -> None:
        """Feed httptools; raises its error."""
        while self._syntax is not None:
            try:
                self._syntax.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                if self.request.asks_for_another_protocol:
                    self._end(UpgradeRequested(self.request, bytes(data)))
                if self._ended:
                    return
                self._pass_over_offer(self.request)
            else:
                return

    def _pass_over_offer(self, request: Request) -> None:
        self._syntax = httptools.HttpRequestParser(self)
        self._repeating = True
        framing = [(name, value) for name, value in request.headers if name in _FRAMING]
        if not request.keep_alive:
            framing.append(("connection", "close"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in framing)
        head = f"{request.method} / HTTP/{request.version}\r\n{lines}\r\n"
        self._syntax.feed_data(head.encode("latin-1"))

    def _fault(self, error: Exception) -> HttpRefusedError:
        assert self._syntax is not None
        version = self._syntax.get_http_version()
        if version in _LATER:
            issue = f"HTTP/{version} is not offered here, ask with HTTP/1.1"
            return HttpRefusedError(505, "version", issue)
        return HttpRefusedError(400, "request", f"not HTTP: {error}")

    # Callbacks of httptools.

    def on_message_begin(self) -> None:
        """Start a request."""
        if self._repeating:
            return
        self.request = Request()
        self.stage = "head"
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Add a part of the target."""
        if self._repeating:
            return
        self._head_bytes += len(url)
        self.request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; a trailer (RFC 9110 section 6.5) is dropped, it could contradict one."""
        if self.stage == "head" and not self._repeating:
            self._head_bytes += len(name) + len(value) + 4  # colon, space and line end
            # llhttp leaves the white space behind a value, which is no part of it (RFC 9112
            # section 5.1).
            text = value.decode("latin-1").strip(" \t")
            self.request.headers.append((name.decode("latin-1").lower(), text))

    def on_headers_complete(self) -> None:
        """Check the size of the head, and the announced one of the body."""
        assert self._syntax is not None
        self.stage, self._head_ended = "body", True
        if self._repeating:
            self._repeating = False
            return
        request = self.request
        request.method = self._syntax.get_method().decode("ascii")
        request.version = self._syntax.get_http_version()
        request.keep_alive = self._syntax.should_keep_alive()
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
            return
        self._emit(HeadComplete(request))
        length = request.header("content-length")
        # A body that is announced too large is refused before it comes, and in place of the 100 for
        # which the client may wait (RFC 9110 section 10.1.1).
        if length.isdigit() and int(length) > self._max_body_bytes:
            self._refuse_body()
        elif request.version != "1.0" and request.header("expect").lower() == "100-continue":
            self._emit(ContinueExpected(request))  # HTTP/1.0 does not know it (RFC 9110 10.1.1)

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        if self._ended:
            return
        # Counted part by part: of a chunked body nothing says the size before its end, and chunks
        # leave no trace in it (RFC 9112 section 7.1).
        if len(self.request.body) + len(body) > self._max_body_bytes:
            self._refuse_body()
        else:
            self.request.body += body

    def on_message_complete(self) -> None:
        """End a request; one that asks for an upgrade ends with httptools' exception."""
        assert self._syntax is not None
        self.stage = "start"
        if not self._syntax.should_upgrade():
            self._emit(RequestComplete(self.request))

    # Bounds.

    def _bound_unfinished(self, size: int) -> None:
        self._unfinished_bytes = 0 if self._head_ended else self._unfinished_bytes + size
        if self._unfinished_bytes > _MAX_UNFINISHED_BYTES:
            self._refuse_head()

    def _refuse_head(self) -> None:
        issue = f"larger than {MAX_HEAD_BYTES} bytes"
        self._end(Malformed(self.request, HttpRefusedError(431, "head", issue)))

    def _refuse_body(self) -> None:
        issue = f"larger than {self._max_body_bytes} bytes"
        self._end(Malformed(self.request, RefusedError(MESSAGE_TOO_BIG, "body", issue)))

    def _end(self, event: Event) -> None:
        self._emit(event)
        self._ended = True

    def _emit(self, event: Event) -> None:
        if not self._ended:
            self._events.append(event)
