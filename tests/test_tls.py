"""TLS without a proxy: handshakes, slow readers, and certificates that change or will not do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path

import pytest

from livelog import Config, ConfigError, Server
from tests.support.process import Start, ended, ready
from tests.support.tls import Files, TlsClient, TlsHttp, make_certificate, secured, trusting
from tests.support.wire import (
    House,
    command,
    on_each_loop,
    on_uvloop,
    request,
    serving,
    soon,
    until,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_certificate(tmp_path_factory.mktemp("tls"))


async def client_of(house: House, files: Files, query: str = "") -> TlsClient:
    client = await secured(TlsClient, house.address, trusting(files))
    await client.open(query)
    assert (await client.event())["action"] == "connected"
    return client


@on_each_loop
async def test_both_doors_are_open_to_tls(files: Files) -> None:
    async with serving(**files.settings) as house:
        assert house.server.url.startswith("wss://")
        http = await secured(TlsHttp, house.address, trusting(files))
        assert (await http.ask("GET", "/healthz")).json["status"] == "ok"
        assert (await http.ask("GET", "/livelog.js")).status == 200
        client = await client_of(house, files, "?message_types=user")
        await client.event()
        house.publish("in private")
        assert await client.contents(1) == ["in private"]
        for wire in (http, client):
            wire.close()


@on_each_loop
async def test_what_comes_right_behind_the_handshake_is_not_lost(files: Files) -> None:
    async with serving(**files.settings) as house:
        for _ in range(20):
            http = await secured(TlsHttp, house.address, trusting(files))
            await http.send(
                b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            assert (await http.answer()).status == 200
            await http.ended()
            http.close()


def read_slowly(port: int, context: ssl.SSLContext, asked: bytes) -> bytes:
    """All that is answered. Without asyncio: uvloop loses what a client has not read at the end."""
    answer = bytearray()
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(asked)
        while data := secure.recv(1 << 16):
            answer += data
            time.sleep(0.005)
    return bytes(answer)


@on_each_loop
async def test_an_answer_that_is_read_slowly_is_not_cut_by_the_close(files: Files) -> None:
    settings = files.settings | {"close_timeout": 0.1, "stall_seconds": 0.5, "limits": False}
    async with serving(**settings) as house:
        for _ in range(150):
            house.publish("x" * 20_000)
        asked = request("GET", "/api/history?limit=150", Connection="close")
        answer = await asyncio.to_thread(read_slowly, house.server.port, trusting(files), asked)
        assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["messages"]) == 150


@on_each_loop
async def test_a_close_handshake_is_completed(files: Files) -> None:
    async with serving(**files.settings) as house:
        client = await client_of(house, files)
        await client.send(b"\xff\xff\xff")
        assert await client.closed() == ("protocol_error", 1002)
        await client.ended()
        client.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@on_uvloop
async def test_old_versions_are_not_spoken(version: ssl.TLSVersion, files: Files) -> None:
    context = trusting(files)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = version
    context.maximum_version = version
    async with serving(**files.settings) as house:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await secured(TlsHttp, house.address, context)
        await house.emptied()


@on_each_loop
async def test_who_does_not_shake_hands_is_dropped_and_counted(files: Files) -> None:
    async with serving(**files.settings, head_timeout=1.5, waiting_per_ip=3) as house:
        silent = [await house.wire() for _ in range(3)]
        await until(lambda: house.inside.waiting.total() == 3, "three that wait")
        refused = await house.wire()
        with suppress(ConnectionResetError):
            await refused.ended()
        for wire in silent:
            with suppress(ConnectionResetError):
                await wire.ended()
        plain = await house.http()
        await plain.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with suppress(ConnectionResetError):
            assert b"HTTP" not in await plain.rest()
        plain.close()
        await house.emptied()
        assert not house.inside.waiting


@on_each_loop
async def test_a_slow_reader_is_noticed_and_later_gets_it_all(files: Files) -> None:
    async with serving(**files.settings, limits=False) as house:
        slow = await client_of(house, files, "?message_types=user")
        quick = await client_of(house, files, "?message_types=user")
        await slow.event()
        await quick.event()
        slow.pause_reading()
        texts = [f"{number} {'x' * 8000}" for number in range(2000)]
        for start in range(0, len(texts), 50):
            house.publish(*texts[start : start + 50])
            assert await quick.contents(50) == texts[start : start + 50]
        [blocked] = house.inside.blocked
        assert blocked.transport.get_write_buffer_size() < 2**20, "16 MB were sent"
        slow.resume_reading()
        assert await slow.contents(2000) == texts
        for client in (slow, quick):
            client.close()


@on_each_loop
async def test_who_asks_without_reading_is_read_no_further(files: Files) -> None:
    async with serving(**files.settings, limits=False) as house:
        house.publish(*("x" * 8000 for _ in range(100)))
        client = await client_of(house, files)
        client.pause_reading()
        asking = asyncio.create_task(_ask_for_ever(client))
        await until(lambda: house.inside.blocked, "a full buffer")
        await until(lambda: client.writer.transport.get_write_buffer_size() > 2**16, "no reading")
        asking.cancel()
        client.close()


async def _ask_for_ever(client: TlsClient) -> None:
    while True:
        client.writer.write(command("get_history", limit=100) * 100)
        await asyncio.sleep(0)


# Certificates.


@on_each_loop
async def test_a_certificate_can_be_changed_and_nobody_is_disturbed(tmp_path: Path) -> None:
    old, new = make_certificate(tmp_path, "old"), make_certificate(tmp_path, "new")
    shown = Files(tmp_path / "shown.pem", tmp_path / "shown.key")
    both = trusting(old, new)

    def show(files: Files) -> None:
        for source, target in zip(files, shown, strict=True):
            target.write_bytes(source.read_bytes())

    show(old)
    faults = ("reloaded the certificate", "keeping the old certificate")
    async with serving(**shown.settings, faults=faults) as house:
        before = await secured(TlsClient, house.address, both)
        await before.open()
        show(new)
        house.server.reload()
        after = await secured(TlsHttp, house.address, both)
        assert (before.peer_name, after.peer_name) == ("old", "new")
        shown.key.write_bytes(old.key.read_bytes())
        house.server.reload()
        still = await secured(TlsHttp, house.address, both)
        assert still.peer_name == "new"
        await before.event()
        assert (await before.ask("ping"))["action"] == "pong"
        for wire in (before, after, still):
            wire.close()


@pytest.mark.parametrize("wrong", ["no key", "no cert", "missing", "mismatch", "text", "password"])
@on_uvloop
async def test_files_that_will_not_do_are_refused_by_name(wrong: str, tmp_path: Path) -> None:
    one, other = make_certificate(tmp_path), make_certificate(tmp_path, "other")
    locked = make_certificate(tmp_path, "locked", "-passout", "pass:secret")
    text = tmp_path / "text"
    text.write_text("hello")
    cert, key, said = {
        "no key": (one.cert, "", "--tls-key is missing"),
        "no cert": ("", one.key, "--tls-cert is missing"),
        "missing": (tmp_path / "none", one.key, "--tls-cert .*none: No such file"),
        "mismatch": (one.cert, other.key, "--tls-key .*: do not match"),
        "text": (text, one.key, "--tls-cert .*text"),
        "password": (locked.cert, locked.key, "--tls-key: must not be encrypted"),
    }[wrong]
    with pytest.raises(ConfigError, match=said):
        await Server(Config(port=0, store="memory", tls_cert=str(cert), tls_key=str(key))).start()


@on_uvloop
async def test_the_proxy_protocol_and_tls_are_not_had_together(files: Files) -> None:
    settings = {"trusted_proxies": "::1", "proxy_header": "proxy-protocol", **files.settings}
    with pytest.raises(ConfigError, match="--proxy-header proxy-protocol"):
        await Server(Config(port=0, store="memory", **settings)).start()


def test_the_command_reads_its_certificate_again_on_sighup(start: Start, tmp_path: Path) -> None:
    old, new = make_certificate(tmp_path, "old"), make_certificate(tmp_path, "new")
    process = start("--port", "0", "--tls-cert", str(old.cert), "--tls-key", str(old.key))
    port = int(ready(process, "wss").split(":")[2].split("/")[0])
    for source, target in zip(new, old, strict=True):
        os.replace(source, target)
    process.send_signal(signal.SIGHUP)
    assert process.stderr is not None
    assert "reloaded the certificate" in process.stderr.readline()
    assert "BEGIN CERTIFICATE" in (shown := ssl.get_server_certificate(("127.0.0.1", port)))
    assert shown.strip() == old.cert.read_text().strip()
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0


def test_the_command_refuses_a_certificate_that_will_not_do(start: Start, tmp_path: Path) -> None:
    one, other = make_certificate(tmp_path), make_certificate(tmp_path, "other")
    code, _, said = ended(start("--tls-cert", str(one.cert), "--tls-key", str(other.key)))
    assert code == 2
    assert "--tls-cert" in said
    assert "do not match" in said


@on_each_loop
async def test_a_server_with_tls_stops_in_good_order(files: Files) -> None:
    async with serving(**files.settings) as house:
        client = await client_of(house, files)
        waiting = await house.wire()
        await until(lambda: house.inside.waiting, "one in its handshake")
        closing = asyncio.create_task(house.server.close())
        assert await client.closed() == ("normal_closure", 1001)
        client.close()
        await soon(closing)
        waiting.close()
