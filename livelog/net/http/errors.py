"""Refusals as HTTP sees them: the status of each code, and the headers that go with it.

Nothing below this package knows HTTP. A `RefusedError` says which rule was broken, after how many
seconds it is worth trying again and which scope is missing; here that becomes a status (RFC 9110
section 15) and headers. What only HTTP can get wrong is an `HttpRefusedError`, which brings its
own status.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from livelog.errors import (
    ABNORMAL_CLOSURE,
    AUTHENTICATION_FAILED,
    GOING_AWAY,
    INVALID_TOKEN,
    MESSAGE_TOO_BIG,
    NORMAL_CLOSURE,
    POLICY_VIOLATION,
    PROTOCOL_ERROR,
    RATE_LIMIT_EXCEEDED,
    SERVER_ERROR,
    TOKEN_EXPIRED,
    UNSUPPORTED_DATA,
    RefusedError,
)

STATUSES: dict[int, int] = {
    NORMAL_CLOSURE: 200,
    GOING_AWAY: 503,
    PROTOCOL_ERROR: 400,
    UNSUPPORTED_DATA: 415,
    ABNORMAL_CLOSURE: 400,
    POLICY_VIOLATION: 403,
    MESSAGE_TOO_BIG: 413,
    SERVER_ERROR: 500,
    AUTHENTICATION_FAILED: 401,
    INVALID_TOKEN: 401,
    TOKEN_EXPIRED: 401,
    RATE_LIMIT_EXCEEDED: 429,
}
"""Code → status of a request that is refused with it."""

_UNAVAILABLE = 503

_BEARER = 'Bearer realm="livelog"'
_UNQUOTABLE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
"""Characters that `error_description` must not contain (RFC 6750 section 3)."""


class HttpRefusedError(RefusedError):
    """A request that breaks a rule of HTTP; to the other doors it would be a protocol error."""

    def __init__(
        self,
        status: int,
        field: str,
        issue: str,
        *,
        code: int = PROTOCOL_ERROR,
        headers: Mapping[str, str] | None = None,
        **details: Any,
    ) -> None:
        super().__init__(code, field, issue, **details)
        self.status = status
        self.headers = headers or {}


_MALFORMED = frozenset({400, 431})
"""Statuses of requests that no client makes by mistake: bytes that are not HTTP, endless heads."""


def is_malformed(refused: RefusedError) -> bool:
    """Return whether a request broke the syntax of HTTP, and not only asked in vain."""
    return isinstance(refused, HttpRefusedError) and refused.status in _MALFORMED


def status_of(refused: RefusedError) -> int:
    """Return the status of the response that tells of a refusal."""
    if isinstance(refused, HttpRefusedError):
        return refused.status
    if refused.code == SERVER_ERROR and refused.retry_after is not None:
        return _UNAVAILABLE
    return STATUSES[refused.code]


def headers_of(refused: RefusedError) -> dict[str, str]:
    """Return the headers of that response."""
    headers = dict(refused.headers) if isinstance(refused, HttpRefusedError) else {}
    if refused.retry_after is not None:
        # Whole seconds (RFC 9110 section 10.2.3), rounded up: who comes too early is refused again.
        headers["Retry-After"] = str(max(1, math.ceil(refused.retry_after)))
    if challenge := _challenge(refused):
        headers["WWW-Authenticate"] = challenge
    return headers


def _challenge(refused: RefusedError) -> str:
    """Return the challenge of RFC 6750 section 3, or an empty string where it would not help."""
    if refused.scope is not None:
        return f'{_BEARER}, error="insufficient_scope", scope="{refused.scope}"'
    if refused.code in (INVALID_TOKEN, TOKEN_EXPIRED):
        description = _UNQUOTABLE.sub("'", refused.issue)
        return f'{_BEARER}, error="invalid_token", error_description="{description}"'
    # A request without any credential is not told of an error (RFC 6750 section 3.1).
    return _BEARER if refused.code == AUTHENTICATION_FAILED else ""
