"""The authenticator that the settings describe, and the settings with which none is built."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from livelog import Config, Server
from livelog.errors import ConfigError
from tests.support.identity import SECRET, api_key
from tests.support.process import ROOT


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


@pytest.mark.parametrize("name", ["jwt_issuer", "jwt_audience", "introspection_client_id"])
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
        "--jwt-secret: needs jwt, which comes with pip install 'livelog[auth]'"
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
