"""The tree of errors, and the table of codes.

    LivelogError
    ├── RefusedError            a request that cannot be granted
    ├── ConfigError             a setting that is not allowed
    ├── UnreachableError        no connection could be opened
    ├── ConnectionEndedError    the server ended the connection for good
    └── NotRunningError         a call before the start, after the end, or from another thread

Every way a request can fail or a connection can end has a code of the API's table. `CODES` says
for each what it is called and what the `disconnected` event calls it. Code that finds something
wrong raises `RefusedError`; the WebSocket turns it into an `error` event or a close, `net/http`
into a response. The statuses and headers of responses are in `net/http/errors.py`; the client has
its own lists of statuses after which it tries again.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, Literal, NamedTuple, Self

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


def installing(extra: str) -> str:
    """Return the command that installs what an extra brings; the package has another name."""
    return f"pip install 'livelog-server[{extra}]'"


class Code(NamedTuple):
    """The meaning of one code, the same on WebSockets and over HTTP."""

    text: str
    """`error_message` of the `error` event."""
    reason: Reason
    """`reason` of the `disconnected` event, unless the server gives a more precise one."""


CODES: dict[int, Code] = {
    NORMAL_CLOSURE: Code("Normal Closure", "normal_closure"),
    GOING_AWAY: Code("Going Away", "normal_closure"),
    PROTOCOL_ERROR: Code("Protocol Error", "protocol_error"),
    UNSUPPORTED_DATA: Code("Unsupported Data", "protocol_error"),
    # Never sent: it is what an endpoint notes when the peer vanished (RFC 6455 section 7.4.1).
    ABNORMAL_CLOSURE: Code("Abnormal Closure", "connection_timeout"),
    POLICY_VIOLATION: Code("Policy Violation", "protocol_error"),
    MESSAGE_TOO_BIG: Code("Message Too Big", "protocol_error"),
    SERVER_ERROR: Code("Server Error", "server_error"),
    AUTHENTICATION_FAILED: Code("Authentication Failed", "protocol_error"),
    INVALID_TOKEN: Code("Invalid Token", "protocol_error"),
    TOKEN_EXPIRED: Code("Token Expired", "protocol_error"),
    RATE_LIMIT_EXCEEDED: Code("Rate Limit Exceeded", "protocol_error"),
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

    `answered` tells that a server was there, and did not let the client in now.

    >>> issubclass(UnreachableError, ConnectionError)
    True
    """

    answered = False


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

    >>> refused = RefusedError(1002, "user_id", "required field is missing")
    >>> refused.field, str(refused)
    ('user_id', 'user_id: required field is missing')

    `details` holds what else helps the caller, such as `allowed`. Two of them have a name of their
    own here: `retry_after` is the number of seconds after which the same request may be granted,
    `scope` is the scope that the principal lacks.

    Once raised, a refusal is not changed: `at`, `rename` and `explain` return new ones.
    """

    def __init__(
        self,
        code: int,
        field: str,
        issue: str,
        *,
        retry_after: float | None = None,
        scope: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(code, field, issue)
        self.code = code
        self.field = field
        self.issue = issue
        self.details = details
        if retry_after is not None:
            details["retry_after_seconds"] = round(retry_after, 3)
        if scope is not None:
            details["scope"] = scope

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait before the next attempt; None if waiting does not help."""
        return self.details.get("retry_after_seconds")

    @property
    def scope(self) -> str | None:
        """The scope that is missing, if one is."""
        return self.details.get("scope")

    def __str__(self) -> str:
        return f"{self.field}: {self.issue}" if self.field else self.issue

    def at(self, place: str) -> Self:
        """Return the same refusal seen from outside: `field` is found in `place`."""
        return self.rename(f"{place}.{self.field}" if self.field else place)

    def rename(self, field: str) -> Self:
        """Return the same refusal of another field."""
        return self._with(field=field)

    def explain(self, details: Mapping[str, Any]) -> Self:
        """Return the same refusal with these details, too."""
        return self._with(details={**self.details, **details})

    def _with(self, **changes: Any) -> Self:
        refused = copy(self)
        vars(refused).update(changes)
        return refused


_SHORT = "the server is short of memory"


def failure(error: Exception) -> RefusedError:
    """Return what a client is told of an internal error: only a lack of memory may pass.

    >>> failure(MemoryError()).retry_after
    1.0
    """
    if isinstance(error, MemoryError):
        return RefusedError(SERVER_ERROR, "", _SHORT, retry_after=1.0)
    return RefusedError(SERVER_ERROR, "", "the server failed, see its log")
