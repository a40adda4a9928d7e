"""The ends of a connection, and whether it is worth to connect again.

One table: close code → why a retry is useless. All other ends are retried, 1008 (policy violation)
among them: it is that of a slow or silent client, which may come back; `disconnected` says so if it
may not. A refused command is a
`livelog.errors.RefusedError`, the exception that the server itself raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import msgspec

from livelog.client.waits import held
from livelog.errors import (
    ABNORMAL_CLOSURE,
    AUTHENTICATION_FAILED,
    GOING_AWAY,
    INVALID_TOKEN,
    MESSAGE_TOO_BIG,
    PROTOCOL_ERROR,
    TOKEN_EXPIRED,
    UNSUPPORTED_DATA,
    ConnectionEndedError,
    RefusedError,
    UnreachableError,
)
from livelog.wire.events import Error

_LONGEST = 500
"""Characters of a reason that are told."""

AnyRefused = TypeVar("AnyRefused", bound=RefusedError)


class Loss(NamedTuple):
    """Reason why a connection ended, and when to open the next."""

    why: str
    wait: float | None = None
    """Seconds after which the server asks for the next; None leaves it to the schedule."""
    fatal: ConnectionEndedError | None = None
    """Set when another connection would end the same way."""
    outage: bool = False
    """The end may come from what stands in for the server for a while: a proxy, another program.
    It is `fatal` only for a client that has never been connected."""
    local: bool = False
    """The end is this server's alone, such as its shutdown: another need not be waited for."""
    answered: bool = False
    """A server was there, and did not let the client in."""


class Lost(Exception):
    """Raised when a connection ended; carries the `Loss`, and whether a command had been sent."""

    def __init__(self, loss: Loss, *, sent: bool = True) -> None:
        super().__init__(loss.why)
        self.loss = loss
        self.sent = sent


class ResponseRefusedError(RefusedError):
    """A refusal that came as an HTTP response; `status` is the response's."""

    status: int = 0


def refusal(event: Error) -> RefusedError:
    """Return the exception for an `error` event."""
    return _filled(RefusedError, event)


def refusal_of_response(event: Error, status: int) -> ResponseRefusedError:
    """Return the exception for an HTTP response with this status whose body is an `error` event."""
    refused = _filled(ResponseRefusedError, event)
    refused.status = status
    return refused


def _filled(kind: type[AnyRefused], event: Error) -> AnyRefused:
    details = dict(event.details)
    field, issue = str(details.pop("field", "")), str(details.pop("issue", event.error_message))
    return kind(event.error_code, field, issue).explain(details)


def unreachable(missed: Iterable[str], *, answered: bool) -> UnreachableError:
    """Return the error about servers, each with the reason why it was missed."""
    begin = "no connection to" if answered else "cannot reach"
    error = UnreachableError(f"{begin} {'; '.join(missed)}")
    error.answered = answered
    return error


def final(why: str) -> Loss:
    """Return the loss of a connection that no other attempt can replace."""
    return Loss(why, fatal=ConnectionEndedError(ABNORMAL_CLOSURE, why))


_USELESS = {
    PROTOCOL_ERROR: "the server found a protocol error",
    UNSUPPORTED_DATA: "the server does not take this kind of data",
    1007: "the server found text that is not UTF-8",
    MESSAGE_TOO_BIG: "a message is larger than the server takes",
    1010: "the server lacks an extension",
    AUTHENTICATION_FAILED: "authentication failed",
    INVALID_TOKEN: "the token is invalid",
    TOKEN_EXPIRED: "the token has expired",
}


def of_close(code: int, text: str, wait: float | None = None) -> Loss:
    """Interpret a close frame; `wait` is that of `disconnected`, if it came."""
    if code in _USELESS:
        why = f"{_USELESS[code]}: {text}" if text else _USELESS[code]
        return Loss(why, wait, ConnectionEndedError(code, why))
    why = text or f"the connection broke (code {code})"
    return Loss(why, wait, local=code == GOING_AWAY, answered=True)


def for_good(code: int, text: str) -> Loss:
    """Return the loss of a connection after which the server asks the client not to come back."""
    why = text or "the server does not let this client come back"
    return Loss(why, fatal=ConnectionEndedError(code, why))


_BUSY = (408, 425, 429)
"""HTTP statuses below 500 that are temporary."""
_DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
"""HTTP statuses that are about the client, whatever answers."""


def of_handshake(status: int, retry_after: str, body: bytes = b"") -> Loss:
    """Interpret a refused handshake; `retry_after` is the value of the header, or empty.

    A server says why in the `body`; a proxy has a page of its own there.
    """
    said = _issue_in(body)
    why = f"the server answered the handshake with HTTP status {status}{said and f': {said}'}"
    wait = named_wait(retry_after)
    limited = status == HTTPStatus.FORBIDDEN and wait is not None
    if not 400 <= status < 500 or status in _BUSY or limited:
        local = status == HTTPStatus.SERVICE_UNAVAILABLE
        return Loss(why, wait, local=local, answered=True)
    return Loss(why, wait, ConnectionEndedError(status, why), outage=status not in _DENIED)


def _issue_in(body: bytes) -> str:
    """Return what is wrong, as an `error` event in a response says it; empty without one."""
    try:
        return str(refusal(msgspec.json.decode(body, type=Error)))[:_LONGEST]
    except (ValueError, RecursionError):
        return ""


def named_wait(retry_after: str) -> float | None:
    """Return the seconds to wait that a `Retry-After` names; None if it names none."""
    # Not `isdigit`, which takes other digits, too (RFC 9110 section 10.2.3).
    return held(int(retry_after), 0) if re.fullmatch("[0-9]{1,9}", retry_after) else None
