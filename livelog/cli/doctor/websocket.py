"""The steps over a WebSocket: its handshake, the session, the latency, resuming, and silence."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection

from livelog.cli.doctor.finding import BETWEEN, TOLD, Finding, Hopeless, issue, issue_in, ms, plain
from livelog.cli.doctor.http import WRONG_NAME
from livelog.cli.doctor.target import Target
from livelog.errors import AUTHENTICATION_FAILED
from livelog.wire import WEBSOCKET_PATH
from livelog.wire.timestamps import parse_moment

_PINGS = 5
_SKEW = 2.0
"""Seconds by which clocks may differ."""
_SLOW = 0.5
"""Seconds of a round trip from which on it is worth a word."""

_UPGRADE = (
    "the upgrade does not arrive: let the proxy speak HTTP/1.1 to livelog and pass on Upgrade and"
    " Connection, as livelog/web/deploy/nginx.conf does"
)
_HANDSHAKES = {
    200: _UPGRADE,
    301: "the address leads elsewhere: use the one that it redirects to",
    302: "the address leads elsewhere: use the one that it redirects to",
    400: _UPGRADE,
    401: "credentials are asked for before livelog is reached",
    403: "it is forbidden: by livelog for the origin, or by a proxy",
    404: f"there is no WebSocket: does the address end with {WEBSOCKET_PATH}, behind a prefix?",
    421: WRONG_NAME,
    426: _UPGRADE,
    429: "too many connections from this address, or it is blocked",
    502: "the proxy does not reach livelog",
    503: "the server is stopping, or the proxy does not reach it",
    504: "the proxy gets no answer from livelog",
}
"""Status of a refused handshake → the likely cause."""


class Dialog:
    """A WebSocket over which one question is asked at a time."""

    def __init__(self, websocket: ClientConnection, timeout: float) -> None:
        self._websocket = websocket
        self._timeout = timeout

    def ask(self, answer: str, **command: Any) -> dict[str, Any]:
        """Send a command; return its answer, or the `error` that comes in its place."""
        self._websocket.send(json.dumps(command))
        return self.event(answer)

    def event(self, action: str) -> dict[str, Any]:
        """Return the first event of this kind, or the `error` that comes in its place."""
        return self.first(lambda event: event.get("action") in (action, "error"))

    def first(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first event or message that is wanted. Raises `TimeoutError`."""
        until = time.monotonic() + self._timeout
        while (left := until - time.monotonic()) > 0:
            event = json.loads(self._websocket.recv(timeout=left))
            if isinstance(event, dict) and wanted(event):
                return event
        raise TimeoutError


def websocket(target: Target) -> Iterator[Finding]:
    """Open a WebSocket, and use it as a client does."""
    started = time.monotonic()
    try:
        opened = target.connect()
    except InvalidStatus as refused:
        status = refused.response.status_code
        why = _HANDSHAKES.get(status, BETWEEN)
        if status in TOLD:
            why = issue_in(bytes(refused.response.body), why)
        raise Hopeless(f"WebSocket: HTTP status {status}: {why}") from None
    except (OSError, InvalidHandshake, TimeoutError) as error:
        raise Hopeless(f"WebSocket: not opened: {plain(error)}") from None
    try:
        with opened:
            yield Finding(True, f"WebSocket: opened in {ms(time.monotonic() - started)}")
            yield from _session(target, Dialog(opened, target.timeout))
    except ConnectionClosed as closed:
        raise Hopeless(f"WebSocket: closed: {closed}") from None
    except TimeoutError:
        raise Hopeless("WebSocket: open, but no answer; does a proxy buffer it?") from None


def _session(target: Target, dialog: Dialog) -> Iterator[Finding]:
    dialog.event("connected")
    if target.token is not None:
        answer = dialog.ask("authenticated", action="authenticate", token=target.token)
        if "error_code" in answer:
            raise Hopeless(f"authentication: {issue(answer)}")
        scopes = ", ".join(answer["scopes"]) or "none"
        yield Finding(True, f"authentication: you are {answer['id']}; scopes: {scopes}")
    yield from _latency(dialog)
    yield _resume(dialog)


def _latency(dialog: Dialog) -> Iterator[Finding]:
    trips: list[float] = []
    skews: list[float] = []
    for _ in range(_PINGS):
        before, started = time.time(), time.monotonic()
        answer = dialog.ask("pong", action="ping")
        trips.append(time.monotonic() - started)
        there = parse_moment(answer["timestamp"], "timestamp") / 1e6
        skews.append(there - (before + trips[-1] / 2))
    best, worst = min(trips), max(trips)
    yield Finding(best < _SLOW, f"round trip: {ms(best)}, at most {ms(worst)} of {_PINGS}")
    skew = skews[trips.index(best)]  # of the shortest trip, which leaves the least room for error
    direction = "ahead of" if skew > 0 else "behind"
    yield Finding(
        abs(skew) < _SKEW, f"clock: the server's is {abs(skew):.1f} s {direction} this machine's"
    )


def _resume(dialog: Dialog) -> Finding:
    page = dialog.ask("history", action="get_history", limit=1)
    if page.get("error_code") == AUTHENTICATION_FAILED:
        raise Hopeless("authentication: the server asks for it; set LIVELOG_TOKEN, or give --token")
    if "error_code" in page:
        return Finding(False, f"history: {issue(page)}")
    if not page["messages"]:
        return Finding(True, "resume: there is no message yet to resume from")
    [message] = page["messages"]
    wanted = {"message_types": [message["type"]], "since": message["seq"] - 1}
    answer = dialog.ask("subscribed", action="subscribe", **wanted)
    if "error_code" in answer:
        return Finding(False, f"resume: {issue(answer)}")
    dialog.first(lambda found: found.get("seq") == message["seq"] and "action" not in found)
    return Finding(True, f"resume: the newest message, {message['seq']}, came again")


def idle(target: Target, seconds: float) -> Iterator[Finding]:
    """Say nothing for a while, but answer the server's pings, as a client does."""
    with target.connect() as opened:
        dialog = Dialog(opened, target.timeout)
        dialog.event("connected")
        if target.token is not None:
            dialog.ask("authenticated", action="authenticate", token=target.token)
        started = time.monotonic()
        try:
            while (left := started + seconds - time.monotonic()) > 0:
                opened.recv(timeout=left)
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
