"""`livelog doctor`: what it says of a good server, and of each thing that may be wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from livelog import cli
from livelog.cli.doctor import examine
from livelog.cli.doctor.finding import Finding
from livelog.cli.doctor.target import Target
from livelog.wire import WEBSOCKET_PATH
from tests.support.command import done
from tests.support.identity import SECRET, api_key
from tests.support.nginx import HERE, NGINX
from tests.support.ports import free_port
from tests.support.tls import make_certificate
from tests.support.wire import House, Json, on_uvloop, serving
from tests.test_prefix import UPGRADES, proxy

needs_nginx = pytest.mark.skipif(not Path(NGINX).exists(), reason="there is no nginx")


async def found(url: str, token: str | None = None, idle: float = 0) -> dict[str, Finding]:
    """The findings by their subject; the last of each."""
    findings = await asyncio.to_thread(lambda: list(examine(Target(url, token), idle)))
    return {finding.text.partition(":")[0]: finding for finding in findings}


def url_of(house: House) -> str:
    return house.server.url


@contextmanager
def behind(house: House, folder: Path, settings: str) -> Iterator[str]:
    """The address of a server behind an nginx with these settings."""
    upstream = f"proxy_pass http://{HERE}:{house.server.port};"
    with proxy(folder, f"location / {{ {upstream} {settings} }}") as port:
        yield f"ws://{HERE}:{port}/ws/live-log"


@on_uvloop
async def test_of_a_good_server_all_is_good() -> None:
    async with serving() as house:
        [seq] = house.publish("one")
        findings = await found(url_of(house), idle=0.3)
        assert all(finding.good for finding in findings.values()), findings
        expected = ["network", "health", "WebSocket", "round trip", "clock", "resume"]
        assert list(findings) == [*expected, "HTTP stream", "open files", "idle"]
        assert str(seq) in findings["resume"].text


@on_uvloop
async def test_an_empty_server_has_nothing_to_resume_from() -> None:
    async with serving() as house:
        findings = await found(url_of(house))
        assert findings["resume"] == Finding(True, "resume: there is no message yet to resume from")


@on_uvloop
async def test_a_server_with_keys_says_who_one_is_or_asks_for_one(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key, watcher = api_key(file, "ann"), api_key(file, "eve", "read metrics")
    async with serving(api_keys=str(file)) as house:
        house.publish("one")
        findings = await found(url_of(house), key, idle=0.2)
        assert all(finding.good for finding in findings.values()), findings
        assert findings["authentication"].text.endswith("you are ann; scopes: publish, read")
        assert "open files" not in findings
        assert (await found(url_of(house), watcher))["open files"].good
        for wrong in (None, "lk_wrong"):
            refused = await found(url_of(house), wrong)
            assert not refused["authentication"].good


@on_uvloop
async def test_a_clock_that_differs_is_told() -> None:
    async with serving(clock=lambda: time.time() - 90) as house:
        clock = (await found(url_of(house)))["clock"]
        assert not clock.good
        assert "behind" in clock.text
        assert "90." in clock.text or "89.9" in clock.text


@on_uvloop
async def test_a_name_that_is_not_allowed_is_told() -> None:
    async with serving(allowed_hosts="live.example.com") as house:
        findings = await found(url_of(house))
        assert not findings["HTTP"].good
        assert "--allowed-hosts" in findings["HTTP"].text


@on_uvloop
async def test_a_certificate_that_is_not_trusted_and_a_port_without_tls(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    async with serving(tls_cert=str(files.cert), tls_key=str(files.key)) as house:
        tls = (await found(url_of(house)))["TLS"]
        assert not tls.good
        assert "not trusted" in tls.text
    async with serving() as house:
        tls = (await found(url_of(house).replace("ws://", "wss://")))["TLS"]
        assert not tls.good
        assert "is this port one of TLS?" in tls.text


@on_uvloop
async def test_nobody_there_another_program_and_a_wrong_path() -> None:
    findings = await found(f"ws://{HERE}:{free_port()}/ws/live-log")
    assert list(findings) == ["network"]
    assert "connection refused" in findings["network"].text

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        writer.close()

    async with await asyncio.start_server(answer, HERE, 0) as other:
        port = other.sockets[0].getsockname()[1]
        findings = await found(f"ws://{HERE}:{port}/ws/live-log")
        assert "something that is not livelog" in findings["HTTP"].text
    async with serving() as house:
        findings = await found(url_of(house).replace("/ws/", "/chat/ws/"))
        assert "/chat/healthz" in findings["HTTP"].text


@needs_nginx
@on_uvloop
async def test_a_proxy_that_does_not_pass_the_upgrade_on(tmp_path: Path) -> None:
    async with serving() as house:
        with behind(house, tmp_path, "") as url:
            findings = await found(url)
        assert findings["health"].good
        assert not findings["WebSocket"].good
        assert "Upgrade and Connection" in findings["WebSocket"].text


@needs_nginx
@on_uvloop
async def test_a_proxy_that_buffers_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Target, "timeout", 3.0)
    buffers = "proxy_ignore_headers X-Accel-Buffering;"
    async with serving() as house:
        with behind(house, tmp_path, UPGRADES + buffers) as url:
            findings = await found(url)
        assert findings["resume"].good
        assert not findings["HTTP stream"].good
        assert "buffer" in findings["HTTP stream"].text


@needs_nginx
@on_uvloop
async def test_a_proxy_that_cuts_quiet_connections_is_told(tmp_path: Path) -> None:
    async with serving() as house:
        with behind(house, tmp_path, f"{UPGRADES} proxy_read_timeout 1s;") as url:
            findings = await found(url, idle=10)
        assert findings["resume"].good
        assert not findings["idle"].good
        assert "--ping-interval" in findings["idle"].text


# Servers that answer anything.

Say = Callable[[str], Awaitable[None]]
USUAL = {
    "ping": {"action": "pong", "timestamp": "2025-01-01T00:00:00Z"},
    "get_history": {"action": "history", "messages": []},
}


def answering(**answers: Json | list[Json] | str) -> Callable[[Say, str], Awaitable[None]]:
    """Answer commands with these, which need not be what livelog answers."""

    async def answer(say: Say, action: str) -> None:
        given = answers.get(action, USUAL.get(action))
        await say(given if isinstance(given, str) else json.dumps(given))

    return answer


async def without_end(say: Say, action: str) -> None:
    while True:
        await say('{"action":"noise"}')
        await asyncio.sleep(0)


@asynccontextmanager
async def strange(
    answer: Callable[[Say, str], Awaitable[None]], health: bytes = b'{"status":"ok"}'
) -> AsyncIterator[str]:
    """The address of a server that answers commands so."""

    async def converse(connection: ServerConnection) -> None:
        await connection.send('{"action":"connected"}')
        with suppress(ConnectionClosed):
            async for command in connection:
                await answer(connection.send, json.loads(command)["action"])

    def plain(connection: ServerConnection, request: Request) -> Response | None:
        if request.path == WEBSOCKET_PATH:
            return None
        body = health if request.path == "/healthz" else b"{}\n"
        return Response(200, "OK", Headers({"Content-Length": str(len(body))}), body)

    async with serve(converse, HERE, 0, process_request=plain) as server:
        yield f"ws://{HERE}:{next(iter(server.sockets)).getsockname()[1]}{WEBSOCKET_PATH}"


@pytest.mark.parametrize(
    "answers",
    [
        {"ping": "{garbage"},
        {"ping": "[" * 100_000},
        {"ping": {"action": "pong"}},
        {"ping": {"action": "pong", "timestamp": "soon"}},
        {"get_history": {"action": "history", "messages": [1, 2]}},
        {"get_history": {"action": "history", "messages": [{"type": "user", "seq": "x"}]}},
        {"get_history": {"action": "error", "error_code": 1002, "details": "x"}},
        {"authenticate": {"action": "authenticated"}},
    ],
)
@on_uvloop
async def test_an_answer_of_another_form_is_a_finding(answers: Json) -> None:
    async with strange(answering(**answers)) as url:
        findings = await found(url, "lk_some" if "authenticate" in answers else None)
        assert not findings["answers"].good


@on_uvloop
async def test_health_of_another_form_is_a_finding() -> None:
    async with strange(answering(), b"[" * 100_000) as url:
        assert "something that is not livelog" in (await found(url))["HTTP"].text


@on_uvloop
async def test_answers_without_an_end_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "timeout", 0.5)
    async with strange(without_end) as url:
        findings = await found(url)
        assert "no answer" in [*findings.values()][-1].text

    async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, EOFError):
            await reader.readuntil(b"\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

    async with await asyncio.start_server(dripping, HERE, 0) as server:
        url = f"ws://{HERE}:{server.sockets[0].getsockname()[1]}/ws/live-log"
        assert not (await found(url))["HTTP"].good


@on_uvloop
async def test_a_redirect_is_not_followed_and_learns_no_token() -> None:
    told: list[str] = []

    async def listen(say: Say, action: str) -> None:
        told.append(action)

    async with strange(listen) as elsewhere:

        async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            health = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" + b'{"status":"ok"}'
            moved = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"
            with closing(writer), suppress(EOFError):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(health if b"/healthz" in head else moved.encode())

        async with await asyncio.start_server(lead, HERE, 0) as server:
            url = f"ws://{HERE}:{server.sockets[0].getsockname()[1]}/ws/live-log"
            findings = await found(url, "lk_some")
        assert "the one that it redirects to" in findings["WebSocket"].text
        assert not told


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "soon"])
def test_idle_is_a_number_of_seconds(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["doctor", f"ws://{HERE}", f"--idle={seconds}"])
    assert end.value.code == 2
    assert "--idle" in capsys.readouterr().err


def test_a_name_that_cannot_be_one_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "ws://a..b/ws/live-log"]) == 1
    assert capsys.readouterr().out.startswith("!!  network: ")


def test_the_command_prints_each_finding_and_fails_if_one_is_bad(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["doctor", f"ws://{HERE}:{free_port()}", "--idle", "1"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("!!  network: ")
    assert cli.main(["doctor", "ws+unix:///run/livelog.sock"]) == 1
    assert "a Unix socket is not outside" in capsys.readouterr().err


def test_no_token_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"ws://{HERE}:{free_port()}/ws/live-log?token={SECRET.replace(' ', '-')}"
    cli.main(["doctor", url, "--token", "lk_secret"])
    said = "".join(capsys.readouterr())
    assert "lk_secret" not in said
    assert "secret-that" not in said


@on_uvloop
async def test_each_server_of_a_list_is_examined() -> None:
    async with serving() as one, serving() as two:
        urls = [url_of(one), url_of(two)]
        code, out, err = await done("doctor", "--url", ",".join(urls))
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert [line for line in lines if not line.startswith("ok  ")] == [f"{u}:" for u in urls]
        assert sum(line.startswith("ok  WebSocket") for line in lines) == 2
