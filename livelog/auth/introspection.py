"""Opaque tokens: the provider is asked what they are (RFC 7662).

What it says is believed for a while, so that a client that comes back, or asks often over HTTP,
does not cost a question each time. A token that is withdrawn is believed no longer than that by
those who come anew, and until its end on a connection that is open.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, NamedTuple

from livelog.auth.credentials import invalid, unavailable
from livelog.auth.principal import Principal
from livelog.auth.provider import NoAnswer, Provider
from livelog.auth.tokens import Rules, principal

BELIEVED = 60.0
"""Seconds for which an answer holds."""
_REMEMBERED = 10_000
"""Tokens."""
UNBOUNDED = 3600.0
"""Seconds for which a token is good about whose end the provider says nothing; then it is asked
again."""


class Endpoint(NamedTuple):
    """Where to ask, and as whom."""

    url: str
    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        """Never the secret."""
        return f"Endpoint({self.client_id})"


class IntrospectionCheck:
    """Asks the provider, and remembers what it said."""

    def __init__(self, provider: Provider, endpoint: Endpoint, rules: Rules) -> None:
        self._provider = provider
        self._endpoint = endpoint
        self._rules = rules
        self._remembered: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()

    def takes(self, secret: str) -> bool:
        """An opaque token has no form."""
        return True

    async def check(self, secret: str, now: float) -> Principal:
        """Who shows this. Raises `RefusedError`."""
        digest = hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
        who, until = self._remembered.get(digest, (None, 0.0))
        if who is None or not now < until:
            who = self._who(await self._ask(secret), now)
            until = min(now + BELIEVED, who.expires or now)
            self._remembered[digest] = (who, until)
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return who

    async def _ask(self, secret: str) -> dict[str, Any]:
        url, client_id, client_secret = self._endpoint
        form = {"token": secret, "token_type_hint": "access_token"}
        try:
            return await self._provider.post(url, form, client_id, client_secret)
        except NoAnswer:
            raise unavailable("it cannot be checked now: the identity provider is away") from None

    def _who(self, answer: dict[str, Any], now: float) -> Principal:
        if answer.get("active") is not True:
            raise invalid("the identity provider does not know it, or not any more")
        if not self._meant_for_us(answer):
            raise invalid("it is meant for another audience, or comes from another issuer")
        # A client that acts for itself is its own subject (RFC 9068 section 2.2).
        named = {"sub": answer.get("sub") or answer.get("client_id")}
        ends = {"exp": answer.get("exp", now + UNBOUNDED)}
        return principal({**answer, **named, **ends}, self._rules, now)

    def _meant_for_us(self, answer: dict[str, Any]) -> bool:
        """Both may be left out: the provider answers only those it means to (section 2.2)."""
        issuer, audience = self._rules.issuer, self._rules.audience
        said = answer.get("aud", audience)
        audiences = said if isinstance(said, list) else [said]
        from_issuer = issuer is None or answer.get("iss", issuer) == issuer
        return from_issuer and (audience is None or audience in audiences)
