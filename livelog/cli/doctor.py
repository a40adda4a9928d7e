"""`livelog doctor`: try a server from outside, and say in plain words what is wrong.

The steps go from the network up: address, TLS, HTTP, WebSocket, authentication, delivery. Each
yields findings; where one ends with a fault that the next ones would only repeat, the rest is left
out. Everything is asked over a connection of its own, as clients would, and nothing is published.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Timer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from livelog.cli import options
from livelog.cli.exit import FAILED, outcome
from livelog.cli.sanitize import sanitized
from livelog.client.url import listed, shown, unix_socket
from livelog.errors import AUTHENTICATION_FAILED, ConfigError, RefusedError
from livelog.wire import WEBSOCKET_PATH
from livelog.wire.timestamps import parse_moment

_EXAMPLES = """\
  livelog doctor wss://logs.example.com
  livelog doctor wss://logs.example.com --idle 90       also: do proxies cut quiet connections?
  LIVELOG_TOKEN=lk_… livelog doctor wss://…              also: open files, with the scope metrics
"""
_TIMEOUT = 10.0
"""Seconds for each answer to come, and as many again for all of it."""
_LONGEST = 500
"""Characters of a finding that are printed: some are the server's."""
_PINGS = 5
_SKEW = 2.0
"""Seconds by which clocks may differ."""
_EXPIRES_SOON = 14 * 86_400
_SLOW = 0.5
"""Seconds of a round trip from which on it is worth a word."""
_FULL = 0.8
"""Part of the open files from which on it is worth a word."""

_UPGRADE = (
    "the upgrade does not arrive: let the proxy speak HTTP/1.1 to livelog and pass on Upgrade and"
    " Connection, as livelog/web/deploy/nginx.conf does"
)
_BETWEEN = "something between answers in its place"
_HANDSHAKES = {
    200: _UPGRADE,
    301: "the address leads elsewhere: use the one that it redirects to",
    302: "the address leads elsewhere: use the one that it redirects to",
    400: _UPGRADE,
    401: "credentials are asked for before livelog is reached",
    403: "it is forbidden: by livelog for the origin, or by a proxy",
    404: f"there is no WebSocket: does the address end with {WEBSOCKET_PATH}, behind a prefix?",
    421: "livelog does not answer for this name: add it to --allowed-hosts",
    426: _UPGRADE,
    429: "too many connections from this address, or it is blocked",
    502: "the proxy does not reach livelog",
    503: "the server is stopping, or the proxy does not reach it",
    504: "the proxy gets no answer from livelog",
}
"""Status of a refused handshake → the likely cause."""

_TOLD = (403, 429, 503)
"""Those for which livelog itself tells the reason, where it is livelog that answers."""

_STRANGE = (LookupError, TypeError, ValueError, AttributeError, RecursionError, RefusedError)
"""What goes wrong with an answer that has not the form it should have."""

_FILES = re.compile(r"^process_(open|max)_fds ([0-9.e+]+)$", re.MULTILINE)


class Finding(NamedTuple):
    """The result of one check."""

    good: bool
    text: str


class Hopeless(Exception):
    """Raised where nothing further can be tried; the text is a finding."""


def main(arguments: Sequence[str]) -> int:
    """Examine a server; the exit code is 1 if something is wrong."""
    name, *rest = arguments
    if rest and not rest[0].startswith("-"):
        rest.insert(0, "--url")
    given = make_parser(name).parse_args(rest)

    def act() -> int:
        urls = listed(given.url) or [given.url]
        if any(map(unix_socket, urls)):
            raise ConfigError("--url: a Unix socket is not outside; give an address of the server")
        wrong = 0
        for url in urls:
            if len(urls) > 1:
                print(sanitized(f"{shown(url)}:"), flush=True)
            wrong += _wrong(Target(url, given.token), given.idle)
        return FAILED if wrong else 0

    return outcome(act)


