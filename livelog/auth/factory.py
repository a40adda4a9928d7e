"""The authenticator that the settings describe.

All that can be checked is checked here, at the start: an invalid key, a provider that does not
answer. Once the server runs, the same faults are logged and refuse requests, but do not end it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from livelog.auth import signin
from livelog.auth.authenticator import ApiKeyCheck, Authenticator, Check
from livelog.auth.keyfile import KeyFile
from livelog.config import Config, blaming, flag
from livelog.errors import ConfigError, installing

if TYPE_CHECKING:
    from livelog.auth import jwtcheck

_KINDS = {
    "jwt_secret": "JWT",
    "jwt_public_key": "JWT",
    "jwks_url": "JWT",
    "oauth_issuer": "OAuth2",
    "introspection_url": "OAuth2",
    "api_keys": "API keys",
}
"""Settings that turn authentication on, and the kind of credential each of them allows."""
_ADDITIONS = (
    "jwt_issuer",
    "jwt_audience",
    "introspection_client_id",
    "introspection_client_secret",
    "viewer_client_id",
)
"""Settings that only refine one of `_KINDS`."""


def kinds(config: Config) -> list[str]:
    """Return the kinds of credentials in use; an empty list for a server without authentication."""
    return [*dict.fromkeys(kind for name, kind in _KINDS.items() if getattr(config.auth, name))]


async def opened(config: Config, clock: Callable[[], float]) -> Authenticator | None:
    """Build the configured authenticator; None without authentication. Raises `ConfigError`."""
    given = [name for name in _KINDS if getattr(config.auth, name)]
    if not given:
        _refuse_additions(config)
    signin.check(config)
    if not given:
        return None
    checks: list[Check] = []
    api_keys = None
    if config.auth.api_keys:
        with blaming("api_keys"):
            api_keys = ApiKeyCheck(KeyFile(config.auth.api_keys))
        checks.append(api_keys)
    if given == ["api_keys"]:
        return Authenticator(checks, api_keys, clock, _nothing_to_end)
    made = await _token_checks(config, clock, given[0])
    return Authenticator([*checks, *made.checks], api_keys, clock, made.close, made.sign_in)


async def _token_checks(
    config: Config, clock: Callable[[], float], first: str
) -> jwtcheck.TokenChecks:
    try:
        from livelog.auth.jwtcheck import TokenChecks  # only a server with tokens needs the extra
    except ImportError as missing:
        issue = f"needs {missing.name}, which comes with {installing('auth')}"
        raise ConfigError(f"{flag(first)}: {issue}") from None
    made = TokenChecks(config)
    try:
        await made.open(clock())
    except BaseException:
        await made.close()
        raise
    return made


def _refuse_additions(config: Config) -> None:
    """Refuse settings that have no effect: the operator meant to have authentication."""
    for name in (*_ADDITIONS, "announce_presence"):
        if getattr(config.auth, name):
            sources = ", ".join(map(flag, _KINDS))
            raise ConfigError(f"{flag(name)}: has an effect only with one of {sources}")


async def _nothing_to_end() -> None:
    pass
