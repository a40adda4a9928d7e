"""The cached JWK set: when it is fetched, by how many, and how long its keys stay valid.

Its effect on clients is in test_provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from livelog.auth import provider as http
from livelog.auth.jwks import COOLDOWN, REFRESH, KeySet
from livelog.errors import INVALID_TOKEN, SERVER_ERROR, RefusedError
from tests.support.identity import EC_KEY, ED_KEY, Json, Provider, jwk, provider
from tests.support.wire import on_each_loop, on_uvloop, soon, until

NOW = 1_000_000.0
MAX_AGE = 5000.0
ONE, TWO, THREE = jwk(EC_KEY, "one"), jwk(EC_KEY, "two"), jwk(ED_KEY, "three")


@asynccontextmanager
async def published(
    *keys: Json, max_age: float = MAX_AGE
) -> AsyncIterator[tuple[Provider, KeySet]]:
    """A provider, and its key set as fetched at `NOW`."""
    async with provider() as issuer:
        issuer.keys = [*keys]
        client = http.Provider()
        found = KeySet(client, f"{issuer.url}/keys", max_age)
        try:
            await found.fetch(NOW)
            yield issuer, found
        finally:
            await found.close()
            await client.close()


async def refusal(keys: KeySet, kid: str | None, now: float) -> RefusedError:
    """Return the refusal of a token with this key id."""
    with pytest.raises(RefusedError) as caught:
        await keys.find(kid, now)
    return caught.value


# Key ids.


@on_uvloop
async def test_a_known_key_is_returned_without_a_fetch() -> None:
    async with published(ONE, THREE) as (issuer, keys):
        assert (await keys.find("one", NOW + COOLDOWN)).algorithm == "ES256"
        assert (await keys.find("three", NOW + COOLDOWN)).algorithm == "EdDSA"
        assert issuer.count("/keys") == 1


@on_uvloop
async def test_without_an_id_the_only_key_is_meant_and_of_several_none() -> None:
    async with published(ONE) as (issuer, keys):
        assert (await keys.find(None, NOW)).algorithm == "ES256"
        issuer.keys.append(THREE)
        await keys.fetch(NOW)
        assert (await refusal(keys, None, NOW)).code == INVALID_TOKEN


@on_uvloop
async def test_an_unknown_id_is_refused_even_when_there_is_only_one_key() -> None:
    async with published(ONE) as (_, keys):
        refused = await refusal(keys, "two", NOW)
        assert (refused.code, refused.retry_after) == (INVALID_TOKEN, None)


# The cool-down.


@on_uvloop
async def test_an_unknown_id_causes_a_fetch_once_the_cool_down_is_over() -> None:
    async with published(ONE) as (issuer, keys):
        issuer.keys.append(TWO)
        assert (await refusal(keys, "two", NOW + COOLDOWN - 0.1)).code == INVALID_TOKEN
        assert issuer.count("/keys") == 1
        assert await keys.find("two", NOW + COOLDOWN)
        assert issuer.count("/keys") == 2


@on_uvloop
async def test_a_fetch_that_finds_nothing_new_begins_another_cool_down() -> None:
    async with published(ONE) as (issuer, keys):
        for second in range(int(3 * COOLDOWN)):
            assert (await refusal(keys, f"made-up-{second}", NOW + second)).code == INVALID_TOKEN
        assert issuer.count("/keys") == 3


@on_uvloop
async def test_a_fetch_that_fails_begins_a_cool_down_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with published(ONE) as (issuer, keys):
        issuer.status = 500
        at = NOW + COOLDOWN
        for second in range(int(COOLDOWN)):
            assert (await refusal(keys, "two", at + second)).code == SERVER_ERROR
        assert issuer.count("/keys") == 2
        issuer.status, issuer.keys = 200, [ONE, TWO]
        assert await keys.find("two", at + COOLDOWN)
        assert (await refusal(keys, "three", at + COOLDOWN)).code == INVALID_TOKEN
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        f"keeping the old keys of {issuer.url}/keys: "
        f"{issuer.url}/keys answered with HTTP status 500"
    )


@on_uvloop
async def test_a_clock_that_is_set_back_does_not_prolong_the_cool_down() -> None:
    async with published(ONE) as (issuer, keys):
        issuer.keys.append(TWO)
        assert await keys.find("two", NOW - 3600)
        assert issuer.count("/keys") == 2


# Shared fetches.


@on_each_loop
async def test_requests_that_come_during_a_fetch_share_it() -> None:
    async with published(ONE) as (issuer, keys):
        issuer.keys.append(TWO)
        at = NOW + COOLDOWN
        first = asyncio.create_task(keys.find("two", at))
        for _ in range(2):
            await asyncio.sleep(0)  # the request begins, then its fetch
        assert keys._attempted == at
        found = await soon(asyncio.gather(first, *(keys.find("two", at) for _ in range(4))))
        assert [key.algorithm for key in found] == ["ES256"] * 5
        assert issuer.count("/keys") == 2


@on_each_loop
async def test_a_request_that_is_cancelled_does_not_end_the_fetch_of_the_others() -> None:
    async with published(ONE) as (issuer, keys):
        issuer.keys.append(TWO)
        leaves, stays = (asyncio.create_task(keys.find("two", NOW + COOLDOWN)) for _ in range(2))
        await asyncio.sleep(0)  # both wait for the fetch now
        leaves.cancel()
        assert (await soon(stays)).algorithm == "ES256"
        assert leaves.cancelled()
        assert issuer.count("/keys") == 2


@on_each_loop
async def test_closing_cancels_the_fetch_under_way() -> None:
    async with published(ONE) as (_, keys):
        before = asyncio.all_tasks()
        waiting = asyncio.create_task(keys.find("two", NOW + COOLDOWN))
        await asyncio.sleep(0)  # the fetch has a task of its own now
        [fetch] = asyncio.all_tasks() - before - {waiting}
        await keys.close()
        assert fetch.cancelled()
        await asyncio.wait([waiting])
        assert waiting.cancelled()


# Age.


@on_uvloop
async def test_an_old_set_is_refreshed_behind_a_request_that_is_answered_at_once() -> None:
    async with published(ONE) as (issuer, keys):
        issuer.keys = [TWO]
        assert await keys.find("one", NOW + REFRESH - 0.1)
        assert issuer.count("/keys") == 1
        assert await keys.find("one", NOW + REFRESH)
        assert issuer.count("/keys") == 1  # the answer did not wait for the fetch
        await until(lambda: "two" in keys._keys, "the refreshed set")
        assert issuer.count("/keys") == 2
        assert (await refusal(keys, "one", NOW + REFRESH)).code == INVALID_TOKEN


@on_uvloop
async def test_a_set_that_may_not_get_old_is_refreshed_at_half_of_its_age() -> None:
    async with published(ONE, max_age=100) as (issuer, keys):
        assert await keys.find("one", NOW + 49.9)
        assert keys._fetching is None
        assert await keys.find("one", NOW + 50)
        await until(lambda: issuer.count("/keys") == 2, "a refresh")


@on_uvloop
async def test_cached_keys_stay_valid_until_they_are_too_old() -> None:
    async with published(ONE) as (issuer, keys):
        issuer.status = 500
        assert await keys.find("one", NOW + MAX_AGE - 0.1)
        await until(lambda: keys._failure, "a failed refresh")
        refused = await refusal(keys, "one", NOW + MAX_AGE)
        assert (refused.code, refused.retry_after) == (SERVER_ERROR, 10)
        issuer.status = 200
        assert await keys.find("one", NOW + MAX_AGE + COOLDOWN)


@on_uvloop
async def test_keys_that_are_too_old_are_fetched_before_they_are_used() -> None:
    async with published(ONE) as (issuer, keys):
        issuer.keys = [TWO]
        assert (await refusal(keys, "one", NOW + MAX_AGE)).code == INVALID_TOKEN
        assert issuer.count("/keys") == 2
        assert await keys.find("two", NOW + MAX_AGE)


@pytest.mark.parametrize("wrong", [{"kid": ["a list"]}, {"kid": {}}, {"alg": "none"}, {"n": 7}])
@on_uvloop
async def test_a_set_without_usable_keys_leaves_the_old_ones(wrong: Json) -> None:
    async with published(ONE) as (issuer, keys):
        issuer.keys = [{**ONE, "kty": "RSA" if "n" in wrong else "EC", **wrong}]
        refused = await refusal(keys, "two", NOW + COOLDOWN)
        assert refused.code == SERVER_ERROR
        assert (await keys.find("one", NOW + COOLDOWN)).algorithm == "ES256"
