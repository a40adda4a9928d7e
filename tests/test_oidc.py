"""Real tokens of a real OAuth2 server: the npm package oidc-provider, as a process beside."""

from __future__ import annotations

import base64
import json
import select
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livelog import ConnectionEndedError, RefusedError, connect
from tests.support.browser import Viewer, chromium, hosting
from tests.support.follower import NODE
from tests.support.wire import PATIENCE, Json, on_uvloop, serving, user

SERVER = Path(__file__).parent / "support" / "js" / "provider.mjs"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the OAuth2 server; skipped where it is not to be had."""
    npm = shutil.which("npm")
    if npm is None or NODE is None:
        pytest.skip("there is no npm to get `oidc-provider`")
    place = tmp_path_factory.mktemp("oidc")
    install = [npm, "install", "--prefix", str(place), "--no-audit", "--no-fund"]
    try:
        subprocess.run([*install, "oidc-provider@8"], check=True, capture_output=True, timeout=120)
    except (subprocess.SubprocessError, OSError):
        pytest.skip("`npm install oidc-provider` failed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [NODE, str(SERVER), str(place / "node_modules"), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], PATIENCE)
        assert readable
        assert process.stdout.readline() == "ready\n"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def asked(url: str, **form: str) -> Json:
    """Ask the OAuth2 server as the bot, and return the answer."""
    who = base64.b64encode(b"bot:the+secret+of+the+bot").decode()
    body = urllib.parse.urlencode(form).encode()
    question = urllib.request.Request(url, body, {"Authorization": f"Basic {who}"})
    with urllib.request.urlopen(question, timeout=PATIENCE) as answer:
        text = answer.read()
    found: Json = json.loads(text) if text else {}
    return found


def token(issuer: str, kind: str, scope: str = "read publish") -> str:
    """An access token: a `jwt` or an `opaque` one."""
    resource = f"http://livelog.example/{kind}"
    grant = {"grant_type": "client_credentials", "scope": scope, "resource": resource}
    return str(asked(f"{issuer}/token", **grant)["access_token"])


def settings(issuer: str) -> dict[str, Any]:
    """The settings of a server that uses this issuer."""
    return {
        "oauth_issuer": issuer,
        "jwt_audience": "livelog",
        "introspection_client_id": "livelog",
        "introspection_client_secret": "the secret of livelog",
    }


@pytest.mark.parametrize("kind", ["jwt", "opaque"])
def test_its_tokens_let_in_and_say_what_is_allowed(issuer: str, kind: str) -> None:
    @on_uvloop
    async def check() -> None:
        async with serving(**settings(issuer)) as house:
            full, reader = token(issuer, kind), token(issuer, kind, "read")
            assert (full.count(".") == 2) == (kind == "jwt")
            async with connect(house.server.url, token=full) as log:
                await log.publish(user("mine", user_id="bot"))
                with pytest.raises(RefusedError, match="publish:any"):
                    await log.publish(user("not mine"))
            async with connect(house.server.url, token=reader) as log:
                assert (await log.history()).total == 1
                with pytest.raises(RefusedError, match="publish:user"):
                    await log.publish(user("mine", user_id="bot"))

    check()


@pytest.mark.browser
def test_the_viewer_signs_its_reader_in_and_out(issuer: str) -> None:
    options = ("--oauth-issuer", issuer, "--jwt-audience", "livelog", "--jwt-leeway", "0")
    aimed = ("--viewer-client-id", "viewer", "--viewer-resource", "http://livelog.example/jwt")
    with (
        hosting("--store", "memory", *options, *aimed) as host,
        chromium() as browser,
    ):
        viewer = Viewer(browser.new_page())
        page = viewer.page
        page.goto(f"{host.url}?types=user")
        page.locator("#sign-in").click()
        page.locator("[name=login]").fill("ann")
        page.locator("[name=password]").fill("any")
        page.locator("button[type=submit]").click()
        page.locator("button[type=submit]").click()  # consent
        page.wait_for_url(f"{host.url}?types=user")
        viewer.until_connection("Connected")
        with page.expect_response(f"{issuer}/token") as renewal:
            pass
        assert renewal.value.status == 200
        viewer.until_connection("Connected")
        page.locator("#account").click()
        assert "ann" in viewer.text("#account-values")
        page.locator("#sign-out").click()
        page.locator("button[name=logout]").click()
        page.locator("#sign-in").wait_for()
        assert page.url == host.url


def test_a_token_that_was_withdrawn_is_refused(issuer: str) -> None:
    @on_uvloop
    async def check() -> None:
        async with serving(**settings(issuer)) as house:
            text = token(issuer, "opaque")
            asked(f"{issuer}/token/revocation", token=text)
            for wrong in (text, token(issuer, "jwt")[:-6]):
                with pytest.raises(ConnectionEndedError) as caught:
                    await connect(house.server.url, token=wrong).__aenter__()
                assert caught.value.code == 4001

    check()
