"""A reload: what is in force at once, what needs a restart, and what is kept when it fails."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from livelog import Config, ConfigError, Server
from livelog.config import logs
from livelog.config.live import LIVE, Change, differences, with_live
from livelog.net.reload import Reloaded
from tests.support.identity import api_key
from tests.support.process import Start, ended, port_of, ready
from tests.support.tls import make_certificate
from tests.support.wire import House, Http, on_uvloop, only_faults, soon


class Sources:
    """Settings that a test changes while the server runs."""

    def __init__(self, **settings: Any) -> None:
        self.settings = {"port": 0, "store": "memory", **settings}

    def __call__(self) -> Config:
        return Config(**self.settings)


async def running(sources: Sources, act: Callable[[House], Any], *said: str) -> None:
    with only_faults(*said):
        house = House(Server(sources(), reread=sources))
        await house.server.start()
        try:
            await act(house)
        finally:
            await house.close()


# The settings.


def test_what_can_be_changed_at_once_is_taken_and_the_rest_kept() -> None:
    old = Config(port=9000, message_limit=5, allowed_origins="https://a.org", ping_interval=3)
    new = Config(port=9001, command_limit=7, log_level="error")
    live = with_live(old, new)
    assert live == Config(port=9000, command_limit=7, log_level="error", ping_interval=3)
    assert dict(differences(old, new)) == {
        "port": Change("9000", "9001"),
        "allowed_origins": Change('"https://a.org"', '""'),
        "ping_interval": Change("3.0", "20"),
        "message_limit": Change("5", "100"),
        "command_limit": Change("10", "7"),
        "log_level": Change('"info"', '"error"'),
    }


def test_a_secret_and_the_credentials_in_an_address_are_not_shown() -> None:
    old = Config(jwt_secret="x" * 40, jwks_url="https://me:hush@idp/keys?k=1")
    new = Config(jwt_secret="y" * 40, jwks_url="https://me:hush2@idp/keys")
    assert dict(differences(old, new)) == {
        "jwt_secret": Change('"…"', '"…"'),
        "jwks_url": Change('"https://…@idp/keys?…"', '"https://…@idp/keys"'),
    }


def test_equal_lists_that_are_written_otherwise_do_not_differ() -> None:
    old, new = Config(trusted_proxies="::1,unix"), Config(trusted_proxies="::1 , unix")
    assert not [*differences(old, new)]


def test_limits_origins_and_the_level_are_live_and_the_switch_is_not() -> None:
    assert {"message_limit", "block_seconds", "allowed_origins", "log_level"} <= LIVE
    assert not LIVE & {"limits", "port", "store", "jwt_secret"}


# The server.


@on_uvloop
async def test_a_limit_holds_for_connections_that_are_open() -> None:
    sources = Sources(command_limit=2)

    async def act(house: House) -> None:
        client = await house.client()
        for _ in range(2):
            assert (await client.ask("get_history"))["action"] in ("history", "rate_limit")
        sources.settings["command_limit"] = 50
        report = house.server.reload()
        assert report == Reloaded(changed={"command_limit": Change("2", "50")})
        assert house.server.config.limits.command_limit == 50
        # It has used all of the old limit, and so all of the new one, which refills faster.
        await client.tell("get_history")
        refused = await client.reply("error")
        assert refused["details"]["retry_after_seconds"] <= 60 / 50
        fresh = await house.client()
        for _ in range(20):
            assert (await fresh.ask("get_history"))["action"] == "history"
        sources.settings["command_limit"] = 2
        house.server.reload()
        for _ in range(3):
            await fresh.tell("get_history")
        told = [await fresh.event() for _ in range(3)]
        assert 4003 in [each.get("error_code") for each in told]

    await running(sources, act, "reloaded command_limit")


@on_uvloop
async def test_the_settings_in_force_are_known_whoever_has_reloaded_them() -> None:
    sources = Sources(command_limit=2)

    async def act(house: House) -> None:
        sources.settings["command_limit"] = 50
        answer = await house.server.admin("reload")
        assert answer.result["changed"] == {"command_limit": {"before": "2", "after": "50"}}
        assert house.server.config.limits.command_limit == 50
        assert house.server.reload() == Reloaded()

    await running(sources, act, "reloaded command_limit")


@on_uvloop
async def test_origins_hold_for_the_next_request() -> None:
    sources = Sources()

    async def act(house: House) -> None:
        http = await house.http()
        page = {"Origin": "https://page.example"}
        assert (await http.ask("GET", "/api/history", **page)).status == 403
        sources.settings["allowed_origins"] = "https://page.example"
        assert house.server.reload().changed.keys() == {"allowed_origins"}
        http = await house.http()
        assert (await http.ask("GET", "/api/history", **page)).status == 200

    await running(sources, act, "reloaded allowed_origins")


@on_uvloop
async def test_what_needs_a_restart_is_told_each_time_and_does_not_hold() -> None:
    sources = Sources()

    async def act(house: House) -> None:
        port = house.server.port
        sources.settings.update(ping_interval=7, limits=False)
        told = {"ping_interval": Change("20", "7.0"), "limits": Change("true", "false")}
        for _ in range(2):
            assert house.server.reload() == Reloaded(restart=told)
        assert house.server.config.net.ping_interval == 20
        assert house.server.port == port

    await running(sources, act, "ping_interval needs a restart", "limits needs a restart")


@on_uvloop
async def test_one_part_that_fails_holds_up_no_other(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    api_key(keys)
    old, new = make_certificate(tmp_path, "old"), make_certificate(tmp_path, "new")
    tls = {"tls_cert": str(old.cert), "tls_key": str(old.key)}
    sources = Sources(api_keys=str(keys), **tls)
    broken: list[bool] = []

    def reread() -> Config:
        if broken:
            raise ConfigError("--config f: it is broken")
        return sources()

    with only_faults("keeping the old", "reloaded the certificate", "reloaded the API keys"):
        server = Server(sources(), reread=reread)
        async with server:
            assert server.reload() == Reloaded()
            broken.append(True)
            os.replace(new.cert, old.cert)  # without its key
            api_key(keys, "another")
            report = server.reload()
            assert report.failed["config"] == "--config f: it is broken"
            assert "do not match" in report.failed["certificate"]
            assert report.changed.keys() == {"api_keys"}
            assert report.changed["api_keys"].after.startswith("2 (")
            keys.write_text("nonsense")
            os.replace(new.key, old.key)
            report = server.reload()
            assert report.failed.keys() == {"config", "api_keys"}
            assert report.changed.keys() == {"certificate"}
            assert report.changed["certificate"].before != report.changed["certificate"].after


@on_uvloop
async def test_a_program_without_sources_reads_only_the_files_again(tmp_path: Path) -> None:
    server = Server(Config(port=0, store="memory"))
    assert server.reload() == Reloaded()
    async with server:
        assert server.reload() == Reloaded()


# The command.


@pytest.fixture
def configured() -> Iterator[None]:
    yield
    logging.getLogger("livelog").setLevel(logging.NOTSET)
    logs._configured.clear()


def test_the_level_is_set_only_when_it_has_changed(configured: None) -> None:
    logging.getLogger("livelog").setLevel(logging.DEBUG)

    @on_uvloop
    async def main() -> None:
        sources = Sources()

        async def act(house: House) -> None:
            house.server.reload()
            assert logging.getLogger("livelog").level == logging.DEBUG
            sources.settings["log_level"] = "error"
            house.server.reload()
            assert logging.getLogger("livelog").level == logging.ERROR

        await running(sources, act, "reloaded log_level")

    main()


def test_the_command_reads_its_file_again_on_sighup_and_says_so(
    start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "livelog.toml"
    file.write_text("")
    process = start("--port", "0", "--config", str(file), "--log-format", "json")
    port = port_of(ready(process))
    file.write_text('command_limit = 3\nping_interval = 5\nallowed_origins = "https://a.org"\n')
    process.send_signal(signal.SIGHUP)
    assert process.stderr is not None
    told = [json.loads(process.stderr.readline())["message"] for _ in range(3)]
    assert told == [
        'reloaded allowed_origins: "https://a.org", was ""',
        "reloaded command_limit: 3, was 10",
        "ping_interval needs a restart: 5.0, is still 20",
    ]
    file.write_text("comand_limit = 3\n")
    process.send_signal(signal.SIGHUP)
    line = json.loads(process.stderr.readline())
    assert line["level"] == "error"
    assert line["message"].startswith("keeping the old settings: --config ")

    @on_uvloop
    async def check() -> None:
        http = await Http.connect(("127.0.0.1", port))
        answer = await soon(http.ask("GET", "/healthz", Origin="https://a.org"))
        http.close()
        assert answer.headers["access-control-allow-origin"] == "https://a.org"

    check()
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0
