"""`livelog top`: figures from metrics, what keys do, one frame, and the view in a terminal."""

from __future__ import annotations

import asyncio
import math
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from livelog.cli.top import keyboard
from livelog.cli.top.figures import Figures, Look, parse, read
from livelog.cli.top.view import Act, View
from livelog.errors import RefusedError
from tests.support.command import done
from tests.support.identity import token
from tests.support.moderating import AUTH, entered
from tests.support.nginx import NGINX
from tests.support.process import CLEAN, ROOT
from tests.support.wire import PATIENCE, Json, on_uvloop, serving, until
from tests.test_prefix import proxy

TEXT = """\
# HELP livelog_messages_total Messages.
# TYPE livelog_messages_total counter
livelog_messages_total{type="user"} %d
livelog_messages_total{type="raid"} 3.0
livelog_readers_behind 2.0
livelog_read_seconds_bucket{le="0.001",query="search"} %d
livelog_read_seconds_bucket{le="0.01",query="search"} %d
livelog_read_seconds_bucket{le="+Inf",query="search"} %d
livelog_info{version="a \\"b\\", {c}"} 1.0
process_open_fds 12.0
"""


def look(at: float, *figures: int, rows: list[Json] | None = None) -> Look:
    samples = parse(TEXT % (figures or (0, 0, 0, 0)))
    return Look(at, samples, rows or [], len(rows or []), ())


# The figures.


def test_rates_and_quantiles_are_of_what_came_between_two_looks() -> None:
    figures = Figures(look(10, 100, 50, 60, 60), look(12, 120, 50, 78, 80))
    assert figures.rates("messages_total", "type") == {"user": 10.0, "raid": 0.0}
    assert figures.rate("messages_total") == 10.0
    assert figures.value("readers_behind") == 2
    assert figures.quantile("read_seconds", 0.5, query="search") == 0.01
    assert figures.quantile("read_seconds", 0.9) == 0.01
    assert figures.quantile("read_seconds", 0.95) == math.inf
    assert figures.quantile("read_seconds", 0.5, query="history") is None
    assert figures.values("info", "version") == {'a \\"b\\", {c}': 1.0}


def test_a_first_look_and_a_restart_have_no_rates() -> None:
    first = look(10, 100, 1, 1, 1)
    assert Figures(None, first).rate("messages_total") == 0
    assert Figures(first, look(12, 5, 0, 0, 0)).rate("messages_total") == 0
    assert Figures(first, look(12, 100, 1, 1, 1)).quantile("read_seconds", 0.5) is None


def test_the_reason_why_a_half_is_missing_is_kept() -> None:
    refused = RefusedError(1008, "path", "the scope metrics is missing")
    answer = b'{"action":"admin_result","command":"connections",'
    answer += b'"result":{"connections":[{"id":"c"}],"total_count":7}}'
    found = read(1.0, refused, answer)
    assert (found.total, found.rows, found.samples) == (7, [{"id": "c"}], {})
    assert found.issues == ("no metrics: path: the scope metrics is missing",)
    assert read(1.0, b"livelog_readers_behind 4.0\n", refused).issues[0].startswith("no clients")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b'{"status":"ok","version":"1"}', ""),
        (b'{"status":"degraded","issue":"the disk"}', "degraded: the disk"),
        (b'{"status":"draining"}', "draining"),
        (b"<html>", ""),
        (RefusedError(1008, "", "not for you"), ""),
    ],
)
def test_a_health_that_is_not_good_is_told(answer: bytes | RefusedError, said: str) -> None:
    assert read(1.0, b"", RefusedError(1008, "", ""), answer).health == said


# The keys.


def rows(*names: str) -> list[Json]:
    return [{"id": name} for name in names]


def test_keys_choose_a_client_and_ask_before_it_is_disconnected() -> None:
    view = View("ws://a", "behind")
    view.add(look(1, rows=rows("a", "b", "c")))
    assert view.chosen == "a"
    for key, chosen in [("down", "b"), ("j", "c"), ("j", "c"), ("up", "b"), ("k", "a"), ("k", "a")]:
        assert view.press(key) is Act.NOTHING
        assert view.chosen == chosen
    assert view.press("d") is Act.NOTHING
    assert view.note == "disconnect a? y/n"
    assert view.press("") is Act.NOTHING
    assert view.press("n") is Act.NOTHING
    assert view.note == ""
    view.press("d")
    assert view.press("y") is Act.DISCONNECT
    assert view.press("q") is Act.QUIT


def test_the_chosen_client_stays_chosen_and_no_other_is_hit_in_its_place() -> None:
    view = View("ws://a", "behind")
    view.add(look(1, rows=rows("a", "b", "c")))
    view.press("j")
    view.add(look(2, rows=rows("c", "a", "b")))
    assert view.chosen == "b"
    view.press("d")
    view.add(look(3, rows=rows("c", "a")))
    assert view.note == "the client has gone"
    assert view.press("y") is Act.NOTHING
    view.add(look(4))
    assert view.chosen == ""
    assert view.press("d") is Act.NOTHING
    assert not view.asking


def test_s_goes_through_the_orders() -> None:
    view = View("ws://a", "behind")
    view.add(look(1))
    orders = []
    for _ in range(3):
        assert view.press("s") is Act.LOOK
        orders.append(view.sort)
    assert orders == ["bytes_sent", "since", "behind"]


# The command.


async def top(url: str, scope: str, *options: str) -> subprocess.CompletedProcess[str]:
    ended = await done("top", "--url", url, *options, LIVELOG_TOKEN=token("ops", scope))
    return subprocess.CompletedProcess((), *ended)


