"""Proxies of outgoing connections: one rule for the clients and for identity providers."""

from __future__ import annotations

import asyncio
import json
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from livelog import UnreachableError, connect
from livelog.auth.provider import NoAnswer, Provider
from livelog.client.errors import Lost
from livelog.client.http import HttpPublisher
from livelog.client.proxies import Proxy, proxy_for
from livelog.config import Config
from livelog.errors import ConfigError, ConnectionEndedError
from livelog.server import Server
from tests.support.identity import provider
from tests.support.wire import PATIENCE, on_uvloop, serving, user

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "WS_PROXY", "SOCKS_PROXY")
PROXY = "http://proxy.test:3128"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# The rule.


@pytest.mark.parametrize(
    ("url", "variables", "variable"),
    [
        ("https://idp.test/keys", {"HTTPS_PROXY": PROXY}, "HTTPS_PROXY"),
        ("https://idp.test/keys", {"https_proxy": PROXY}, "https_proxy"),
        ("https://idp.test/keys", {"https_proxy": PROXY, "HTTPS_PROXY": "x"}, "https_proxy"),
        ("https://idp.test/keys", {"https_proxy": "", "HTTPS_PROXY": PROXY}, None),
        ("https://idp.test/keys", {"HTTP_PROXY": PROXY}, None),
        ("http://idp.test/keys", {"HTTP_PROXY": PROXY}, "HTTP_PROXY"),
        ("http://idp.test/keys", {"HTTPS_PROXY": PROXY}, None),
        ("wss://live.test/ws", {"HTTPS_PROXY": PROXY}, "HTTPS_PROXY"),
        ("ws://live.test/ws", {"HTTP_PROXY": PROXY}, "HTTP_PROXY"),
        ("ws://10.0.0.1:8000/ws", {"http_proxy": PROXY}, "http_proxy"),
        ("ws://live.test/ws", {"HTTPS_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
        ("https://idp.test/keys", {"HTTPS_PROXY": " "}, None),
        ("ws+unix:///run/live.sock:/ws", {"HTTP_PROXY": PROXY}, None),
        ("https://[", {"HTTPS_PROXY": PROXY}, None),
        ("keys", {"HTTPS_PROXY": PROXY}, None),
    ],
)
def test_the_variable_of_the_scheme_counts(
    url: str, variables: Mapping[str, str], variable: str | None
) -> None:
    found = proxy_for(url, variables)
    expected = None if variable is None else Proxy("proxy.test", 3128, "", "", variable)
    assert found == expected


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[::ffff:7f00:1]",
    ],
)
def test_this_machine_is_never_reached_through_a_proxy(host: str) -> None:
    for scheme in ("http", "https", "ws", "wss"):
        assert (
            proxy_for(f"{scheme}://{host}:8000/x", {"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY})
            is None
        )


@pytest.mark.parametrize(
    ("exceptions", "host", "direct"),
    [
        ("*", "idp.test", True),
        ("*", "10.0.0.1", True),
        ("idp.test", "idp.test", True),
        ("IDP.test.", "idp.TEST.", True),
        ("idp.test", "a.idp.test", True),
        (".idp.test", "a.idp.test", True),
        ("*.idp.test", "a.idp.test", True),
        ("idp.test", "xidp.test", False),
        ("a.idp.test", "idp.test", False),
        ("other, idp.test", "idp.test", True),
        ("other idp.test", "idp.test", True),
        ("idp.test:443", "idp.test", True),
        ("idp.test:8443", "idp.test", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "idp.test", False),
        ("0.0.1", "10.0.0.1", False),
        ("2001:db8::1", "[2001:db8::1]", True),
        ("[2001:db8::1]:443", "[2001:db8::1]", True),
        ("[2001:db8::1]:1", "[2001:db8::1]", False),
        ("2001:db8::/32", "[2001:db8::9]", True),
        ("", "idp.test", False),
        (",", "idp.test", False),
        (".", "idp.test", False),
    ],
)
def test_exceptions_are_hosts_domains_networks(exceptions: str, host: str, *, direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        found = proxy_for(f"https://{host}/keys", {"HTTPS_PROXY": PROXY, name: exceptions})
        assert (found is None) is direct


@pytest.mark.parametrize(
    ("value", "host", "port", "user", "password"),
    [
        ("proxy.test", "proxy.test", 80, "", ""),
        ("proxy.test:3128", "proxy.test", 3128, "", ""),
        ("HTTP://proxy.test:3128/", "proxy.test", 3128, "", ""),
        ("http://[::1]:3128", "::1", 3128, "", ""),
        ("http://ann:p%40ss@proxy.test:3128", "proxy.test", 3128, "ann", "p@ss"),
        ("ann@proxy.test:3128", "proxy.test", 3128, "ann", ""),
    ],
)
def test_a_proxy_is_read_and_its_password_never_shown(
    value: str, host: str, port: int, user: str, password: str
) -> None:
    found = proxy_for("https://idp.test", {"HTTPS_PROXY": value})
    assert found == Proxy(host, port, user, password, "HTTPS_PROXY")
    assert "ss" not in f"{found!r} {found} {found.url if found else ''}".replace("proxies", "")


@pytest.mark.parametrize(
    "value",
    [
        "socks5://p:hunter2@proxy.test",
        "https://p:hunter2@proxy.test",
        "http://",
        "http://[",
        "proxy.test:x",
        "http://proxy.test:0",
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(value: str) -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY: must be the address of an HTTP") as caught:
        proxy_for("https://idp.test", {"HTTPS_PROXY": value})
    assert "hunter2" not in str(caught.value)


# The connections.


class Proxying:
    """A proxy on loopback, which leads all names to one port of this machine."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = 0
        self.heads: list[str] = []
        self.refusal = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            if self.refusal:
                writer.write(self.refusal)
            else:
                await self._forward(head, reader, writer)
        writer.close()

    async def _forward(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        back, on = await asyncio.open_connection("127.0.0.1", self.upstream)
        method, target, _ = head.split(" ", 2)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            parts = urllib.parse.urlsplit(target)
            on.write(
                head.replace(target, parts.path, 1).replace(parts.netloc, "localhost").encode()
            )
        await asyncio.gather(pump(reader, on), pump(back, writer))


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Hand on bytes until the source ends."""
    with suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def proxying(upstream: int) -> AsyncIterator[Proxying]:
    made = Proxying(upstream)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


@on_uvloop
async def test_an_identity_provider_is_asked_through_the_proxy() -> None:
    async with provider() as issuer, proxying(issuer.port) as proxy:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HTTP_PROXY", f"http://ann:hunter2@127.0.0.1:{proxy.port}")
            config = Config(port=0, store="memory", jwks_url="http://idp.test/keys")
            async with Server(config):
                assert issuer.asked == ["/keys"]
            [head] = proxy.heads
            assert head.startswith("GET http://idp.test/keys HTTP/1.1\r\n")
            assert "Proxy-Authorization: Basic YW5uOmh1bnRlcjI=\r\n" in head
            proxy.refusal = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"
            with pytest.raises(ConfigError, match="HTTP status 407") as caught:
                await Server(config).start()
            said = str(caught.value)
            assert f"through the proxy http://127.0.0.1:{proxy.port} (HTTP_PROXY)" in said
            assert "hunter2" not in said


@on_uvloop
async def test_with_tls_a_tunnel_is_asked_for_and_refusals_name_the_proxy() -> None:
    async with proxying(1) as proxy:
        proxy.refusal = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("https_proxy", f"http://ann:hunter2@127.0.0.1:{proxy.port}")
            client = Provider()
            try:
                with pytest.raises(NoAnswer) as asked:
                    await client.get("https://idp.test/keys")
            finally:
                await client.close()
            publisher = HttpPublisher("wss://live.test/ws/live-log", "token")
            with pytest.raises(Lost) as posted:
                await asyncio.to_thread(publisher.post, [json.dumps(user()).encode()])
            publisher.close()
            with pytest.raises(UnreachableError) as opened:
                async with asyncio.timeout(PATIENCE), connect("wss://live.test/ws/live-log"):
                    pass
        for caught in (asked, posted, opened):
            said = str(caught.value)
            assert f"through the proxy http://127.0.0.1:{proxy.port} (https_proxy)" in said
            assert "403" in said
            assert "hunter2" not in said
        targets = {" ".join(head.split(" ", 2)[:2]) for head in proxy.heads}
        assert targets == {"CONNECT idp.test:443", "CONNECT live.test:443"}
        basic = "Proxy-Authorization: Basic YW5uOmh1bnRlcjI="
        assert all(basic in head for head in proxy.heads)


@on_uvloop
async def test_both_clients_go_through_the_proxy_but_not_on_this_machine() -> None:
    async with serving(allowed_hosts="*") as house, proxying(house.server.port) as proxy:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            for url, count in (("ws://live.test/ws/live-log", 2), (house.server.url, 2)):
                async with connect(url) as log:
                    await log.publish(user())
                publisher = HttpPublisher(url)
                message = json.dumps(user()).encode()
                await asyncio.to_thread(publisher.post, [message])
                publisher.close()
                assert len(proxy.heads) == count
        assert proxy.heads[0].startswith("CONNECT live.test:80 HTTP/1.1\r\n")
        assert proxy.heads[1].startswith("POST http://live.test/api/messages HTTP/1.1\r\n")


@on_uvloop
async def test_a_proxy_that_cannot_be_used_ends_a_client(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTP_PROXY", "socks5://proxy.test")
        with pytest.raises(ConnectionEndedError, match="HTTP_PROXY: must be"):
            async with connect("ws://live.test/ws/live-log"):
                pass
        with pytest.raises(ConfigError, match="HTTP_PROXY: must be"):
            HttpPublisher("ws://live.test/ws/live-log")
        config = Config(port=0, store="memory", jwks_url="http://idp.test/keys")
        with pytest.raises(ConfigError, match=r"--jwks-url: .*HTTP_PROXY: must be"):
            await Server(config).start()
