"""Signing in to the viewer, at the server: the settings, what the page is told, and its policy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from livelog import Config, Server
from livelog.errors import ConfigError
from tests.support.identity import SECRET, Provider, provider
from tests.support.wire import on_uvloop, serving


def endpoints(issuer: Provider, **more: Any) -> dict[str, Any]:
    """The part of its metadata that concerns pages."""
    named = {f"{name}_endpoint": f"{issuer.url}/{name}" for name in ("authorization", "token")}
    return {**named, **more}


def settings(issuer: Provider, **more: Any) -> dict[str, Any]:
    """Those of a server whose viewer signs in there."""
    return {"oauth_issuer": issuer.url, "viewer_client_id": "viewer", **more}


async def refusal(**given: Any) -> str:
    """Return why a server with these settings does not start."""
    with pytest.raises(ConfigError) as caught:
        async with Server(Config(port=0, store="memory", **given)):
            pass
    return str(caught.value)


@on_uvloop
async def test_the_page_is_told_where_to_sign_in_and_may_ask_there() -> None:
    async with provider() as issuer:
        issuer.metadata = endpoints(
            issuer,
            token_endpoint="https://Token.Example.org:443/oauth/token",
            end_session_endpoint="https://id.example.org/end",
            authorization_response_iss_parameter_supported=True,
        )
        more = {"viewer_scopes": "read offline_access", "introspection_client_secret": "hidden"}
        more |= {"introspection_client_id": "server"}
        more |= {"viewer_audience": "the log", "viewer_resource": "https://log.example.org/"}
        async with serving(**settings(issuer, **more)) as house:
            http = await house.http()
            answer = await http.ask("GET", "/api/sign-in")
            assert json.loads(answer.body) == {
                "issuer": issuer.url,
                "client_id": "viewer",
                "scopes": "read offline_access",
                "authorization_endpoint": f"{issuer.url}/authorization",
                "token_endpoint": "https://Token.Example.org:443/oauth/token",
                "end_session_endpoint": "https://id.example.org/end",
                "names_issuer": True,
                "target": {"audience": "the log", "resource": "https://log.example.org/"},
            }
            for path in ("/", "/viewer/sign-in.html"):
                policy = (await http.ask("GET", path)).headers["content-security-policy"]
                assert "connect-src 'self' https://token.example.org;" in policy
                assert "id.example.org" not in policy


@pytest.mark.parametrize("given", [{}, {"jwt_secret": SECRET}])
@on_uvloop
async def test_without_a_client_there_is_no_way_to_sign_in(given: dict[str, Any]) -> None:
    async with serving(**given) as house:
        http = await house.http()
        assert json.loads((await http.ask("GET", "/api/sign-in")).body) == {}
        policy = (await http.ask("GET", "/")).headers["content-security-policy"]
        assert "connect-src 'self';" in policy


@on_uvloop
async def test_an_issuer_where_no_page_can_sign_in_is_refused() -> None:
    async with provider() as issuer:
        for name in ("authorization_endpoint", "token_endpoint"):
            issuer.metadata = endpoints(issuer)
            del issuer.metadata[name]
            issue = f"--viewer-client-id: the issuer's metadata has no {name}"
            assert await refusal(**settings(issuer)) == issue
        for methods in (["plain"], [], None, "S256"):
            issuer.metadata = endpoints(issuer, code_challenge_methods_supported=methods)
            issue = "does not offer the code challenge method S256"
            assert issue in await refusal(**settings(issuer))
        for wrong in ("ftp://x/", "https://u:p@x/", "https://a b/", "https://x;script-src *", 5):
            issuer.metadata = endpoints(issuer, token_endpoint=wrong)
            assert (await refusal(**settings(issuer))).startswith("--viewer-client-id: ")


@on_uvloop
async def test_a_setting_without_effect_is_refused() -> None:
    only = {"jwt_secret": SECRET, "viewer_client_id": "viewer"}
    assert await refusal(**only) == "--viewer-client-id: needs --oauth-issuer"
    refinements = {"viewer_scopes": "read", "viewer_audience": "a", "viewer_resource": "urn:a"}
    for name, value in refinements.items():
        issue = f"--{name.replace('_', '-')}: needs --viewer-client-id"
        assert await refusal(**{"jwt_secret": SECRET, name: value}) == issue
        assert await refusal(**{name: value}) == issue


@pytest.mark.parametrize("scopes", ["", " ", "a  b", "a\tb", 'a"b', "a\\b", "ä", "a "])
def test_scopes_are_words_of_the_standard(scopes: str) -> None:
    with pytest.raises(ConfigError, match="--viewer-scopes: "):
        Config(viewer_scopes=scopes)


@pytest.mark.parametrize(
    "resource", ["log", "/log", "urn:", "https://log.example.org/#x", "urn: a"]
)
def test_a_resource_is_an_absolute_uri_without_a_fragment(resource: str) -> None:
    with pytest.raises(ConfigError, match="--viewer-resource: "):
        Config(viewer_resource=resource)
