"""The ends of a connection, and whether it is worth to connect again.

One table: close code → why a retry is useless. All other ends are retried. A refused command is a
`livelog.errors.RefusedError`, the exception that the server itself raises.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from livelog.errors import (
    AUTHENTICATION_FAILED,
    INVALID_TOKEN,
    MESSAGE_TOO_BIG,
    POLICY_VIOLATION,
    PROTOCOL_ERROR,
    TOKEN_EXPIRED,
    UNSUPPORTED_DATA,
    ConnectionEndedError,
    RefusedError,
)
from livelog.wire.events import Error

AnyRefused = TypeVar("AnyRefused", bound=RefusedError)


class Loss(NamedTuple):
    """Reason why a connection ended, and when to open the next."""

    why: str
    wait: float | None = None
    """Seconds after which the server asks for the next; None leaves it to the schedule."""
    fatal: ConnectionEndedError | None = None
    """Set when another connection would end the same way."""


class Lost(Exception):
    """Raised when a connection ended; carries the `Loss`."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss.why)
        self.loss = loss


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


_USELESS = {
    PROTOCOL_ERROR: "the server found a protocol error",
    UNSUPPORTED_DATA: "the server does not take this kind of data",
    1007: "the server found text that is not UTF-8",
    POLICY_VIOLATION: "the server does not allow the connection",
    MESSAGE_TOO_BIG: "a message is larger than the server takes",
    1010: "the server lacks an extension",
    AUTHENTICATION_FAILED: "authentication failed",
    INVALID_TOKEN: "the token is invalid",
    TOKEN_EXPIRED: "the token has expired",
}


def of_close(code: int, text: str, reason: str = "", wait: float | None = None) -> Loss:
    """Interpret a close frame; `reason` and `wait` are those of `disconnected`, if it came."""
    # A slow or silent client is closed with 1008, too, and may come back.
    if code in _USELESS and reason != "connection_timeout":
        why = f"{_USELESS[code]}: {text}" if text else _USELESS[code]
        return Loss(why, wait, ConnectionEndedError(code, why))
    return Loss(text or f"the connection broke (code {code})", wait)


_BUSY = (408, 425, 429)
"""HTTP statuses below 500 that are temporary."""


def of_handshake(status: int, retry_after: str) -> Loss:
    """Interpret a refused handshake; `retry_after` is the value of the header, or empty."""
    why = f"the server answered the handshake with HTTP status {status}"
    if 400 <= status < 500 and status not in _BUSY:
        return Loss(why, fatal=ConnectionEndedError(status, why))
    return Loss(why, float(retry_after) if retry_after.isdigit() else None)