def _wrong(target: Target, idle: float) -> int:
    """Examine one server, print what is found, and return how much of it is wrong."""
    wrong = 0
    for finding in examine(target, idle):
        wrong += not finding.good
        print(f"{'ok' if finding.good else '!!'}  {sanitized(finding.text[:_LONGEST])}", flush=True)
    return wrong


def make_parser(name: str) -> options.Parser:
    """Make the parser of the command."""
    parser = options.parser(name, "Try a server from outside, and say what is wrong.", _EXAMPLES)
    parser.add_argument(
        "--idle",
        type=_seconds,
        default=0,
        metavar="SECONDS",
        help="Also keep a quiet connection open for so long, to see whether a proxy cuts it.",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise ArgumentTypeError(f"{text} is not a number of seconds up to a day")
    return seconds


class Target:
    """The server, and how to ask it."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self.token = token
        parts = urlsplit(url)
        self.secure = parts.scheme == "wss"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.secure else 80)
        self.prefix = parts.path.removesuffix(WEBSOCKET_PATH).rstrip("/")

    @contextmanager
    def get(self, path: str) -> Iterator[HTTPResponse]:
        """Ask for a path below the prefix, and close the connection after the block."""
        kind = HTTPSConnection if self.secure else HTTPConnection
        headers = {"Connection": "close"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        connection = kind(self.host, self.port, timeout=_TIMEOUT)
        with closing(connection):
            connection.connect()
            with _ending(connection.sock, 2 * _TIMEOUT):
                connection.request("GET", self.prefix + path, headers=headers)
                with connection.getresponse() as response:
                    yield response

    def connect(self) -> ClientConnection:
        """Open a WebSocket.

        With a socket that exists already no redirect is followed: it is a finding, and whom it
        leads to would be told the token.
        """
        sock = socket.create_connection((self.host, self.port), _TIMEOUT)
        try:
            return connect(
                self.url, sock=sock, open_timeout=_TIMEOUT, close_timeout=1, compression=None
            )
        except ValueError as redirected:
            raise redirected.__cause__ or redirected from None


@contextmanager
def _ending(sock: socket.socket, seconds: float) -> Iterator[None]:
    """End a connection after a while, however much still comes."""

    def end() -> None:
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # below TLS, which another thread uses

    timer = Timer(seconds, end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


Step = Callable[[Target], Iterator[Finding]]


def examine(target: Target, idle: float = 0) -> Iterator[Finding]:
    """Yield what is found, step by step."""
    steps: list[Step] = [_network, _http, _websocket, _stream, _metrics]
    try:
        for step in steps:
            yield from step(target)
        if idle:
            yield from _idle(target, idle)
    except Hopeless as fault:
        yield Finding(False, str(fault))
    except _STRANGE as error:
        issue = f"answers: one is not as livelog answers ({type(error).__name__}); is it another"
        yield Finding(False, f"{issue} program, or does a proxy change them?")


# The steps.


def _network(target: Target) -> Iterator[Finding]:
    started = time.monotonic()
    try:
        sock = socket.create_connection((target.host, target.port), _TIMEOUT)
    except (OSError, UnicodeError) as error:
        raise Hopeless(f"network: {target.host}:{target.port}: {_plain(error)}") from None
    with sock:
        took = time.monotonic() - started
        address = sock.getpeername()[0]
        yield Finding(True, f"network: connected to {address}:{target.port} in {_ms(took)}")
        if target.secure:
            yield _tls(target, sock)


def _tls(target: Target, sock: socket.socket) -> Finding:
    try:
        wrapped = ssl.create_default_context().wrap_socket(sock, server_hostname=target.host)
    except ssl.SSLCertVerificationError as error:
        raise Hopeless(
            f"TLS: the certificate is not trusted: {error.verify_message}; does the server send the"
            " whole chain, and is it for this name?"
        ) from None
    except OSError as error:
        raise Hopeless(f"TLS: no handshake: {_plain(error)}; is this port one of TLS?") from None
    with wrapped:
        certificate = wrapped.getpeercert() or {}
        ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        left = ends - time.time()
        text = f"TLS: {wrapped.version()}, the certificate is valid for {left / 86_400:.0f} days"
        return Finding(left > _EXPIRES_SOON, text)


def _http(target: Target) -> Iterator[Finding]:
    try:
        with target.get("/healthz") as response:
            body = response.read(1 << 20)
        health = json.loads(body)
        if response.status in _TOLD and (issue := _issue_in(body, "")):
            raise Hopeless(f"HTTP: status {response.status}: {issue}")
        status = health["status"]
    except (OSError, HTTPException) as error:
        raise Hopeless(f"HTTP: no answer from /healthz: {_plain(error)}") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        if response.status == 421:
            raise Hopeless(f"HTTP: {_HANDSHAKES[421]}") from None
        raise Hopeless(
            f"HTTP: {target.prefix}/healthz is answered with status {response.status} by something"
            " that is not livelog: a proxy with another path, or another program"
        ) from None
    issue = f": {health['issue']}" if "issue" in health else ""
    text = f"health: {status}{issue} (livelog {health.get('version')})"
    yield Finding(status == "ok", text)


def _websocket(target: Target) -> Iterator[Finding]:
    started = time.monotonic()
    try:
        websocket = target.connect()
    except InvalidStatus as refused:
        status = refused.response.status_code
        why = _HANDSHAKES.get(status, _BETWEEN)
        if status in _TOLD:
            why = _issue_in(bytes(refused.response.body), why)
        raise Hopeless(f"WebSocket: HTTP status {status}: {why}") from None
    except (OSError, InvalidHandshake, TimeoutError) as error:
        raise Hopeless(f"WebSocket: not opened: {_plain(error)}") from None
    try:
        with websocket:
            yield Finding(True, f"WebSocket: opened in {_ms(time.monotonic() - started)}")
            yield from _session(target, websocket)
    except ConnectionClosed as closed:
        raise Hopeless(f"WebSocket: closed: {closed}") from None
    except TimeoutError:
        raise Hopeless("WebSocket: open, but no answer; does a proxy buffer it?") from None


def _session(target: Target, websocket: ClientConnection) -> Iterator[Finding]:
    _event(websocket, "connected")
    if target.token is not None:
        answer = _ask(websocket, "authenticated", action="authenticate", token=target.token)
        if "error_code" in answer:
            raise Hopeless(f"authentication: {_issue(answer)}")
        scopes = ", ".join(answer["scopes"]) or "none"
        yield Finding(True, f"authentication: you are {answer['id']}; scopes: {scopes}")
    yield from _latency(websocket)
    yield _resume(websocket)


def _latency(websocket: ClientConnection) -> Iterator[Finding]:
    trips: list[float] = []
    skews: list[float] = []
    for _ in range(_PINGS):
        before, started = time.time(), time.monotonic()
        answer = _ask(websocket, "pong", action="ping")
        trips.append(time.monotonic() - started)
        there = parse_moment(answer["timestamp"], "timestamp") / 1e6
        skews.append(there - (before + trips[-1] / 2))
    best, worst = min(trips), max(trips)
    yield Finding(best < _SLOW, f"round trip: {_ms(best)}, at most {_ms(worst)} of {_PINGS}")
    skew = skews[trips.index(best)]
    direction = "ahead of" if skew > 0 else "behind"
    yield Finding(
        abs(skew) < _SKEW, f"clock: the server's is {abs(skew):.1f} s {direction} this machine's"
    )


def _resume(websocket: ClientConnection) -> Finding:
    page = _ask(websocket, "history", action="get_history", limit=1)
    if page.get("error_code") == AUTHENTICATION_FAILED:
        raise Hopeless("authentication: the server asks for it; set LIVELOG_TOKEN, or give --token")
    if "error_code" in page:
        return Finding(False, f"history: {_issue(page)}")
    if not page["messages"]:
        return Finding(True, "resume: there is no message yet to resume from")
    [message] = page["messages"]
    wanted = {"message_types": [message["type"]], "since": message["seq"] - 1}
    answer = _ask(websocket, "subscribed", action="subscribe", **wanted)
    if "error_code" in answer:
        return Finding(False, f"resume: {_issue(answer)}")
    _first(websocket, lambda found: found.get("seq") == message["seq"] and "action" not in found)
    return Finding(True, f"resume: the newest message, {message['seq']}, came again")


def _stream(target: Target) -> Iterator[Finding]:
    """Live counts come each second: a proxy that buffers keeps them."""
    try:
        with target.get("/api/stream?watch=type&interval=1") as response:
            started = time.monotonic()
            line = response.readline(1 << 16)
            took = time.monotonic() - started
    except (OSError, HTTPException) as error:
        issue = "a proxy buffers" if isinstance(error, TimeoutError) else _plain(error)
        yield Finding(False, f"HTTP stream: nothing came: {issue}; see proxy_buffering of nginx")
        return
    if response.status == 200 and not line.endswith(b"\n"):
        yield Finding(False, "HTTP stream: it ended before the first counts; does a proxy cut it?")
    elif response.status == 200:
        yield Finding(True, f"HTTP stream: the first counts came after {_ms(took)}")
    else:
        yield Finding(False, f"HTTP stream: status {response.status}: {_issue_in(line)}")


def _metrics(target: Target) -> Iterator[Finding]:
    """Open files and limits, for who may see them."""
    try:
        with target.get("/metrics") as response:
            text = response.read(4 << 20).decode()
    except (OSError, HTTPException, ValueError):
        return
    found = dict(_FILES.findall(text))
    if response.status != 200 or len(found) < 2:
        return  # most may not, and need not
    used, most = float(found["open"]), float(found["max"])
    yield Finding(used < _FULL * most, f"open files: {used:.0f} of {most:.0f}")


def _idle(target: Target, seconds: float) -> Iterator[Finding]:
    """Say nothing for a while, but answer the server's pings, as a client does."""
    with target.connect() as websocket:
        _event(websocket, "connected")
        if target.token is not None:
            _ask(websocket, "authenticated", action="authenticate", token=target.token)
        started = time.monotonic()
        try:
            while (left := started + seconds - time.monotonic()) > 0:
                websocket.recv(timeout=left)
        except TimeoutError:
            pass
        except ConnectionClosed as closed:
            after = time.monotonic() - started
            yield Finding(
                False,
                f"idle: the connection was cut after {after:.0f} s: {closed}; let the time-outs of"
                " proxies be longer than --ping-interval",
            )
            return
    yield Finding(True, f"idle: a quiet connection was open for {seconds:g} s")


# Questions and answers.


def _ask(websocket: ClientConnection, answer: str, **command: Any) -> dict[str, Any]:
    """Send a command; return its answer, or the `error` that comes in its place."""
    websocket.send(json.dumps(command))
    return _event(websocket, answer)


def _event(websocket: ClientConnection, action: str) -> dict[str, Any]:
    return _first(websocket, lambda event: event.get("action") in (action, "error"))


def _first(websocket: ClientConnection, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first event or message that is wanted. Raises `TimeoutError`."""
    until = time.monotonic() + _TIMEOUT
    while (left := until - time.monotonic()) > 0:
        event = json.loads(websocket.recv(timeout=left))
        if isinstance(event, dict) and wanted(event):
            return event
    raise TimeoutError


def _issue(error: dict[str, Any]) -> str:
    details = error.get("details", {})
    return str(details.get("issue") or error.get("error_message"))


def _issue_in(body: bytes, otherwise: str = _BETWEEN) -> str:
    """Return the issue that livelog tells in a body; what is not livelog's tells none."""
    try:
        return _issue(json.loads(body))
    except (ValueError, AttributeError, RecursionError):
        return otherwise


def _plain(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"
