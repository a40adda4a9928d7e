"""livelog behind a real nginx, with the configuration that comes with it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from tests.support.nginx import CLIENT, CONFIGURATION, HERE, NGINX, STREAM, fronted, nginx
from tests.support.ports import free_port
from tests.support.smuggling import FAILED_UPGRADE, SMUGGLED, TOLERATED
from tests.support.tls import Files, make_certificate
from tests.support.wire import (
    PONG,
    Address,
    Client,
    House,
    Http,
    frame,
    on_uvloop,
    request,
    serving,
    until,
    upgrade,
    user,
)

pytestmark = pytest.mark.skipif(not Path(NGINX).exists(), reason="there is no nginx")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("uds", [False, True], ids=["TCP", "Unix socket"])
@on_uvloop
async def test_everything_works_through_it(uds: bool, files: Files, tmp_path: Path) -> None:
    async with fronted(tmp_path, files, uds=uds) as front:
        client = await front.client("?message_types=user")
        await client.event()
        http = await front.http("127.0.0.8")
        for number in range(3):
            answer = await http.ask("POST", "/api/messages", json.dumps(user(f"m{number}")))
            assert answer.status == 201
        assert await client.contents(3) == ["m0", "m1", "m2"]
        page = (await http.ask("GET", "/api/history?type=user&limit=2")).json
        assert [message["content"] for message in page["messages"]] == ["m2", "m1"]
        found = (await http.ask("GET", "/api/search?query=m0")).json
        assert found["count"] == 1
        assert (await http.ask("GET", "/")).headers["content-type"].startswith("text/html")
        published = await client.ask("publish", message=user("by socket"))
        assert "by socket" in (published.get("content"), (await client.event()).get("content"))
        assert [*front.house.inside.websockets] == [CLIENT]
        for wire in (client, http):
            wire.close()


@on_uvloop
async def test_nobody_can_lie_about_his_address(files: Files, tmp_path: Path) -> None:
    lies = {
        "X_Forwarded_For": "6.6.6.6",
        "X_Real_IP": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
        "x_forwarded_for ": "6.6.6.6",
    }
    async with fronted(tmp_path, files) as front:
        http = await front.http()
        await http.send(upgrade(**{name: lies[name] for name in [*lies][:3]}))
        await http.upto(b"\r\n\r\n")
        assert [*front.house.inside.websockets] == [CLIENT]
        http.close()


@on_uvloop
async def test_the_real_client_is_limited_and_nobody_else(files: Files, tmp_path: Path) -> None:
    async with fronted(tmp_path, files, connections_per_ip=2, address_command_limit=2) as front:
        clients = [await front.client() for _ in range(2)]
        third = await front.http()
        await third.send(upgrade(X_Forwarded_For="6.6.6.6"))
        assert (await third.answer()).status == 429
        other = await front.http("127.0.0.8")
        statuses = [(await other.ask("GET", "/api/history")).status for _ in range(3)]
        assert statuses == [200, 200, 429]
        clients.append(await front.client(source="127.0.0.7"))
        for wire in (*clients, third, other):
            wire.close()


@on_uvloop
async def test_nginx_limits_the_real_client_too(files: Files, tmp_path: Path) -> None:
    lower = {
        "livelog_connections 1000": "livelog_connections 1",
        "burst=1000": "burst=1",
        "rate=100r/s": "rate=1r/m",
    }
    async with fronted(tmp_path, files, changes=lower) as front:
        client = await front.client()
        second, other = await front.http(), await front.http("127.0.0.8")
        assert (await second.ask("GET", "/healthz")).status == 429
        assert [(await other.ask("GET", "/healthz")).status for _ in range(3)] == [200, 200, 429]
        for wire in (client, second, other):
            wire.close()


@on_uvloop
async def test_pings_keep_an_idle_websocket_through_nginxs_time_out(
    files: Files, tmp_path: Path
) -> None:
    shorter = {"proxy_read_timeout 60s": "proxy_read_timeout 2s"}
    async with fronted(tmp_path, files, changes=shorter, ping_interval=0.5) as front:
        client = await front.client("?message_types=user")
        await client.event()
        for _ in range(6):  # three seconds at least, in which nothing else is said
            assert (await client.frame()).opcode == 9
            await client.send(frame(b"", PONG))
        front.house.publish("still here")
        assert await client.contents(1) == ["still here"]
        client.close()


@on_uvloop
async def test_large_frames_and_bodies_come_through(files: Files, tmp_path: Path) -> None:
    async with fronted(tmp_path, files, max_frame_bytes=2**20) as front:
        text = "x" * 900_000
        client = await front.client("?message_types=user")
        await client.event()
        await client.tell("publish", message=user(text))
        sent, arrived = sorted([await client.event(), await client.event()], key=len)
        assert sent["action"] == "published"
        assert arrived["content"] == text
        lines = "\n".join([json.dumps(user("y" * 7000))] * 1000)
        http = await front.http()
        posted = await http.ask("POST", "/api/messages", lines, Content_Type="application/x-ndjson")
        assert (posted.status, posted.json["count"]) == (201, 1000)
        assert await client.contents(1000) == ["y" * 7000] * 1000
        for wire in (client, http):
            wire.close()


@pytest.mark.parametrize("name", SMUGGLED)
@on_uvloop
async def test_nothing_is_smuggled_through_it(name: str, files: Files, tmp_path: Path) -> None:
    async with fronted(tmp_path, files) as front:
        http = await front.http()
        await http.send(SMUGGLED[name])
        assert (await http.answer()).status in (400, 501)
        await http.ended()
        assert await front.count() == 0
        http.close()


@pytest.mark.parametrize("name", [*TOLERATED, "an upgrade that fails"])
@on_uvloop
async def test_what_nginx_mends_is_one_request_to_both(
    name: str, files: Files, tmp_path: Path
) -> None:
    """It may take the hidden request for a second one, as whoever sent it could have done openly;
    what must not be is that livelog sees more requests than nginx has let through."""
    async with fronted(tmp_path, files) as front:
        http = await front.http()
        data = TOLERATED.get(name, FAILED_UPGRADE)
        await http.send(data, request("GET", "/healthz", Connection="close"))
        await http.rest()
        log = (tmp_path / "access.log").read_text()
        assert await front.count() == log.count('"POST /api/messages" 201')
        http.close()


@on_uvloop
async def test_a_token_in_a_url_is_logged_nowhere(files: Files, tmp_path: Path) -> None:
    async with fronted(tmp_path, files) as front:
        http = await front.http()
        for target in ("/healthz?token=secret", "/nowhere?token=secret"):
            await http.ask("GET", target)
        await until(lambda: "/nowhere" in (tmp_path / "access.log").read_text(), "a log")
        assert "secret" not in (tmp_path / "access.log").read_text()
        http.close()


@pytest.mark.skipif(not STREAM.exists(), reason="there is no stream module for nginx")
@on_uvloop
async def test_the_proxy_protocol_comes_through_the_stream_module(
    files: Files, tmp_path: Path
) -> None:
    port = free_port()
    server = f"listen {HERE}:{port}; proxy_pass {{upstream}}; proxy_protocol on;"
    more = f"stream {{ server {{ {server} }} }}"
    async with fronted(tmp_path, files, more=more, proxy_header="proxy-protocol") as front:
        client = await Client.connect((HERE, port), source=CLIENT)
        await client.open("?message_types=user")
        assert [*front.house.inside.websockets] == [CLIENT]
        await client.event()
        await client.event()
        front.house.publish("hello")
        assert await client.contents(1) == ["hello"]
        client.close()


@on_uvloop
async def test_a_socket_is_for_those_whom_its_mode_allows(tmp_path: Path) -> None:
    for mode in ("600", "660", "0666"):
        async with serving(uds=str(tmp_path / "s"), uds_mode=mode) as house:
            assert (tmp_path / "s").stat().st_mode & 0o777 == int(mode, 8)
            assert (await (await house.http()).ask("GET", "/healthz")).status == 200


@on_uvloop
async def test_pages_of_the_proxys_host_may_connect_and_no_others(
    files: Files, tmp_path: Path
) -> None:
    async with fronted(tmp_path, files) as front:
        for origin, status in (("https://localhost", b"101"), ("https://evil.org", b"403")):
            http = await front.http()
            await http.send(upgrade(Origin=origin))
            assert (await http.upto(b"\r\n\r\n")).startswith(b"HTTP/1.1 " + status)
            http.close()


# Below a path of another site.

SNIPPET = CONFIGURATION.with_name("nginx-path.conf")
_LINK = re.compile(r'(?:src|href)="([^"]+)"|(?:from|import) "([^"]+)"|url\("?([^")]+)')


@asynccontextmanager
async def below_a_path(folder: Path, **settings: Any) -> AsyncIterator[tuple[House, Address]]:
    async with serving(trusted_proxies=HERE, **settings) as house:
        text, upstream = SNIPPET.read_text(encoding="utf-8"), f"{HERE}:{house.server.port}"
        assert text.count("127.0.0.1:8000") == 2
        (folder / "snippet.conf").write_text(text.replace("127.0.0.1:8000", upstream))
        port = free_port()
        site = f"listen {HERE}:{port}; include {folder}/snippet.conf; location / {{ return 404; }}"
        async with nginx(folder, f"access_log off; server {{ {site} }}", "", port):
            yield house, (HERE, port)


@on_uvloop
async def test_the_viewer_and_all_its_files_are_found_below_a_path(tmp_path: Path) -> None:
    async with below_a_path(tmp_path) as (_, address):
        http = await Http.connect(address)
        moved = await http.ask("GET", "/logs?types=user")
        assert (moved.status, moved.headers["location"]) == (301, "/logs/?types=user")
        seen, left = set[str](), ["/logs/", "/logs/livelog.js"]
        while left:
            path = left.pop()
            answer = await http.ask("GET", path)
            assert answer.status == 200, path
            seen.add(path)
            links = ["".join(found) for found in _LINK.findall(answer.body.decode())]
            found = {urlsplit(urljoin(path, link)).path for link in links if ":" not in link}
            assert all(link.startswith("/logs/") for link in found), (path, found)
            left += found - seen - {*left}
        assert len(seen) > 10
        assert (await http.ask("GET", "/")).status == 404
        http.close()


@on_uvloop
async def test_the_websocket_and_the_api_are_found_below_a_path(tmp_path: Path) -> None:
    async with below_a_path(tmp_path) as (house, address):
        client = await Client.connect(address, source=CLIENT)
        target = "/logs/ws/live-log?message_types=user"
        await client.send(upgrade(target, Origin="http://localhost", X_Forwarded_For="6.6.6.6"))
        assert (await client.upto(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert [(await client.event())["action"] for _ in range(2)] == ["connected", "subscribed"]
        assert [*house.inside.websockets] == [CLIENT]
        http = await Http.connect(address)
        answer = await http.ask("POST", "/logs/api/messages", json.dumps(user("below")))
        assert answer.status == 201
        assert await client.contents(1) == ["below"]
        page = (await http.ask("GET", "/logs/api/history?type=user")).json
        assert [message["content"] for message in page["messages"]] == ["below"]
        assert (await http.ask("GET", "/logs/healthz")).json["status"] == "ok"
        assert (await http.ask("GET", "/logs/ws/live-log")).status == 426
        for wire in (client, http):
            wire.close()


@on_uvloop
async def test_a_stream_comes_at_once_and_its_end_is_noticed(tmp_path: Path, files: Files) -> None:
    async with fronted(tmp_path, files) as front:
        client = await front.http()
        await client.send(request("GET", "/api/stream", Accept="text/event-stream"))
        head = (await client.upto(b"\r\n\r\n")).decode().lower()
        assert head.startswith("http/1.1 200")
        assert "content-type: text/event-stream" in head
        for content in ("one", "two"):
            front.house.publish(content)
            assert f'"content":"{content}"'.encode() in await client.upto(b"\n\n")
        client.close()
        await until(lambda: not front.house.inside.websockets, "the end of the stream")


@on_uvloop
async def test_metrics_are_passed_on_to_nobody(tmp_path: Path, files: Files) -> None:
    paths = ("/metrics", "//metrics", "/metrics?x", "/%6detrics", "/x/../metrics", "/metrics#x")
    async with fronted(tmp_path, files) as front:
        http = await front.http()
        for path in paths:
            answer = await http.ask("GET", path)
            assert (answer.status, b"livelog" in answer.body) == (404, False), path
        http.close()
