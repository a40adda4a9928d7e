"""Tells who somebody is by what they show: all kinds of proof that are in use, behind one door.

The form of a credential says which kind it is for: an API key begins with `lk_`, a JSON Web Token
has three parts, and for anything else the provider is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from livelog.auth import apikeys
from livelog.auth.credentials import MAX_BYTES, Credential, failed, invalid
from livelog.auth.keyfile import KeyFile
from livelog.auth.principal import Principal


class Check(Protocol):
    """One kind of proof."""

    def takes(self, secret: str) -> bool:
        """Whether it looks like one of this kind."""

    async def check(self, secret: str, now: float) -> Principal:
        """Who shows this. Raises `RefusedError`."""


class ApiKeyCheck:
    """The keys in a file."""

    def __init__(self, file: KeyFile) -> None:
        self._file = file

    def takes(self, secret: str) -> bool:
        """Whether it looks like an API key."""
        return apikeys.looks_like_one(secret)

    async def check(self, secret: str, now: float) -> Principal:
        """Who shows this. Raises `RefusedError`."""
        return apikeys.find(self._file.keys(now), secret, now)

    def stands(self, principal: Principal, now: float) -> bool:
        """Whether the key by which somebody came is still there."""
        return principal.key is None or principal.key in self._file.keys(now)


class Authenticator:
    """`checks` in the order in which they are asked. `clock` tells Unix time."""

    def __init__(
        self,
        checks: Sequence[Check],
        api_keys: ApiKeyCheck | None,
        clock: Callable[[], float],
        end: Callable[[], Awaitable[None]],
    ) -> None:
        self._checks = checks
        self._api_keys = api_keys
        self._clock = clock
        self._end = end

    async def check(self, credential: Credential) -> Principal:
        """Raises `RefusedError`: 4000, 4001 or 4002, and 1011 where it cannot be known now."""
        secret = credential.api_key or credential.token
        if not secret:
            raise failed("authenticate with a token or an API key")
        if len(secret) > MAX_BYTES:
            raise invalid(f"it is longer than {MAX_BYTES} bytes")
        for check in self._checks:
            if check.takes(secret) and (not credential.api_key or check is self._api_keys):
                return await check.check(secret, self._clock())
        raise invalid("it is not of a kind that is taken here")

    def stands(self, principal: Principal) -> bool:
        """Whether what somebody has shown was not withdrawn since, as far as it is known here."""
        return self._api_keys is None or self._api_keys.stands(principal, self._clock())

    async def close(self) -> None:
        """Ask nobody any more."""
        await self._end()
