"""From settings to an authenticator. What can be found out about them is found out here, at the
start: a key that is none, a provider that does not answer. Later nothing of that ends the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from livelog.auth.authenticator import ApiKeyCheck, Authenticator, Check
from livelog.auth.keyfile import KeyFile
from livelog.config import Config, blaming, flag
from livelog.errors import ConfigError

_KINDS = {
    "jwt_secret": "JWT",
    "jwt_public_key": "JWT",
    "jwks_url": "JWT",
    "oauth_issuer": "OAuth2",
    "introspection_url": "OAuth2",
    "api_keys": "API keys",
}
"""Settings that turn authentication on, and the kind of proof each stands for."""
_ADDITIONS = (
    "jwt_issuer",
    "jwt_audience",
    "introspection_client_id",
    "introspection_client_secret",
)
"""Settings that mean nothing without one of them."""


def kinds(config: Config) -> list[str]:
    """The kinds of proof that are in use; none, if the server is open."""
    return [*dict.fromkeys(kind for name, kind in _KINDS.items() if getattr(config.auth, name))]


async def opened(config: Config, clock: Callable[[], float]) -> Authenticator | None:
    """What is configured, None if nothing is. Raises `ConfigError` for what cannot be used."""
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
        from livelog.auth import jwtcheck  # only who asks for it needs the extra
    except ImportError as missing:
        issue = f"needs {missing.name}, which comes with pip install 'livelog[auth]'"
        raise ConfigError(f"{flag(first)}: {issue}") from None
    made = jwtcheck.TokenChecks(config)
    try:
        return await made.open(clock()), made.close
    except BaseException:
        await made.close()
        raise


def _refuse_additions(config: Config) -> None:
    """Who sets these means to have authentication, and must not get a server without it."""
    for name in _ADDITIONS:
        if getattr(config.auth, name):
            sources = ", ".join(map(flag, _KINDS))
            raise ConfigError(f"{flag(name)}: of use only with one of {sources}")


async def _nothing_to_end() -> None:
    pass
