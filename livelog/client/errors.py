"""How a connection can end, and whether another one would fare better.

One table: close code → why a retry is useless. What is not in it is retried. Refusals of single
commands are `livelog.errors.RefusedError`, the exception the server itself raises.
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
    """The end of one connection, as far as the next one is concerned."""

    why: str
    wait: float | None = None
    """Seconds after which the server wants to see us again; None leaves it to the schedule."""
    fatal: ConnectionEndedError | None = None
    """Set when another connection would end the same way."""


class Lost(Exception):
    """The connection broke; carries the `Loss`."""

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
    POLICY_VIOLATION: "the server does not allow it",
    MESSAGE_TOO_BIG: "a message is larger than the server takes",
    1010: "the server lacks an extension",
    AUTHENTICATION_FAILED: "authentication failed",
    INVALID_TOKEN: "the token is invalid",
    TOKEN_EXPIRED: "the token has expired",
}


def of_close(code: int, text: str, reason: str = "", wait: float | None = None) -> Loss:
    """What a close frame means; `reason` and `wait` are those of `disconnected`, if it came."""
    # 1008 is also what a client is closed with that was slow or silent: it may come back.
    if code in _USELESS and reason != "connection_timeout":
        why = f"{_USELESS[code]}: {text}" if text else _USELESS[code]
        return Loss(why, wait, ConnectionEndedError(code, why))
    return Loss(text or f"the connection broke (code {code})", wait)


_BUSY = (408, 425, 429)
"""HTTP statuses below 500 that pass."""


def of_handshake(status: int, retry_after: str) -> Loss:
    """What the refusal of a handshake means; `retry_after` is the header's value or empty."""
    why = f"the server answered the handshake with HTTP status {status}"
    if 400 <= status < 500 and status not in _BUSY:
        return Loss(why, fatal=ConnectionEndedError(status, why))
    return Loss(why, float(retry_after) if retry_after.isdigit() else None)
