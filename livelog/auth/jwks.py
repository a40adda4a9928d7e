"""The JWK set that an identity provider publishes (RFC 7517), cached.

An unknown key id causes a fetch, because providers rotate their keys. Any client can send a token
with a made-up key id, so there is a cool-down: at most one fetch every `COOLDOWN` seconds,
successful or not, and requests that come during a fetch share it. The price is that a key published
just after a fetch is accepted up to `COOLDOWN` seconds late.

The set is also refreshed in the background. While the provider does not answer, cached keys stay
valid until they are `max_age` old.
"""

from __future__ import annotations

import asyncio
import logging

from livelog.auth.credentials import invalid, unavailable
from livelog.auth.elapsed import since
from livelog.auth.provider import NoAnswer, Provider, shown
from livelog.auth.tokens import Key, published_keys

_log = logging.getLogger(__name__)
COOLDOWN = 10.0
"""Minimum seconds between two fetches."""
REFRESH = 600.0
"""Seconds after which the set is refreshed in the background; half of `max_age` if that is less."""


class KeySet:
    """The JWK set at `url`. Times are Unix time."""

    def __init__(self, provider: Provider, url: str, max_age: float) -> None:
        self._provider = provider
        self._url = url
        self._max_age = max_age
        self._refresh = min(REFRESH, max_age / 2)
        self._keys: dict[str | None, Key] = {}
        self._fetched = since(0.0)  # the last fetch that succeeded
        self._attempted = 0.0  # time of the last fetch
        self._failure = ""  # of the last fetch; empty when it succeeded
        self._fetching: asyncio.Task[None] | None = None

    async def fetch(self, now: float) -> None:
        """Fetch the set. Raises `NoAnswer` or `ValueError` when there are no usable keys."""
        self._attempted = now
        self._keys = published_keys(await self._provider.get(self._url))
        self._fetched = since(now)
        self._failure = ""

    async def find(self, kid: str | None, now: float) -> Key:
        """Return the key with this id; without an id the only key of the set.

        Raises `RefusedError`: 4001 for an unknown key, 1011 while the provider does not answer.
        """
        key = self._known(kid, now)
        if key is None:
            if fetching := self._refetch(now):
                # Shielded: a client that leaves must not cancel the fetch that others wait for.
                await asyncio.shield(fetching)
            key = self._known(kid, now)
        elif self._fetched.elapsed(now) >= self._refresh:
            self._refetch(now)
        if key is not None:
            return key
        if self._failure:
            issue = "the key cannot be fetched now: the identity provider does not answer"
            raise unavailable(issue)
        raise invalid("the token is signed with an unknown key")

    def _known(self, kid: str | None, now: float) -> Key | None:
        """Return the key with this id, unless the set is too old."""
        if self._fetched.elapsed(now) >= self._max_age:
            return None
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def _refetch(self, now: float) -> asyncio.Task[None] | None:
        """Return the fetch under way, or a new one; None during the cool-down."""
        # A clock that was set back must not prolong the cool-down, hence the lower bound.
        cooling_down = self._attempted <= now < self._attempted + COOLDOWN
        if self._fetching is None and not cooling_down:
            self._fetching = asyncio.get_running_loop().create_task(self._fetch_or_log(now))
        return self._fetching

    async def _fetch_or_log(self, now: float) -> None:
        try:
            await self.fetch(now)
        except (NoAnswer, ValueError) as failure:
            self._failure = str(failure)
            _log.warning("keeping the old keys of %s: %s", shown(self._url), failure)
        finally:
            self._fetching = None

    async def close(self) -> None:
        """Cancel the fetch under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
