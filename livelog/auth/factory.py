"""The authenticator that the settings describe.

All that can be checked is checked here, at the start: an invalid key, a provider that does not
answer. Once the server runs, the same faults are logged and refuse requests, but do not end it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from livelog.auth.authenticator import ApiKeyCheck, Authenticator, Check
from livelog.auth.keyfile import KeyFile
from livelog.config import Config, blaming, flag
from livelog.errors import ConfigError, installing

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
        return None
    checks: list[Check] = []
    api_keys = None
    if config.auth.api_keys:
        with blaming("api_keys"):
            api_keys = ApiKeyCheck(KeyFile(config.auth.api_keys))
        checks.append(api_keys)
    end: Callable[[], Awaitable[None]] = _nothing_to_end
    if given != ["api_keys"]:
        token_checks, end = await _token_checks(config, clock, given[0])
        checks += token_checks
    return Authenticator(checks, api_keys, clock, end)


async def _token_checks(
    config: Config, clock: Callable[[], float], first: str
) -> tuple[list[Check], Callable[[], Awaitable[None]]]:
    try:
        from livelog.auth import jwtcheck  # only a server with tokens needs the extra
    except ImportError as missing:
        issue = f"needs {missing.name}, which comes with {installing('auth')}"
        raise ConfigError(f"{flag(first)}: {issue}") from None
    made = jwtcheck.TokenChecks(config)
    try:
        return await made.open(clock()), made.close
    except BaseException:
        await made.close()
        raise


def _refuse_additions(config: Config) -> None:
    """Refuse settings that have no effect: the operator meant to have authentication."""
    for name in (*_ADDITIONS, "announce_presence"):
        if getattr(config.auth, name):
            sources = ", ".join(map(flag, _KINDS))
            raise ConfigError(f"{flag(name)}: has an effect only with one of {sources}")


async def _nothing_to_end() -> None:
    pass
