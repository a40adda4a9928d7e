"""The keys that a provider publishes: fetched, kept, and fetched again when they change.

A key that is not known is a reason to look again, though not more often than every `COOLDOWN`, so
made-up key ids cost the provider nothing. Keys are looked at again now and then, in the background.
While the provider does not answer, those that are known go on until they are `max_age` old.
"""

from __future__ import annotations

import asyncio
import logging

from livelog.auth.credentials import invalid, unavailable
from livelog.auth.provider import NoAnswer, Provider, shown
from livelog.auth.tokens import Key, published_keys

_log = logging.getLogger(__name__)
COOLDOWN = 10.0
"""Seconds between two looks at the least."""
REFRESH = 600.0
"""Seconds after which keys are looked at again, at the latest at half of their age."""


class KeySet:
    """The keys at `url`. Timestamps are Unix time."""

    def __init__(self, provider: Provider, url: str, max_age: float) -> None:
        self._provider = provider
        self._url = url
        self._max_age = max_age
        self._refresh = min(REFRESH, max_age / 2)
        self._keys: dict[str | None, Key] = {}
        self._fetched = 0.0
        self._tried = 0.0
        self._failure = ""
        self._fetching: asyncio.Task[None] | None = None

    async def fetch(self, now: float) -> None:
        """Raises `NoAnswer` or `ValueError` when there are no keys."""
        self._tried = now
        self._keys = published_keys(await self._provider.get(self._url))
        self._fetched = now
        self._failure = ""

    async def find(self, kid: str | None, now: float) -> Key:
        """The key of this id; without an id the only one there is.

        Raises `RefusedError`: 4001 when there is none, 1011 when that cannot be known.
        """
        too_old = now >= self._fetched + self._max_age
        key = None if too_old else self._known(kid)
        if key is None:
            if fetching := self._look_again(now):
                await asyncio.shield(fetching)
            key = self._known(kid) if now < self._fetched + self._max_age else None
        elif now >= self._fetched + self._refresh:
            self._look_again(now)
        if key is not None:
            return key
        if self._failure:
            raise unavailable("the key cannot be looked up now: the identity provider is away")
        raise invalid("the key that it names is not known")

    def _known(self, kid: str | None) -> Key | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def _look_again(self, now: float) -> asyncio.Task[None] | None:
        """The look that is under way; a new one, unless the last one was just now."""
        if self._fetching is None and not self._tried <= now < self._tried + COOLDOWN:
            self._fetching = asyncio.get_running_loop().create_task(self._fetch_again(now))
        return self._fetching

    async def _fetch_again(self, now: float) -> None:
        try:
            await self.fetch(now)
        except (NoAnswer, ValueError) as failure:
            self._failure = str(failure)
            _log.warning("the keys at %s stay as they are: %s", shown(self._url), failure)
        finally:
            self._fetching = None

    async def close(self) -> None:
        """Look no more."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
