"""Checks JSON Web Tokens: finds the key, and has `tokens` do the rest."""

from __future__ import annotations

from collections.abc import Sequence

from livelog.auth import tokens
from livelog.auth.jwks import KeySet
from livelog.auth.tokens import Header, Key, Rules
from livelog.errors import Refused
from livelog.principal import Principal


class JwtCheck:
    """The keys that are configured, those that a provider publishes, or both."""

    def __init__(self, keys: Sequence[Key], published: KeySet | None, rules: Rules) -> None:
        self._keys = keys
        self._published = published
        self._rules = rules

    def takes(self, secret: str) -> bool:
        """Whether it looks like a token of this kind."""
        return tokens.looks_like_one(secret)

    async def check(self, secret: str, now: float) -> Principal:
        """Who shows this. Raises `Refused`."""
        keys = await self._keys_for(tokens.header(secret), now)
        return tokens.verify(secret, keys, self._rules, now)

    async def _keys_for(self, said: Header, now: float) -> list[Key]:
        own = [key for key in self._keys if key.algorithm == said.algorithm]
        if self._published is None or said.algorithm not in tokens.PUBLISHED_ALGORITHMS:
            return own
        try:
            return [await self._published.find(said.kid, now), *own]
        except Refused:
            if not own:
                raise
            return own
