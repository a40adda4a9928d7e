"""The authenticator that the settings describe, and the settings with which none is built."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from livelog import Config, Server
from livelog.auth import factory, jwtcheck, keyfile, signin
from livelog.auth import provider as http
from livelog.auth.authenticator import Authenticator
from livelog.auth.credentials import Credential
from livelog.config.access import Auth
from livelog.errors import INVALID_TOKEN, TOKEN_EXPIRED, ConfigError, RefusedError
from tests.support.clock import Clock
from tests.support.identity import RSA_KEY, SECRET, Provider, api_key, pem, provider, token
from tests.support.process import ROOT
from tests.support.wire import on_uvloop

NOW = 1_000_000.0


@asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[Authenticator]:
    """The authenticator that these settings describe, at `NOW`."""
    made = await factory.opened(Config(**settings), Clock(NOW))
    assert made is not None
    try:
        yield made
    finally:
        await made.close()


async def refusal(authenticator: Authenticator, **credential: str) -> int:
    """Return the code with which a credential is refused."""
    with pytest.raises(RefusedError) as caught:
        await authenticator.check(Credential(**credential))
    return caught.value.code


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[http.Provider]:
    """The HTTP clients that are made meanwhile."""
    made: list[http.Provider] = []

    class Noted(http.Provider):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(jwtcheck, "Provider", Noted)
    return made


def introspection(issuer: Provider) -> dict[str, Any]:
    """Return the settings of a server that asks `issuer` about opaque tokens."""
    client_id, secret = issuer.client
    return {
        "introspection_url": f"{issuer.url}/introspect",
        "introspection_client_id": client_id,
        "introspection_client_secret": secret,
    }


# Kinds.


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], []),
        (["jwt_secret"], ["JWT"]),
        (["jwt_public_key"], ["JWT"]),
        (["jwks_url"], ["JWT"]),
        (["oauth_issuer"], ["OAuth2"]),
        (["introspection_url"], ["OAuth2"]),
        (["api_keys"], ["API keys"]),
        (["api_keys", "jwks_url", "jwt_secret"], ["JWT", "API keys"]),
        (["introspection_url", "oauth_issuer", "jwt_secret"], ["JWT", "OAuth2"]),
        (["jwt_issuer", "introspection_client_id"], []),
    ],
    ids=str,
)
def test_each_kind_in_use_is_named_once(settings: list[str], expected: list[str]) -> None:
    assert factory.kinds(Config(**dict.fromkeys(settings, "x"))) == expected


def test_every_text_among_the_settings_turns_authentication_on_or_refines_it() -> None:
    texts = {field.name for field in msgspec.structs.fields(Auth) if field.default == ""}
    refining = {*factory._ADDITIONS, *signin._REFINEMENTS} - {"viewer_scopes"}  # has a default
    assert texts == {*factory._KINDS, *refining}


@on_uvloop
async def test_without_settings_there_is_no_authenticator() -> None:
    assert await factory.opened(Config(), Clock()) is None


# The checks.


@on_uvloop
async def test_api_keys_alone_accept_nothing_else(
    tmp_path: Path, clients: list[http.Provider]
) -> None:
    file = tmp_path / "keys.json"
    secret = api_key(file)
    async with opened(api_keys=str(file)) as authenticator:
        principal = await authenticator.check(Credential(api_key=secret))
        assert principal.id == "bot"
        assert await refusal(authenticator, token=token(exp=NOW + 1)) == INVALID_TOKEN
        assert await refusal(authenticator, token="opaque") == INVALID_TOKEN
        assert authenticator.stands(principal)
    assert clients == []


@on_uvloop
async def test_a_revoked_key_no_longer_stands(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    secret = api_key(file)
    clock = Clock(NOW)
    made = await factory.opened(Config(api_keys=str(file), jwt_secret=SECRET), clock)
    assert made is not None
    principal = await made.check(Credential(api_key=secret))
    with keyfile.changing(str(file)) as keys:
        keys.clear()
    clock.now += 1
    assert not made.stands(principal)
    await made.close()


@on_uvloop
async def test_tokens_alone_accept_no_api_key(tmp_path: Path) -> None:
    secret = api_key(tmp_path / "keys.json")
    async with opened(jwt_secret=SECRET) as authenticator:
        assert (await authenticator.check(Credential(token=token(exp=NOW + 1)))).id == "u1"
        assert await refusal(authenticator, token=secret) == INVALID_TOKEN
        assert await refusal(authenticator, api_key=secret) == INVALID_TOKEN


@on_uvloop
async def test_the_provider_is_asked_about_what_is_neither_an_api_key_nor_a_jwt(
    tmp_path: Path,
) -> None:
    file = tmp_path / "keys.json"
    secret = api_key(file)
    async with provider() as issuer:
        settings = {**introspection(issuer), "jwt_secret": SECRET, "api_keys": str(file)}
        async with opened(**settings) as authenticator:
            assert (await authenticator.check(Credential(token=secret))).id == "bot"
            assert (await authenticator.check(Credential(token=token(exp=NOW + 1)))).id == "u1"
            for wrong in (secret[:-1], token(key="x" * 32)):
                assert await refusal(authenticator, token=wrong) == INVALID_TOKEN
            assert issuer.asked == []
            assert await refusal(authenticator, token="opaque") == INVALID_TOKEN
            assert issuer.asked == ["/introspect"]


@on_uvloop
async def test_tokens_are_checked_with_the_configured_rules_and_clock(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pem(RSA_KEY))
    rules = {"jwt_issuer": "https://id", "jwt_audience": "livelog", "jwt_leeway": 5}
    async with opened(jwt_public_key=str(file), **rules) as authenticator:

        async def code(**said: Any) -> int:
            all_said = {"iss": "https://id", "aud": "livelog", "exp": NOW + 1, **said}
            return await refusal(authenticator, token=token(algorithm="RS256", **all_said))

        ours = token(algorithm="RS256", iss="https://id", aud="livelog", exp=NOW - 4.9)
        assert (await authenticator.check(Credential(token=ours))).expires == NOW + 0.1
        assert await code(exp=NOW - 5) == TOKEN_EXPIRED
        assert await code(iss="https://other") == INVALID_TOKEN
        assert await code(aud="shop") == INVALID_TOKEN


@on_uvloop
async def test_closing_closes_the_connections_to_the_provider(
    clients: list[http.Provider],
) -> None:
    async with opened(jwt_secret=SECRET):
        [client] = clients
        assert not client._session.closed
    assert client._session.closed


@on_uvloop
async def test_a_start_that_fails_leaves_no_connection_open(clients: list[http.Provider]) -> None:
    async with provider() as issuer:
        issuer.status = 500
        with pytest.raises(ConfigError, match=r"--jwks-url: .* HTTP status 500"):
            await factory.opened(Config(jwks_url=f"{issuer.url}/keys"), Clock(NOW))
        [client] = clients
        assert client._session.closed


# Settings that are refused.


def wrong(**settings: Any) -> str:
    """Return the text about settings with which no server starts."""

    async def start() -> None:
        async with Server(Config(port=0, store="memory", **settings)):
            pass

    with pytest.raises(ConfigError) as caught:
        asyncio.run(start())
    return str(caught.value)


def test_a_secret_that_is_too_short_is_refused() -> None:
    assert wrong(jwt_secret="hunter2") == "--jwt-secret: must have at least 32 bytes, not 7"


def test_an_invalid_key_file_is_refused(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.write_bytes(b"")
    for name in ("jwt_public_key", "api_keys"):
        for file in (missing, empty, tmp_path):
            said = wrong(**{name: str(file)})
            assert said.startswith(f"--{name.replace('_', '-')}: {file}")


@pytest.mark.parametrize(
    "name",
    [
        "jwt_issuer",
        "jwt_audience",
        "introspection_client_id",
        "introspection_client_secret",
        "viewer_client_id",
    ],
)
def test_a_setting_that_has_no_effect_by_itself_is_refused(name: str) -> None:
    assert "has an effect only with" in wrong(**{name: "x"})


def test_without_the_extra_tokens_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = ("livelog.auth.tokens", "livelog.auth.jwtcheck")
    for name in [name for name in sys.modules if name in extra]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("livelog.auth.tokens", raising=False)
    monkeypatch.delattr("livelog.auth.jwtcheck", raising=False)
    monkeypatch.setitem(sys.modules, "jwt", None)
    assert wrong(jwt_secret=SECRET) == (
        "--jwt-secret: needs jwt, which comes with pip install 'livelog-server[auth]'"
    )


def test_a_server_without_tokens_does_not_need_the_extra(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    api_key(file)
    code = f"""
import asyncio, sys
for name in ("jwt", "cryptography", "aiohttp"):
    sys.modules[name] = None
import livelog.cli.keys, livelog.client
from livelog import Config, Server

async def start(**settings):
    async with Server(Config(port=0, store="memory", **settings)) as server:
        print(server.trust)

asyncio.run(start())
asyncio.run(start(api_keys={str(file)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "open: no authentication\nauthenticated: API keys\n", done.stderr