@on_uvloop
async def test_one_frame_shows_the_figures_and_the_clients(tmp_path: Path) -> None:
    async with serving(**AUTH, store=str(tmp_path / "live.db")) as house:
        client = await entered(house, "ann")
        await client.ask("subscribe", message_types=["user"])
        house.publish("one", "two")
        await client.contents(2)
        ended = await top(house.server.url, "admin", "--once", "--interval", "0.2")
        assert (ended.returncode, ended.stderr) == (0, "")
        lines = ended.stdout.splitlines()
        assert lines[0].startswith(f"livelog top  {house.server.url}")
        assert "  1 client  " in f"{lines[0]}  "
        shown = {line.split()[0]: line for line in lines[1:] if line.strip()}
        assert shown.keys() >= {
            "messages/s", "deliveries/s", "latency", "searches/s", "slow", "memory", "disk", "USER",
        }  # fmt: skip
        assert "database" in shown["disk"]
        assert "user" in shown["ann"]
        assert "conn_" in shown["ann"]


@on_uvloop
async def test_a_fault_of_the_server_is_shown_in_words() -> None:
    async with serving(**AUTH) as house:
        house.context.log.damage = "2 messages are damaged"
        ended = await top(house.server.url, "admin", "--once", "--interval", "0.2")
        assert "degraded: 2 messages are damaged" in ended.stdout.splitlines()


@pytest.mark.skipif(not Path(NGINX).exists(), reason="there is no nginx")
@on_uvloop
async def test_a_proxy_that_keeps_the_metrics_back_leaves_the_clients(tmp_path: Path) -> None:
    async with serving(**AUTH) as house:
        await entered(house, "ann")
        passed = f"location / {{ proxy_pass http://127.0.0.1:{house.server.port}; }}"
        with proxy(tmp_path, f"location = /metrics {{ return 404; }} {passed}") as port:
            url = f"ws://127.0.0.1:{port}/ws/live-log"
            ended = await top(url, "admin", "--once", "--interval", "0.2")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert "no metrics: the answer is not that of a livelog server" in ended.stdout
        assert "ann" in ended.stdout


@on_uvloop
async def test_half_a_key_shows_half_a_frame_and_says_why() -> None:
    async with serving(**AUTH) as house:
        await entered(house, "ann")
        ended = await top(house.server.url, "metrics", "--once", "--interval", "0.2")
        assert "no clients: command: the scope moderate is missing" in ended.stdout
        assert "messages/s" in ended.stdout
        ended = await top(house.server.url, "moderate", "--once", "--interval", "0.2")
        assert "no metrics: path: the scope metrics is missing" in ended.stdout
        assert "ann" in ended.stdout
        ended = await top(house.server.url, "read", "--once")
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "the scope moderate is missing" in ended.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--interval", "0"], "must be 0.2 to 60 seconds"),
        (["--sort", "size"], "known are: behind, bytes_sent, since"),
        ([], "top needs a terminal"),
    ],
)
@on_uvloop
async def test_wrong_usage_is_named(options: list[str], said: str) -> None:
    async with serving(**AUTH) as house:
        ended = await top(house.server.url, "admin", *options)
        assert ended.returncode != 0
        assert said in ended.stderr
        assert ended.stderr.count("\n") == 1


@on_uvloop
async def test_a_server_that_is_not_there_is_named() -> None:
    ended = await top("ws://127.0.0.1:1/ws/live-log", "admin", "--once")
    assert ended.returncode == 1
    assert "cannot reach ws://127.0.0.1:1" in ended.stderr


@on_uvloop
async def test_a_client_is_disconnected_by_key_and_the_terminal_is_as_before() -> None:
    async with serving(**AUTH) as house:
        client = await entered(house, "ann")
        leader, follower = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "livelog", "top", "--url", house.server.url),
            *("--interval", "0.3"),
            cwd=ROOT,
            env={**CLEAN, "LIVELOG_TOKEN": token("ops", "admin"), "TERM": "xterm"},
            stdin=follower,
            stdout=follower,
            stderr=follower,
        )
        os.close(follower)
        shown = bytearray()
        asyncio.get_running_loop().add_reader(leader, lambda: shown.extend(_more(leader)))
        try:
            await until(lambda: b"conn_" in shown, "a client is shown")
            os.write(leader, b"d")
            await until(lambda: b"y/n" in shown, "the question is shown")
            os.write(leader, b"y")
            assert await client.closed() == ("protocol_error", 1008)
            await until(lambda: not house.inside.websockets, "the client has gone")
            os.write(leader, b"q")
            async with asyncio.timeout(PATIENCE):
                assert await process.wait() == 0
            await until(lambda: b"\x1b[?1049l" in shown, "the screen is as before")
        finally:
            asyncio.get_running_loop().remove_reader(leader)
            os.close(leader)
            if process.returncode is None:
                process.kill()
                await process.wait()


def _more(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # Linux says so when the writers have gone
        asyncio.get_running_loop().remove_reader(leader)
        return b""


def test_keys_that_are_escape_sequences_are_read_as_arrows(monkeypatch: Any) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(follower, "rb", buffering=0) as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", terminal)
        with keyboard.single_keys():
            os.write(leader, b"\x1b[A\x1bOBjq")
            assert [keyboard.key(1.0) for _ in range(4)] == ["up", "down", "j", "q"]
            assert keyboard.key(0.01) == ""
    os.close(leader)
