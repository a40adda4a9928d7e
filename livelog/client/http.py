"""Publishing in batches over HTTP, for programs that publish much and follow nothing.

`POST /api/messages` publishes none of a batch when one message is invalid or not permitted, and
does not count against the limits of a WebSocket, of which one message a frame would use up a
minute's worth at once. Without limits it is faster, too: 30 000 messages a second in batches of 100
or more, against 8 500 with 16 `publish` commands under way and 13 500 with 500 (on 2 cores,
messages of 300 bytes, memory store). It blocks, since the caller waits for each batch anyway.

Only a part of a batch may be published when the server fails on the way. A batch whose messages
have ids may be repeated: while the server remembers the ids, no message is delivered twice.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import msgspec

from livelog.client.addresses import Addresses
from livelog.client.errors import (
    Loss,
    Lost,
    ResponseRefusedError,
    named_wait,
    refusal_of_response,
)
from livelog.client.proxies import Proxy, proxy_for, via
from livelog.client.url import unix_socket
from livelog.client.waits import held
from livelog.errors import GOING_AWAY, RATE_LIMIT_EXCEEDED, SERVER_ERROR, RefusedError
from livelog.wire import WEBSOCKET_PATH
from livelog.wire.events import Error

_PATH = "/api/messages"
_TIMEOUT = 30
"""Seconds the server has to answer."""
LATER = (408, 425, 429, 502, 503, 504)
"""Temporary HTTP statuses: the server is busy, its disk is full, or a proxy does not reach it."""
_FOR_NOW = (GOING_AWAY, SERVER_ERROR, RATE_LIMIT_EXCEEDED)
"""Codes of messages that may be taken later; the others are final."""

Refused = Mapping[int, RefusedError]
"""Index of a message in its batch → why the server has not taken it."""


class Unavailable(Lost):
    """Raised when the server answers, but takes no message of a batch for the moment."""


class PartlyRefusedError(Exception):
    """Raised when the server has taken a part of a batch only, or refuses a part for good."""

    def __init__(self, refused: Refused, loss: Loss) -> None:
        super().__init__(loss.why)
        self.final = {at: why for at, why in refused.items() if why.code not in _FOR_NOW}
        """The messages that are refused for good."""
        self.for_now = [at for at in refused if at not in self.final]
        """The messages to publish again, after `loss.wait` seconds."""
        self.loss = loss


class _Accepted(msgspec.Struct):
    """Answer to a batch."""

    count: int


class _RefusedOne(msgspec.Struct):
    line: int
    id: str
    error_code: int
    issue: str


class _Partly(msgspec.Struct):
    """Details of the answer to a batch of which some messages are not taken."""

    refused: list[_RefusedOne]
    acknowledged: list[str]


class HttpPublisher:
    """Publishes at one server, or at several that share a log. `url` is that of the WebSocket, or
    a list of such, as for `connect`."""

    def __init__(self, url: str | Sequence[str], token: str | None = None) -> None:
        """Prepare the connections. Raises `ConfigError` for a proxy that cannot be used."""
        self._addresses = Addresses(url)
        self._servers = {each: _Server(each, token) for each in self._addresses}

    def post(self, lines: Sequence[bytes]) -> None:
        """Publish messages, each one line of JSON.

        Raises `RefusedError` when the server refuses them all, with a `line` in the details when
        one message is wrong; none is published then. Raises `PartlyRefusedError` when it has taken
        the others, `Unavailable` when it takes none now, and `Lost` when it did not answer; a part
        of the messages may have been published then. The last two mean that no server has taken
        them, or that the next one is to be asked after a while.
        """
        for left in reversed(range(len(self._addresses))):
            url = self._addresses.current
            try:
                self._servers[url].post(lines)
                return
            except Lost as lost:
                self._addresses.leave(url)
                if lost.loss.wait or not left:
                    raise

    def close(self) -> None:
        """Close the connections."""
        for server in self._servers.values():
            server.close()


class _Server:
    """A connection that stays open between batches."""

    def __init__(self, url: str, token: str | None) -> None:
        self._headers = {"Content-Type": "application/x-ndjson"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        proxy = proxy_for(url)
        self._via = via(proxy)
        self._connection = connection_to(url, proxy)
        self._path = path_of(url, _PATH)
        if proxy is not None and urlsplit(url).scheme == "ws":
            # Without TLS the proxy is asked itself (RFC 9112 section 3.2.2), else for a tunnel.
            self._path = f"http://{urlsplit(url).netloc.rpartition('@')[2]}{self._path}"
            self._headers |= proxy.headers

    def post(self, lines: Sequence[bytes]) -> None:
        try:
            body = b"\n".join(lines)
            response = answer_of(self._connection, "POST", self._path, body, self._headers)
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Lost(Loss(f"{plain(error)}{self._via}")) from None
        wait = named_wait(response.headers.get("Retry-After", ""))
        _check(response.status, body, wait, len(lines))

    def close(self) -> None:
        self._connection.close()


def _check(status: int, body: bytes, wait: float | None, count: int) -> None:
    """Raise an error unless the answer says that all messages of a batch were taken."""
    try:
        if status < 300:
            msgspec.json.decode(body, type=_Accepted)
            return
        refused = refusal_of_response(msgspec.json.decode(body, type=Error), status)
    except (ValueError, RecursionError):
        why = f"the answer is not that of a livelog server (HTTP status {status})"
        raise (Unavailable if status in LATER else Lost)(Loss(why, wait)) from None
    if status not in LATER:
        raise refused
    loss = Loss(str(refused), wait if refused.retry_after is None else held(refused.retry_after, 0))
    partly = PartlyRefusedError(_each(refused, count), loss)
    if partly.final or 0 < len(partly.for_now) < count:
        raise partly
    raise Unavailable(loss)


def _each(refused: ResponseRefusedError, count: int) -> Refused:
    """Return the refusals of single messages; none if they do not account for the whole batch."""
    try:
        partly = msgspec.convert(refused.details, _Partly)
    except msgspec.ValidationError:
        return {}
    each = {
        one.line - 1: RefusedError(one.error_code, f"id {one.id!r}", one.issue)
        for one in partly.refused
    }
    complete = len(each) + len(partly.acknowledged) == count
    return each if complete and all(0 <= at < count for at in each) else {}


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket; the first request calls this."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def connection_to(url: str, proxy: Proxy | None) -> http.client.HTTPConnection:
    """Return a connection to the server whose WebSocket is at `url`; it is made when it is used."""
    if found := unix_socket(url):
        return _UnixConnection(found[0])
    parts = urlsplit(url)
    made = http.client.HTTPSConnection if parts.scheme == "wss" else http.client.HTTPConnection
    if proxy is None:
        return made(parts.hostname or "", parts.port, timeout=_TIMEOUT)
    connection = made(proxy.host, proxy.port, timeout=_TIMEOUT)
    if parts.scheme == "wss":
        connection.set_tunnel(parts.hostname or "", parts.port or 443, proxy.headers)
    return connection


def answer_of(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | None,
    headers: Mapping[str, str],
) -> http.client.HTTPResponse:
    """Send a request and return the answer, also one that comes before the request is read.

    So a server answers and closes for an address that is blocked, or a body that is too large.
    """
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, target, body, dict(headers))
    return connection.getresponse()


def path_of(url: str, path: str) -> str:
    """Return the whole of a path, with the prefix that a proxy gives the WebSocket's path."""
    found = unix_socket(url)
    websocket = found[1] if found else urlsplit(url).path
    return websocket.removesuffix(WEBSOCKET_PATH).rstrip("/") + path


def plain(error: Exception) -> str:
    """Describe the failure of a request."""
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
