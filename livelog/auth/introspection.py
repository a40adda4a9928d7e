"""Opaque tokens: the identity provider tells whether they are active (RFC 7662).

Its answers are cached, and checks of one token at a time share a question, so that a client that
reconnects, or sends many HTTP requests, does not cost a round trip each time. A revoked token is
therefore accepted for up to `BELIEVED` seconds more on new connections, and until it expires on a
connection that is open.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from functools import partial
from typing import Any, NamedTuple

from livelog.auth.credentials import invalid, unavailable
from livelog.auth.elapsed import Since, since
from livelog.auth.principal import Principal
from livelog.auth.provider import NoAnswer, Provider
from livelog.auth.tokens import Rules, principal

BELIEVED = 60.0
"""Seconds for which an answer is cached."""
_CACHED = 10_000
"""Maximum answers in the cache; the oldest is evicted."""
UNBOUNDED = 3600.0
"""Seconds for which a token without `exp` counts as valid before the provider is asked again."""


class Endpoint(NamedTuple):
    """The introspection endpoint, and the client credentials livelog uses there."""

    url: str
    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        """Name the client only, so that logs and tracebacks never show the secret."""
        return f"Endpoint({self.client_id})"


class IntrospectionCheck:
    """The check of opaque tokens, with a cache of the provider's answers."""

    def __init__(self, provider: Provider, endpoint: Endpoint, rules: Rules) -> None:
        self._provider = provider
        self._endpoint = endpoint
        self._rules = rules
        self._cache: OrderedDict[bytes, tuple[Principal, Since]] = OrderedDict()
        """SHA-256 of a token → its principal, and since when that is known."""
        self._asking: dict[bytes, asyncio.Task[Principal]] = {}
        """SHA-256 of a token → the question about it that is under way."""

    def takes(self, secret: str) -> bool:
        """Return True: an opaque token has no form, so this check comes last."""
        return True

    async def check(self, secret: str, now: float) -> Principal:
        """Return the principal of an opaque token. Raises `RefusedError`."""
        digest = hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
        if digest in self._cache:
            known, learned = self._cache[digest]
            if learned.elapsed(now) < BELIEVED and now < (known.expires or now):
                return known
        asking = self._asking.get(digest)
        if asking is None:
            asking = asyncio.get_running_loop().create_task(self._learn(digest, secret, now))
            self._asking[digest] = asking
            asking.add_done_callback(partial(self._answered, digest))
        # Shielded: a client that leaves must not cancel the question that others wait for.
        return await asyncio.shield(asking)

    async def close(self) -> None:
        """Cancel the questions under way."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _learn(self, digest: bytes, secret: str, now: float) -> Principal:
        found = self._principal(await self._ask(secret), now)
        self._cache[digest] = found, since(now)
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return found

    def _answered(self, digest: bytes, asking: asyncio.Task[Principal]) -> None:
        del self._asking[digest]
        if not asking.cancelled():
            asking.exception()  # those who still wait raise it; asyncio warns of one nobody saw

    async def _ask(self, secret: str) -> dict[str, Any]:
        url, client_id, client_secret = self._endpoint
        form = {"token": secret, "token_type_hint": "access_token"}
        try:
            return await self._provider.post(url, form, client_id, client_secret)
        except NoAnswer:
            issue = "the token cannot be checked now: the identity provider does not answer"
            raise unavailable(issue) from None

    def _principal(self, answer: dict[str, Any], now: float) -> Principal:
        if answer.get("active") is not True:
            raise invalid("the identity provider says that the token is not active")
        if not self._meant_for_us(answer):
            raise invalid("the token is for another audience or from another issuer")
        # A client that acts for itself is its own subject (RFC 9068 section 2.2).
        named = {"sub": answer.get("sub") or answer.get("client_id")}
        ends = {"exp": answer.get("exp", now + UNBOUNDED)}
        return principal({**answer, **named, **ends}, self._rules, now)

    def _meant_for_us(self, answer: dict[str, Any]) -> bool:
        """Compare issuer and audience, which are both optional in the answer (section 2.2)."""
        issuer, audience = self._rules.issuer, self._rules.audience
        claim = answer.get("aud", audience)
        audiences = claim if isinstance(claim, list) else [claim]
        from_issuer = issuer is None or answer.get("iss", issuer) == issuer
        return from_issuer and (audience is None or audience in audiences)
