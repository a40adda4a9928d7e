"""`livelog doctor`: what it says of a good server, and of each thing that may be wrong."""

from __future__ import annotations

import asyncio
import getpass
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from livelog import cli
from livelog.cli import doctor
from livelog.cli.doctor import Finding, Target, examine
from tests.support.identity import SECRET, api_key
from tests.support.ports import free_port
from tests.support.tls import make_certificate
from tests.support.wire import PATIENCE, House, on_uvloop, serving
from tests.test_nginx import HERE, NGINX
from tests.test_prefix import listens

NGINX_CONFIGURATION = """
user {user};
daemon off;
pid nginx.pid;
error_log stderr crit;
events {{ }}
http {{
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    access_log off;
    server {{
        listen {here}:{port};
        location / {{ proxy_pass http://{here}:{upstream}; {settings} }}
    }}
}}
"""
UPGRADES = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;"
UPGRADES += " proxy_set_header Connection upgrade; proxy_set_header Host $http_host;"

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
    port = free_port()
    text = NGINX_CONFIGURATION.format(
        user=getpass.getuser(), here=HERE, port=port, upstream=house.server.port, settings=settings
    )
    (folder / "nginx.conf").write_text(text)
    process = subprocess.Popen([NGINX, "-p", folder, "-c", "nginx.conf"])
    try:
        deadline = time.monotonic() + PATIENCE
        while not listens(port):
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.02)
        yield f"ws://{HERE}:{port}/ws/live-log"
    finally:
        process.terminate()
        process.wait()


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
async def test_a_proxy_that_buffers_and_one_that_cuts_quiet_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_TIMEOUT", 4.0)
    buffers = "proxy_ignore_headers X-Accel-Buffering; proxy_read_timeout 1s;"
    async with serving() as house:
        with behind(house, tmp_path, UPGRADES + buffers) as url:
            findings = await found(url, idle=10)
        assert findings["resume"].good
        assert not findings["idle"].good
        assert "--ping-interval" in findings["idle"].text


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
