"""The authenticator: all configured kinds of credentials behind one call.

The form of a credential decides which check gets it: an API key begins with `lk_`, a JSON Web Token
has three parts, and anything else goes to the identity provider (introspection).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from livelog.auth import apikeys
from livelog.auth.apikeys import Keys
from livelog.auth.credentials import MAX_BYTES, Credential, failed, invalid
from livelog.auth.keyfile import KeyFile
from livelog.auth.principal import Principal
from livelog.auth.signin import SignIn
from livelog.errors import RefusedError
from livelog.wire.erasure import is_pseudonym


class Check(Protocol):
    """The check of one kind of credential."""

    def takes(self, secret: str) -> bool:
        """Return whether `secret` has the form of this kind."""

    async def check(self, secret: str, now: float) -> Principal:
        """Return the principal of `secret`. Raises `RefusedError`."""


class ApiKeyCheck:
    """The check of API keys, against the keys in a file."""

    def __init__(self, file: KeyFile) -> None:
        self._file = file

    def takes(self, secret: str) -> bool:
        """Return whether `secret` has the form of an API key."""
        return apikeys.looks_like_one(secret)

    async def check(self, secret: str, now: float) -> Principal:
        """Return the principal of `secret`. Raises `RefusedError`."""
        try:
            return apikeys.find(self._file.keys(now), secret, now)
        except RefusedError:  # whatever the reason, so that timing does not tell it
            return apikeys.find(self._file.keys(now, at_once=True), secret, now)

    def stands(self, principal: Principal, now: float) -> bool:
        """Return whether the principal's API key, if it came with one, is still in the file."""
        return principal.key is None or principal.key in self._file.keys(now)

    def reload(self) -> tuple[str, str] | None:
        """Read the file now; return the ids of the keys before and after, None if nothing changed.

        Raises `OSError` and `ValueError`.
        """
        before, after = self._file.reload()
        return None if before == after else (_named(before), _named(after))


def _named(keys: Keys) -> str:
    ids = ", ".join(sorted(keys)[:_NAMED])
    return f"{len(keys)} ({ids}{', …' if len(keys) > _NAMED else ''})" if keys else "none"


_NAMED = 20
"""Keys whose ids are listed."""


class Authenticator:
    """The configured checks: the first of `checks` that takes a credential decides.

    `clock` returns Unix time, `end` releases what the checks hold. `sign_in` says how the viewer's
    page signs its readers in; None if it does not.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        api_keys: ApiKeyCheck | None,
        clock: Callable[[], float],
        end: Callable[[], Awaitable[None]],
        sign_in: SignIn | None = None,
    ) -> None:
        self._checks = checks
        self._api_keys = api_keys
        self._clock = clock
        self._end = end
        self.sign_in = sign_in

    async def check(self, credential: Credential) -> Principal:
        """Return the principal of a credential.

        Raises `RefusedError`: 4000, 4001 or 4002; 1011 while the provider does not answer.
        """
        secret = credential.api_key or credential.token
        if not secret:
            raise failed("authenticate with a token or an API key")
        if len(secret.encode(errors="surrogatepass")) > MAX_BYTES:
            raise invalid(f"the credential is longer than {MAX_BYTES} bytes")
        for check in self._checks:
            if check.takes(secret) and (not credential.api_key or check is self._api_keys):
                return _named_well(await check.check(secret, self._clock()))
        raise invalid("credentials of this kind are not accepted here")

    def reload(self) -> tuple[str, str] | None:
        """Read the API keys again now; return which there were and which there are.

        None if nothing changed or there are no such keys. Raises `OSError` and `ValueError`.
        """
        return None if self._api_keys is None else self._api_keys.reload()

    def stands(self, principal: Principal) -> bool:
        """Return False once the principal's API key has been revoked.

        Tokens cannot be revoked here: they are valid until they expire.
        """
        return self._api_keys is None or self._api_keys.stands(principal, self._clock())

    async def close(self) -> None:
        """Stop the checks and close their connections to the provider."""
        await self._end()


def _named_well(principal: Principal) -> Principal:
    """Refuse the id of an erased user, whose direct messages it would read."""
    if is_pseudonym(principal.id):
        raise invalid("the id is kept for an erased user: erased_ and eight characters")
    return principal
