"""Opaque tokens: which answers of the provider count, and for how long they are cached."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from livelog.auth import elapsed, introspection
from livelog.auth import provider as http
from livelog.auth.introspection import BELIEVED, UNBOUNDED, Endpoint, IntrospectionCheck
from livelog.auth.tokens import Rules
from livelog.errors import INVALID_TOKEN, SERVER_ERROR, TOKEN_EXPIRED, RefusedError
from tests.support.identity import Json, Provider, provider
from tests.support.wire import on_uvloop, serving
from tests.test_provider import opaque, taken

NOW = 1_000_000.0
ACTIVE: Json = {"active": True, "sub": "u1", "scope": "read openid", "exp": NOW + 1000}
NO_RULES = Rules()
OURS = Rules("https://id", "livelog")


@asynccontextmanager
async def asking(
    answer: Json | None = None, rules: Rules = NO_RULES, secret: str | None = None
) -> AsyncIterator[tuple[Provider, IntrospectionCheck]]:
    """A provider that gives this answer about the token `abc`, and the check that asks it."""
    async with provider() as issuer:
        if answer is not None:
            issuer.tokens["abc"] = answer
        client_id, its_secret = issuer.client
        endpoint = Endpoint(f"{issuer.url}/introspect", client_id, secret or its_secret)
        client = http.Provider()
        try:
            check = IntrospectionCheck(client, endpoint, rules)
            yield issuer, check
            await check.close()
        finally:
            await client.close()


async def refusal(check: IntrospectionCheck, secret: str = "abc", now: float = NOW) -> RefusedError:
    """Return the refusal of a token."""
    with pytest.raises(RefusedError) as caught:
        await check.check(secret, now)
    return caught.value


# Answers.


@on_uvloop
async def test_an_active_token_has_a_principal() -> None:
    async with asking(ACTIVE, Rules(leeway=5)) as (issuer, check):
        found = await check.check("abc", NOW)
        assert found.id == "u1"
        assert found.scopes == {"read"}
        assert (found.expires, found.key, found.open) == (NOW + 1005, None, False)
        assert issuer.asked == ["/introspect"]


@pytest.mark.parametrize(
    "said",
    [
        {"active": False},
        {"active": "true"},
        {"active": 1},
        {},
        {"active": True},
        {"active": True, "sub": "u1", "exp": 1},
        {"active": True, "sub": "u1", "aud": "shop"},
        {"active": True, "sub": "u1", "iss": "https://other"},
        {"active": True, "sub": "u1", "nbf": 4_000_000_000},
        {"active": True, "sub": ["u1"]},
    ],
    ids=str,
)
@on_uvloop
async def test_a_token_that_is_not_ours_or_not_active_is_refused(said: dict[str, Any]) -> None:
    async with provider() as issuer:
        rules: dict[str, Any] = {"jwt_audience": "livelog", "jwt_issuer": "https://id"}
        async with serving(**opaque(issuer), **rules) as house:
            issuer.tokens["abc"] = said
            assert not await taken(house, "abc")


@pytest.mark.parametrize("active", [False, None, 1, "true", [True]], ids=str)
@on_uvloop
async def test_only_true_means_active(active: object) -> None:
    async with asking({**ACTIVE, "active": active}) as (_, check):
        refused = await refusal(check)
        assert refused.code == INVALID_TOKEN
        assert refused.issue == "the identity provider says that the token is not active"


WRONG: list[Json] = [{"aud": "shop"}, {"aud": []}, {"aud": None}, {"iss": "https://other"}]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"aud": "livelog"},
        {"aud": ["shop", "livelog"]},
        {"iss": "https://id"},
        {"aud": ["livelog"], "iss": "https://id"},
    ],
    ids=str,
)
@on_uvloop
async def test_issuer_and_audience_may_be_absent_but_not_wrong(more: Json) -> None:
    async with asking({**ACTIVE, **more}, OURS) as (issuer, check):
        assert (await check.check("abc", NOW)).id == "u1"
        for wrong in WRONG:
            issuer.tokens["def"] = {**ACTIVE, **more, **wrong}
            refused = await refusal(check, "def")
            assert refused.code == INVALID_TOKEN
            assert "another audience or from another issuer" in refused.issue


@on_uvloop
async def test_without_rules_any_issuer_and_audience_counts() -> None:
    async with asking({**ACTIVE, "aud": "shop", "iss": "https://other"}) as (_, check):
        assert (await check.check("abc", NOW)).id == "u1"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"client_id": "bot"}, "u1"),
        ({"client_id": "bot", "sub": None}, "bot"),
        ({"client_id": "bot", "sub": ""}, "bot"),
    ],
)
@on_uvloop
async def test_a_client_is_the_subject_where_there_is_no_user(more: Json, expected: str) -> None:
    async with asking({**ACTIVE, **more}) as (_, check):
        assert (await check.check("abc", NOW)).id == expected


@on_uvloop
async def test_a_token_without_an_end_is_valid_for_a_bounded_time() -> None:
    answer = {name: value for name, value in ACTIVE.items() if name != "exp"}
    async with asking(answer) as (_, check):
        assert (await check.check("abc", NOW)).expires == NOW + UNBOUNDED


@pytest.mark.parametrize("failure", [{"status": 500}, {"body": b"yes"}], ids=str)
@on_uvloop
async def test_without_an_answer_a_token_may_be_tried_again(failure: dict[str, Any]) -> None:
    async with asking(ACTIVE) as (issuer, check):
        for name, value in failure.items():
            setattr(issuer, name, value)
        refused = await refusal(check)
        assert (refused.code, refused.retry_after) == (SERVER_ERROR, 10)
        assert "abc" not in str(refused)


@on_uvloop
async def test_a_provider_that_does_not_know_the_server_gives_no_answer() -> None:
    async with asking(ACTIVE, secret="hunter2") as (_, check):
        refused = await refusal(check)
        assert refused.code == SERVER_ERROR
        assert "hunter2" not in str(refused)


def test_an_endpoint_hides_its_secret() -> None:
    endpoint = Endpoint("https://id/introspect", "livelog", "hunter2")
    assert repr(endpoint) == str(endpoint) == "Endpoint(livelog)"


# The cache.


@on_uvloop
async def test_an_answer_is_cached_for_a_bounded_time() -> None:
    async with asking(ACTIVE) as (issuer, check):
        first = await check.check("abc", NOW)
        issuer.tokens.clear()
        assert await check.check("abc", NOW + BELIEVED - 0.1) is first
        assert issuer.count("/introspect") == 1
        assert (await refusal(check, now=NOW + BELIEVED)).code == INVALID_TOKEN
        assert issuer.count("/introspect") == 2


@on_uvloop
async def test_an_answer_is_not_cached_beyond_the_end_of_the_token() -> None:
    async with asking({**ACTIVE, "exp": NOW + 30}, Rules(leeway=5)) as (issuer, check):
        await check.check("abc", NOW)
        await check.check("abc", NOW + 34.9)
        assert issuer.count("/introspect") == 1
        assert (await refusal(check, now=NOW + 35)).code == TOKEN_EXPIRED


@on_uvloop
async def test_asking_again_begins_another_time_in_the_cache() -> None:
    async with asking(ACTIVE) as (issuer, check):
        for second in (0, BELIEVED, 2 * BELIEVED - 0.1, 2 * BELIEVED):
            await check.check("abc", NOW + second)
        assert issuer.count("/introspect") == 3


@on_uvloop
async def test_a_cached_answer_outlasts_a_provider_that_goes_away() -> None:
    async with asking(ACTIVE) as (issuer, check):
        await check.check("abc", NOW)
        await issuer.stop()
        assert (await check.check("abc", NOW + 1)).id == "u1"
        assert (await refusal(check, "def", NOW + 1)).code == SERVER_ERROR


@on_uvloop
async def test_a_refusal_is_not_cached() -> None:
    async with asking() as (issuer, check):
        assert (await refusal(check)).code == INVALID_TOKEN
        issuer.tokens["abc"] = ACTIVE
        assert (await check.check("abc", NOW)).id == "u1"


@on_uvloop
async def test_the_oldest_answer_is_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "_CACHED", 2)
    async with asking() as (issuer, check):
        issuer.tokens = {name: {**ACTIVE, "sub": name} for name in ("a", "b", "c")}
        for name in ("a", "b", "c", "c", "b"):
            assert (await check.check(name, NOW)).id == name
        assert issuer.count("/introspect") == 3
        await check.check("a", NOW)
        assert issuer.count("/introspect") == 4
        assert len(check._cache) == 2


@on_uvloop
async def test_the_cache_holds_no_token_in_the_clear() -> None:
    async with asking(ACTIVE) as (_, check):
        await check.check("abc", NOW)
        assert check._cache
        assert "abc" not in repr(vars(check))


# Sharing a question, and clocks.


@on_uvloop
async def test_checks_of_one_token_at_a_time_share_a_question() -> None:
    async with asking(ACTIVE) as (issuer, check):
        issuer.patience = 0.2
        first = asyncio.create_task(check.check("abc", NOW))
        others = [asyncio.create_task(check.check("abc", NOW)) for _ in range(9)]
        await asyncio.sleep(0.05)
        first.cancel()  # a client that leaves does not take the answer from the others
        assert {(await other).id for other in others} == {"u1"}
        assert issuer.count("/introspect") == 1
        unknown = [asyncio.create_task(check.check("no", NOW)) for _ in range(5)]
        refused = await asyncio.gather(*unknown, return_exceptions=True)
        assert all(isinstance(each, RefusedError) for each in refused)
        assert issuer.count("/introspect") == 2
        assert not check._asking


@on_uvloop
async def test_a_clock_that_is_set_back_does_not_keep_an_answer_in_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with asking(ACTIVE) as (issuer, check):
        await check.check("abc", NOW)
        later = time.monotonic() + BELIEVED
        monkeypatch.setattr(elapsed, "time", SimpleNamespace(monotonic=lambda: later))
        await check.check("abc", NOW - 3600)
        assert issuer.count("/introspect") == 2


@pytest.mark.parametrize("claim", ["scope", "scp", "scopes"])
@on_uvloop
async def test_scopes_are_read_wherever_a_provider_puts_them(claim: str) -> None:
    answer = {"active": True, "sub": "u1", "exp": NOW + 1000, claim: ["read", "x\u00a0admin"]}
    async with asking(answer) as (issuer, check):
        assert (await check.check("abc", NOW)).scopes == {"read"}
        issuer.tokens["def"] = {**answer, claim: 7}
        assert (await refusal(check, "def")).issue.startswith(f"{claim} must be words")


@pytest.mark.parametrize("exp", ["1e400", "NaN", "-1", "9" * 400, '"soon"', "null", "[]", "true"])
@on_uvloop
async def test_an_end_that_cannot_be_is_refused(exp: str) -> None:
    async with asking(ACTIVE) as (issuer, check):
        issuer.body = b'{"active": true, "sub": "u1", "exp": %s}' % exp.encode()
        assert (await refusal(check)).code in (INVALID_TOKEN, SERVER_ERROR)
        issuer.body = b'{"active": true, "sub": "u1", "exp": 9007199254740991}'
        assert (await check.check("abc", NOW)).expires == 2**53 - 1
