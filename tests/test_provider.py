"""An identity provider behind the server: its keys, its metadata, its word about opaque tokens; and
what happens when it rotates, lies, is slow or away. The provider is a real server on a free port.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from livelog import Config, Server
from livelog.auth.jwks import COOLDOWN
from livelog.errors import ConfigError
from tests.support.identity import EC_KEY, ED_KEY, RSA_KEY, SECRET, Provider, jwk, provider, token
from tests.support.wire import PATIENCE, Client, House, on_each_loop, on_uvloop, serving, until
from tests.test_authentication import Time, refused

OTHER_KEY = rsa.generate_private_key(65537, 2048)


def signed(kid: str | None = "one", key: Any = RSA_KEY, **more: Any) -> str:
    """A token of the provider."""
    return token(algorithm="RS256", key=key, kid=kid, **more)


async def shown(house: House, text: str) -> Client:
    """A client that has shown a token."""
    client = await house.client()
    await client.tell("authenticate", token=text)
    return client


async def taken(house: House, text: str) -> bool:
    """Whether a token is taken; when not, the client is told and closed."""
    client = await shown(house, text)
    event = await client.event()
    if event["action"] == "error":
        assert event["error_code"] in (4001, 4002, 1011)
        assert (await client.closed())[1] == event["error_code"]
    return bool(event["action"] == "authenticated")


# Published keys.


@on_each_loop
async def test_keys_are_found_where_they_are_published_and_fetched_once() -> None:
    async with provider() as issuer:
        issuer.keys = [jwk(RSA_KEY, "one"), jwk(EC_KEY, "two"), jwk(ED_KEY, "three")]
        async with serving(jwks_url=f"{issuer.url}/keys") as house:
            for kid, algorithm in (("one", "RS256"), ("two", "ES256"), ("three", "EdDSA")):
                for _ in range(3):
                    assert await taken(house, token(algorithm=algorithm, kid=kid))
            assert not await taken(house, token(algorithm="RS256", kid="two"))
            assert not await taken(house, token(algorithm="HS256", kid="one"))
            assert not await taken(house, token(algorithm="RS256"))
        assert issuer.asked == ["/keys"]


@on_uvloop
async def test_a_key_without_a_name_is_enough_when_there_is_one() -> None:
    async with provider() as issuer, serving(jwks_url=f"{issuer.url}/keys") as house:
        assert await taken(house, signed(kid=None))


@on_uvloop
async def test_keys_that_rotate_are_fetched_when_a_token_names_them() -> None:
    clock = Time()
    async with provider() as issuer, serving(jwks_url=f"{issuer.url}/keys", clock=clock) as house:
        new = signed("two", OTHER_KEY)
        issuer.keys.append(jwk(OTHER_KEY, "two"))
        clock.now += COOLDOWN
        several = [await shown(house, new) for _ in range(5)]
        for client in several:
            assert (await client.event())["action"] == "authenticated"
        assert await taken(house, signed())
        assert issuer.count("/keys") == 2
        issuer.keys.pop(0)  # withdrawn: noticed with the next look
        clock.now += COOLDOWN
        assert not await taken(house, signed("three"))
        assert not await taken(house, signed("one"))


@on_uvloop
async def test_made_up_key_ids_cost_the_provider_nothing() -> None:
    clock = Time()
    async with provider() as issuer, serving(jwks_url=f"{issuer.url}/keys", clock=clock) as house:
        clock.now += COOLDOWN
        for number in range(20):
            client = await shown(house, signed(f"made-up-{number}"))
            assert await refused(client) == (4001, "the token is signed with an unknown key")
        assert issuer.count("/keys") == 2


@on_uvloop
async def test_keys_are_looked_at_now_and_then_without_anybody_waiting() -> None:
    clock = Time()
    async with provider() as issuer, serving(jwks_url=f"{issuer.url}/keys", clock=clock) as house:
        clock.now += 601
        text = signed(exp=clock.now + 1000)
        issuer.keys = [jwk(OTHER_KEY, "two")]
        assert await taken(house, text)
        await until(lambda: issuer.count("/keys") == 2, "another look")
        deadline = time.monotonic() + PATIENCE
        while await taken(house, text):
            assert time.monotonic() < deadline


@on_uvloop
async def test_a_provider_that_goes_away_takes_nobody_with_it() -> None:
    clock = Time()
    faults = ["keeping the old keys of"]
    async with (
        provider() as issuer,
        serving(
            jwks_url=f"{issuer.url}/keys", clock=clock, jwks_max_age=1000, faults=faults
        ) as house,
    ):
        good = signed(exp=clock.now + 5000)
        stays = await shown(house, good)
        assert (await stays.event())["action"] == "authenticated"
        await issuer.stop()
        clock.now += 900
        assert await taken(house, good)
        client = await shown(house, signed("unknown"))
        error = await client.reply("error")
        assert (error["error_code"], await client.closed()) == (1011, ("server_error", 1011))
        assert "the identity provider does not answer" in error["details"]["issue"]
        http = await house.http()
        answer = await http.ask("GET", "/api/history", Authorization=f"Bearer {signed('unknown')}")
        assert (answer.status, answer.headers["retry-after"]) == (503, "10")
        clock.now += 200  # now the keys are too old
        assert not await taken(house, good)
        assert await stays.everything() == []
        await issuer.start()
        clock.now += COOLDOWN
        assert await taken(house, good)


# Issuers.


@on_uvloop
async def test_an_issuer_says_itself_where_its_keys_are() -> None:
    async with provider() as issuer:
        settings: dict[str, Any] = {"oauth_issuer": issuer.url, "jwt_audience": "livelog"}
        async with serving(**settings) as house:
            assert house.server.trust == "authenticated: OAuth2"
            assert await taken(house, signed(iss=issuer.url, aud="livelog"))
            assert not await taken(house, signed(iss="https://other", aud="livelog"))
            assert not await taken(house, signed(aud="livelog"))
            assert not await taken(house, signed(iss=issuer.url, aud="shop"))


@on_uvloop
async def test_an_issuer_with_a_path_has_its_metadata_behind_it() -> None:
    async with provider() as issuer:
        issuer.metadata = {"issuer": f"{issuer.url}/realm"}
        with pytest.raises(ConfigError, match=r"--oauth-issuer: .*/realm/.well-known/.*status 404"):
            await begun(oauth_issuer=f"{issuer.url}/realm")
        assert issuer.asked == [
            "/realm/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server/realm",
        ]


# Opaque tokens.


def opaque(issuer: Provider) -> dict[str, Any]:
    """Settings with which opaque tokens are looked up."""
    client_id, secret = issuer.client
    return {
        "introspection_url": f"{issuer.url}/introspect",
        "introspection_client_id": client_id,
        "introspection_client_secret": secret,
    }


@on_each_loop
async def test_an_opaque_token_is_looked_up_and_remembered_for_a_while() -> None:
    clock = Time()
    async with provider() as issuer, serving(**opaque(issuer), clock=clock) as house:
        ends = clock.now + 500
        issuer.tokens["abc"] = {"active": True, "sub": "u1", "scope": "read", "exp": ends}
        client = await shown(house, "abc")
        answer = await client.event()
        assert (answer["id"], answer["scopes"]) == ("u1", ["read"])
        assert await taken(house, "abc")
        assert issuer.count("/introspect") == 1
        issuer.tokens.clear()
        clock.now += 61
        assert not await taken(house, "abc")
        assert not await taken(house, "made up")
        assert issuer.count("/introspect") == 3


@on_uvloop
async def test_a_client_is_its_own_subject_and_what_has_no_end_is_asked_again() -> None:
    clock = Time()
    async with provider() as issuer, serving(**opaque(issuer), clock=clock) as house:
        issuer.tokens["abc"] = {"active": True, "client_id": "bot", "scope": "publish"}
        client = await shown(house, "abc")
        answer = await client.event()
        assert answer["id"] == "bot"
        assert "expires" in answer


@on_uvloop
async def test_an_issuer_says_itself_where_tokens_are_looked_up() -> None:
    async with provider() as issuer:
        settings = {**opaque(issuer), "oauth_issuer": issuer.url}
        del settings["introspection_url"]
        async with serving(**settings) as house:
            issuer.tokens["abc"] = {"active": True, "sub": "u1"}
            assert await taken(house, "abc")
            assert await taken(house, signed(iss=issuer.url))
            assert issuer.count("/introspect") == 1


@on_uvloop
async def test_what_cannot_be_looked_up_is_refused_and_may_be_tried_again() -> None:
    async with provider() as issuer, serving(**opaque(issuer)) as house:
        issuer.tokens["abc"] = {"active": True, "sub": "u1"}
        issuer.status = 500
        client = await shown(house, "abc")
        assert (await client.reply("error"))["error_code"] == 1011
        assert await client.closed() == ("server_error", 1011)
        issuer.status = 200
        assert await taken(house, "abc")


@on_uvloop
async def test_a_client_that_leaves_while_its_token_is_looked_up_leaves_nothing() -> None:
    async with provider() as issuer, serving(**opaque(issuer)) as house:
        issuer.patience = 0.3
        client = await shown(house, "abc")
        await until(lambda: issuer.asked, "a question")
        client.reset()
        await house.emptied()


@on_uvloop
async def test_many_at_once_are_each_told_their_own_answer() -> None:
    async with provider() as issuer, serving(**opaque(issuer)) as house:
        for number in range(40):
            issuer.tokens[f"t{number}"] = {"active": True, "sub": f"u{number}"}
        clients = [await shown(house, f"t{number}") for number in range(40)]
        found = [(await client.event())["id"] for client in clients]
        assert found == [f"u{number}" for number in range(40)]


# Several kinds.


@on_uvloop
async def test_the_form_of_a_token_says_of_which_kind_it_is() -> None:
    async with provider() as issuer:
        settings = {**opaque(issuer), "oauth_issuer": issuer.url, "jwt_secret": SECRET}
        async with serving(**settings) as house:
            assert house.server.trust == "authenticated: JWT, OAuth2"
            issuer.tokens["abc"] = {"active": True, "sub": "u1"}
            for text in ("abc", token(iss=issuer.url), signed(iss=issuer.url)):
                assert await taken(house, text)
            assert not await taken(house, token(iss=issuer.url, key="z" * 32))
            assert issuer.count("/introspect") == 1


# At the start.


async def begun(**settings: Any) -> None:
    """Start a server, and stop it."""
    async with Server(Config(port=0, store="memory", **settings)):
        pass


@on_uvloop
async def test_a_provider_that_is_not_there_at_the_start_is_named() -> None:
    async with provider() as issuer:
        url, keys = issuer.url, f"{issuer.url}/keys"
    for settings in ({"jwks_url": keys}, {"oauth_issuer": url}):
        [name] = settings
        with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')}: {url}.* be reached"):
            await begun(**settings)


@pytest.mark.parametrize(
    ("answer", "issue"),
    [
        ({"status": 404}, "HTTP status 404"),
        ({"status": 302, "headers": {"Location": "http://127.0.0.1:1/keys"}}, "HTTP status 302"),
        ({"body": b"<html>"}, "did not answer with a JSON object"),
        ({"body": b"[]"}, "did not answer with a JSON object"),
        ({"body": b'{"a":' * 100_000}, "did not answer with a JSON object"),
        ({"body": b" " * 600_000}, "more than 524288 bytes"),
        ({"body": b"{}"}, "no usable key"),
        ({"keys": [jwk(RSA_KEY, "one", use="enc")]}, "no usable key"),
    ],
    ids=lambda value: str(value)[:40],
)
@on_uvloop
async def test_a_provider_that_does_not_do_its_part_is_named(
    answer: dict[str, Any], issue: str
) -> None:
    async with provider() as issuer:
        for name, value in answer.items():
            setattr(issuer, name, value)
        with pytest.raises(ConfigError, match=f"--jwks-url: .*{issue}") as caught:
            await begun(jwks_url=f"{issuer.url}/keys")
        assert "cannot be reached" not in str(caught.value)


@on_uvloop
async def test_an_issuer_that_calls_itself_otherwise_is_not_believed() -> None:
    async with provider() as issuer:
        issuer.metadata = {"issuer": "https://other"}
        with pytest.raises(ConfigError, match=r"--oauth-issuer: .*metadata of another issuer"):
            await begun(oauth_issuer=issuer.url)


@pytest.mark.parametrize("url", ["keys", "ftp://here/keys", "https://", "http://[", "file:///etc"])
@on_uvloop
async def test_an_address_that_is_none_is_named(url: str) -> None:
    for name in ("jwks_url", "oauth_issuer", "introspection_url"):
        with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')}: must be a URL"):
            await begun(**{name: url, "introspection_client_id": "x"})


@on_uvloop
async def test_a_secret_in_an_address_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        await begun(jwks_url="http://user:hunter2@127.0.0.1:1/keys?key=hunter3")
    assert "must not contain a user or a password" in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        await begun(jwks_url="http://127.0.0.1:1/keys?key=hunter3")
    assert "hunter" not in str(caught.value)


@on_uvloop
async def test_looking_tokens_up_takes_a_name_and_a_place() -> None:
    with pytest.raises(ConfigError, match="--introspection-url: needs --introspection-client-id"):
        await begun(introspection_url="http://127.0.0.1:1/")
    with pytest.raises(ConfigError, match="--introspection-client-id: needs --introspection-url"):
        await begun(jwt_secret=SECRET, introspection_client_id="x")


@on_uvloop
async def test_a_provider_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import aiohttp

    from livelog.auth import provider as provider_module

    monkeypatch.setattr(provider_module, "_TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    async with provider() as issuer:
        issuer.patience = 5
        with pytest.raises(ConfigError, match=r"--jwks-url: .* did not answer in 0\.2 seconds"):
            await begun(jwks_url=f"{issuer.url}/keys")
