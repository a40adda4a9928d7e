"""What somebody shows to prove who they are: where it is found, and how its failure is told.

Codes: 4000 when there is nothing or nothing that could be believed, 4001 for what is not valid,
4002 for what was valid once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import UNSET

from livelog.errors import AUTHENTICATION_FAILED, INVALID_TOKEN, SERVER_ERROR, RefusedError
from livelog.wire.commands import Authenticate

MAX_BYTES = 8 * 1024
"""Longest credential that is looked at; a request head has room for two of them."""

PARAMETERS = {"token": "token", "api_key": "api_key"}
"""Parameters of a URL → field of the credential."""

_BEARER = "bearer "
_PROVIDER_AWAY = 10.0
"""Seconds after which a client may try again while the identity provider is unreachable."""


class Credential(NamedTuple):
    """One of the two, as it was shown."""

    token: str = ""
    api_key: str = ""

    def command(self) -> Authenticate:
        """The command that shows the same."""
        return Authenticate(token=self.token or UNSET, api_key=self.api_key or UNSET)

    def __repr__(self) -> str:
        """Never the secret itself, wherever this is shown."""
        return "Credential(token=…)" if self.token else "Credential(api_key=…)"


NOTHING = Credential()


def of_request(
    headers: Iterable[tuple[str, str]], parameters: Iterable[tuple[str, str]]
) -> Credential:
    """The credential of a request: that of its headers (names in lower case), or of its URL."""
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
