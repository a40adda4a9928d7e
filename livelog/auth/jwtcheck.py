"""The token checks that are configured: their keys, and the identity provider behind them.

The claims of a token, of an introspected one too, are checked in `tokens`.

The imports here need the extra `auth`; a server without tokens never imports this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from livelog.auth import signin, tokens
from livelog.auth.authenticator import Check
from livelog.auth.introspection import Endpoint, IntrospectionCheck
from livelog.auth.jwks import KeySet
from livelog.auth.principal import Principal
from livelog.auth.provider import Provider, check_url, metadata
from livelog.auth.signin import SignIn
from livelog.auth.tokens import Header, Key, Rules
from livelog.config import Config, blaming
from livelog.errors import ConfigError, RefusedError


class JwtCheck:
    """The check of JWTs, with configured keys, those of a provider, or both."""

    def __init__(self, keys: Sequence[Key], published: KeySet | None, rules: Rules) -> None:
        self._keys = keys
        self._published = published
        self._rules = rules

    def takes(self, secret: str) -> bool:
        """Return whether `secret` has the form of a JWT."""
        return tokens.looks_like_one(secret)

    async def check(self, secret: str, now: float) -> Principal:
        """Return the principal of a JWT. Raises `RefusedError`."""
        keys = await self._keys_for(tokens.header(secret), now)
        return tokens.verify(secret, keys, self._rules, now)

    async def _keys_for(self, header: Header, now: float) -> list[Key]:
        own = [key for key in self._keys if key.algorithm == header.algorithm]
        if self._published is None or header.algorithm not in tokens.PUBLISHED_ALGORITHMS:
            return own
        try:
            return [await self._published.find(header.kid, now), *own]
        except RefusedError:
            if not own:
                raise
            return own  # one of the configured keys may have signed the token


class TokenChecks:
    """Builder of the configured checks. Use it inside the running loop, and `close` it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        auth = config.auth
        issuer = auth.jwt_issuer or auth.oauth_issuer
        self._rules = Rules(issuer or None, auth.jwt_audience or None, auth.jwt_leeway)
        self._provider = Provider()
        self._published: KeySet | None = None
        self._introspection: IntrospectionCheck | None = None
        self.checks: list[Check] = []
        self.sign_in: SignIn | None = None
        """How the viewer's page signs its readers in, if it does."""

    async def close(self) -> None:
        """Cancel what is under way and close the connections to the provider."""
        if self._published is not None:
            await self._published.close()
        if self._introspection is not None:
            await self._introspection.close()
        await self._provider.close()

    async def open(self, now: float) -> None:
        """Build the configured `checks`, and `sign_in`. Raises `ConfigError`."""
        found = await self._metadata()
        keys = self._own_keys()
        self._published = await self._published_keys(found, now)
        self._introspection = self._introspection_check(found)
        if keys or self._published is not None:
            self.checks.append(JwtCheck(keys, self._published, self._rules))
        if self._introspection is not None:
            self.checks.append(self._introspection)
        self.sign_in = self._sign_in(found)

    async def _metadata(self) -> dict[str, Any]:
        issuer = self._config.auth.oauth_issuer
        if not issuer:
            return {}
        with blaming("oauth_issuer"):
            check_url(issuer)
            found = await metadata(self._provider, issuer)
            for name in ("jwks_uri", "introspection_endpoint"):
                if name in found:
                    check_url(found[name])
        return found

    def _sign_in(self, found: dict[str, Any]) -> SignIn | None:
        if not self._config.auth.viewer_client_id:
            return None
        with blaming("viewer_client_id"):
            for name in signin.ENDPOINTS:
                if name in found:
                    check_url(str(found[name]))
            return signin.sign_in(self._config, found)

    def _own_keys(self) -> list[Key]:
        keys = []
        if self._config.auth.jwt_secret:
            with blaming("jwt_secret"):
                keys.append(tokens.secret_key(self._config.auth.jwt_secret))
        if self._config.auth.jwt_public_key:
            with blaming("jwt_public_key"):
                file = Path(self._config.auth.jwt_public_key)
                keys.append(tokens.public_key(file.read_bytes(), str(file)))
        return keys

    async def _published_keys(self, found: dict[str, Any], now: float) -> KeySet | None:
        name = "jwks_url" if self._config.auth.jwks_url else "oauth_issuer"
        url = self._config.auth.jwks_url or found.get("jwks_uri")
        if not url:
            return None
        with blaming(name):
            check_url(url)
        published = KeySet(self._provider, url, self._config.auth.jwks_max_age)
        with blaming(name):
            await published.fetch(now)
        return published

    def _introspection_check(self, found: dict[str, Any]) -> IntrospectionCheck | None:
        config = self._config
        url, client = config.auth.introspection_url, config.auth.introspection_client_id
        if client and not url:
            url = found.get("introspection_endpoint", "")
        if bool(url) != bool(client):
            here, other = ("url", "client-id") if url else ("client-id", "url")
            raise ConfigError(f"--introspection-{here}: needs --introspection-{other}")
        if not url:
            return None
        with blaming("introspection_url"):
            check_url(url)
        endpoint = Endpoint(url, client, config.auth.introspection_client_secret)
        return IntrospectionCheck(self._provider, endpoint, self._rules)
