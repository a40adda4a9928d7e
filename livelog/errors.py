"""The tree of errors, and the table of codes.

Every way a request can fail or a connection can end has a code in the API's table. `CODES` holds
for each code its text, its HTTP status and the reason in the `disconnected` event. Code that finds
a fault in a request raises `RefusedError`; the doors turn it into an `error` event, an HTTP
response or a close frame, and this module alone decides how an error looks on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Reason = Literal["normal_closure", "connection_timeout", "protocol_error", "server_error"]

NORMAL_CLOSURE = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
UNSUPPORTED_DATA = 1003
ABNORMAL_CLOSURE = 1006
POLICY_VIOLATION = 1008
MESSAGE_TOO_BIG = 1009
SERVER_ERROR = 1011
AUTHENTICATION_FAILED = 4000
INVALID_TOKEN = 4001
TOKEN_EXPIRED = 4002
RATE_LIMIT_EXCEEDED = 4003


class Code(NamedTuple):
    """The meaning of one code, the same on WebSockets and over HTTP."""

    text: str
    """`error_message` of the `error` event."""
    status: int
    """HTTP status of a request refused with it."""
    reason: Reason
    """`reason` of the `disconnected` event, unless the server gives a more precise one."""


CODES: dict[int, Code] = {
    NORMAL_CLOSURE: Code("Normal Closure", 200, "normal_closure"),
    GOING_AWAY: Code("Going Away", 503, "normal_closure"),
    PROTOCOL_ERROR: Code("Protocol Error", 400, "protocol_error"),
    UNSUPPORTED_DATA: Code("Unsupported Data", 415, "protocol_error"),
    # Never sent: it stands for a connection lost without a close frame (RFC 6455 section 7.4.1).
    ABNORMAL_CLOSURE: Code("Abnormal Closure", 400, "connection_timeout"),
    POLICY_VIOLATION: Code("Policy Violation", 403, "protocol_error"),
    MESSAGE_TOO_BIG: Code("Message Too Big", 413, "protocol_error"),
    SERVER_ERROR: Code("Server Error", 500, "server_error"),
    AUTHENTICATION_FAILED: Code("Authentication Failed", 401, "protocol_error"),
    INVALID_TOKEN: Code("Invalid Token", 401, "protocol_error"),
    TOKEN_EXPIRED: Code("Token Expired", 401, "protocol_error"),
    RATE_LIMIT_EXCEEDED: Code("Rate Limit Exceeded", 429, "protocol_error"),
}


class LivelogError(Exception):
    """The base of all errors that livelog raises on purpose.

    >>> issubclass(RefusedError, LivelogError)
    True
    """


class ConfigError(LivelogError):
    """An invalid setting; the text names it, its value and what is allowed.

    >>> try:
    ...     Config(port=70000)
    ... except ConfigError as error:
    ...     print(error)
    --port: 70000 is not allowed: Expected int <= 65535
    """


class UnreachableError(LivelogError, ConnectionError):
    """No connection could be opened; the text can be shown to a user.

    >>> issubclass(UnreachableError, ConnectionError)
    True
    """


class ConnectionEndedError(LivelogError, ConnectionError):
    """The server ended the connection in a way that makes another attempt useless.

    `code` is the WebSocket close code, or the HTTP status when the handshake was refused.

    >>> ConnectionEndedError(4001, "the token is invalid")
    ConnectionEndedError('the token is invalid (code 4001)')
    """

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{why} (code {code})")
        self.code = code


class NotRunningError(LivelogError, RuntimeError):
    """A call on a server or client before its start, after its end, or from another thread.

    >>> try:
    ...     Server(Config(store="memory")).url
    ... except NotRunningError as error:
    ...     print(error)
    the server is not running: enter `async with`, or call `start` first
    """


class RefusedError(LivelogError):
    """A refused request: the rule (`code`), the place (`field`) and the reason (`issue`).

    `details` holds more for the caller, such as `allowed` or `retry_after_seconds`. `status`
    replaces the HTTP status of the code where HTTP has a more precise one, such as 404, and
    `headers` go with an HTTP answer.

    >>> refused = RefusedError(1002, "user_id", "required field is missing")
    >>> refused.field, str(refused)
    ('user_id', 'user_id: required field is missing')
    """

    def __init__(
        self,
        code: int,
        field: str,
        issue: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        **details: Any,
    ) -> None:
        super().__init__(f"{field}: {issue}" if field else issue)
        self.code = code
        self.field = field
        self.issue = issue
        self.status = CODES[code].status if status is None else status
        self.headers = headers or {}
        self.details = details

    def at(self, place: str) -> RefusedError:
        """Return the same refusal with `place` put in front of `field`."""
        field = f"{place}.{self.field}" if self.field else place
        return RefusedError(
            self.code, field, self.issue, status=self.status, headers=self.headers, **self.details
        )
