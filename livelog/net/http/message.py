"""Requests and responses of HTTP/1.1 as values: what they say, and how a response is written.

The rule: everything here is a function of the bytes received. The address, the principal and the
admission of a request are filled in by the connection.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl

from livelog.auth import credentials
from livelog.auth.credentials import Credential
from livelog.auth.principal import NOBODY, Principal
from livelog.errors import RefusedError
from livelog.net.http.errors import HttpRefusedError, headers_of, status_of
from livelog.wire.events import encoder, error

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The interim response to `Expect: 100-continue` (RFC 9110 section 10.1.1)."""

_ORIGIN = re.compile(r"^https?://([^/?#]*)/?", re.IGNORECASE)
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}
_FORWARDING = re.compile(
    r"via|cdn-loop|(x-)?(original-)?forwarded.*|.*(real|client|connecting|external)-(ip|address)"
)
"""Headers by which a proxy shows (RFC 7239, 8586; RFC 9110 section 7.6.3), those that are no
standard by the forms that their names have."""
_LONGEST_AGENT = 200
"""Characters of the name of a client that are kept."""
_NOT_MODIFIED = 304
"""It has no body, so its length would be that of the file the client has (RFC 9110 section 8.6)."""
_NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}  # no response is to be run as a script


@dataclass(slots=True)
class Request:
    """A request, complete or while it is being received. Header names are in lower case."""

    method: str = ""
    target: bytes = b""
    version: str = "1.1"
    keep_alive: bool = True
    headers: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""
    """The client's, with proxies looked through; empty behind a Unix socket."""
    admitted: bool = False
    """Its head has passed the checks of `admission`."""
    body: bytearray = field(default_factory=bytearray)
    principal: Principal = NOBODY
    """Filled in before the handler is called, unless the route is open to anybody."""

    @property
    def path(self) -> str:
        """The target up to its query; of an absolute target (RFC 9112 section 3.2.2) its path."""
        path = self.target.partition(b"?")[0].decode("latin-1")
        return path if path.startswith("/") else f"/{_ORIGIN.sub('', path)}"

    @property
    def authority(self) -> str | None:
        """The host, perhaps with a port, that the request is for; None where it names none.

        In an absolute target it stands instead of in `Host` (RFC 9112 section 3.2.2).
        """
        if not self.target.startswith(b"/"):
            absolute = _ORIGIN.match(self.target.decode("latin-1"))
            if absolute is not None:
                return absolute[1]
        hosts = self.all("host")
        return hosts[0] if hosts else None

    @property
    def query(self) -> dict[str, str]:
        """The parameters in the target; of several with one name the last."""
        return dict(self.parameters)

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The parameters in the target, in their order; without those that hold a credential."""
        return [pair for pair in self._pairs() if pair[0] not in credentials.PARAMETERS]

    @property
    def credential(self) -> Credential:
        """The credential in the headers or, if they have none, in the target."""
        return credentials.of_request(self.headers, self._pairs())

    def _pairs(self) -> list[tuple[str, str]]:
        query = self.target.partition(b"?")[2].decode("latin-1")
        return parse_qsl(query, keep_blank_values=True) if query else []

    @property
    def is_forwarded(self) -> bool:
        """Whether a proxy says that it passes the request on for another client."""
        return any(_FORWARDING.fullmatch(name) for name, _ in self.headers)

    @property
    def has_body(self) -> bool:
        """Whether its head announces a body."""
        length = self.header("content-length").strip("0")
        return bool(length or self.header("transfer-encoding"))

    @property
    def offered(self) -> list[str]:
        """The protocols that the client would go on with (RFC 9110 section 7.8), in lower case."""
        return [name.strip().lower() for name in ",".join(self.all("upgrade")).split(",")]

    @property
    def asks_for_another_protocol(self) -> bool:
        """Whether it asks for a WebSocket or a tunnel; other offers are passed over, as is every
        one of HTTP/1.0 (RFC 9110 section 7.8)."""
        return self.method == "CONNECT" or (self.version != "1.0" and "websocket" in self.offered)

    @property
    def agent(self) -> str:
        """The name and version of the client, shortened; many clients share one text."""
        return sys.intern(self.header("user-agent")[:_LONGEST_AGENT])

    def header(self, name: str) -> str:
        """Return the first header of this name, or an empty string."""
        for known, value in self.headers:
            if known == name:
                return value
        return ""

    def all(self, name: str) -> list[str]:
        """Return every header of this name, in their order."""
        return [value for known, value in self.headers if known == name]

    def check(self) -> None:
        """Refuse what two servers in a row could read in two ways, and the parser lets pass."""
        if not self.version.startswith("1."):
            issue = f"HTTP/{self.version} is not offered here, ask with HTTP/1.1"
            raise HttpRefusedError(505, "version", issue)
        hosts = self.all("host")
        if len(hosts) > 1 or (not hosts and self.version != "1.0"):  # RFC 9112 section 3.2
            raise HttpRefusedError(400, "host", "there has to be exactly one")
        coding = self.header("transfer-encoding").lower()
        if coding and (coding != "chunked" or self.version == "1.0"):  # RFC 9112 section 6.1
            raise HttpRefusedError(501, "transfer-encoding", "only chunked is taken")


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    endless: bool = False
    """Only the head of a response that ends with the connection."""

    def serialize(
        self, date: str, more: Mapping[str, str], *, keep_alive: bool, body: bool = True
    ) -> bytes:
        """Return the bytes to send; without the `body` for HEAD (RFC 9110 section 9.3.2).

        `date` is the time as RFC 9110 section 5.6.7 has it. `more` are further headers, which give
        way to the response's own.
        """
        headers = {**_NO_SNIFFING, **more, **self.headers}
        length = f"Content-Length: {len(self.body)}"
        head = [
            _STATUS_LINES[self.status],
            f"Date: {date}",
            *([] if self.status == _NOT_MODIFIED else [f"Content-Type: {self.content_type}"]),
            *([] if self.endless or self.status == _NOT_MODIFIED else [length]),
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        data = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n"
        return data + self.body if body else data


def json_response(value: object, status: int = 200) -> Response:
    """Return a response with an event, or another value, in JSON."""
    return Response(encoder.encode(value), status)


def error_response(refused: RefusedError) -> Response:
    """Return the response that says the same as the `error` event of a WebSocket."""
    return Response(encoder.encode(error(refused)), status_of(refused), headers=headers_of(refused))
