"""Credentials of a request: where they stand in it, and the refusals for wrong ones.

Codes: 4000 without a usable credential, 4001 for an invalid one, 4002 for an expired one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import UNSET

from livelog.errors import AUTHENTICATION_FAILED, INVALID_TOKEN, SERVER_ERROR, RefusedError
from livelog.wire.commands import Authenticate

MAX_BYTES = 8 * 1024
"""Maximum size of a credential; a request head has room for two of them."""

PARAMETERS = {"token": "token", "api_key": "api_key"}
"""Parameter of the URL → field of `Credential`."""

_BEARER = "bearer "
_PROVIDER_AWAY = 10.0
"""Seconds after which a client may try again while the identity provider is unreachable."""


class Credential(NamedTuple):
    """A token or an API key as it came, unchecked."""

    token: str = ""
    api_key: str = ""

    def command(self) -> Authenticate:
        """Return the `authenticate` command with this credential."""
        return Authenticate(token=self.token or UNSET, api_key=self.api_key or UNSET)

    def __repr__(self) -> str:
        """Name the kind only, so that logs and tracebacks never show the secret."""
        return "Credential(token=…)" if self.token else "Credential(api_key=…)"


NOTHING = Credential()


def of_request(
    headers: Iterable[tuple[str, str]], parameters: Iterable[tuple[str, str]]
) -> Credential:
    """Find the credential in the headers (names in lower case) or else in the URL's parameters."""
    for name, value in headers:
        if name == "authorization" and value[: len(_BEARER)].lower() == _BEARER:
            return Credential(token=value[len(_BEARER) :].strip())
        if name == "x-api-key":
            return Credential(api_key=value.strip())
    for name, value in parameters:
        if name in PARAMETERS and value:
            return Credential(**{PARAMETERS[name]: value})
    return NOTHING


def failed(issue: str, code: int = AUTHENTICATION_FAILED, field: str = "token") -> RefusedError:
    """Return the refusal of a client that could not prove its principal."""
    return RefusedError(code, field, issue)


def invalid(issue: str) -> RefusedError:
    """Return the refusal of a credential that is not valid."""
    return failed(issue, INVALID_TOKEN)


def unavailable(issue: str) -> RefusedError:
    """Return the refusal of a credential that cannot be checked now: later it may be granted."""
    return RefusedError(SERVER_ERROR, "token", issue, retry_after=_PROVIDER_AWAY)
