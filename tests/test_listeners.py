"""Listening on several addresses: all with one port, all or none."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path

import pytest

from livelog import Config, Server
from livelog.net import listeners
from livelog.server import server as server_module
from tests.support.process import Start, port_of, ready
from tests.support.wire import on_each_loop, on_uvloop

ONE, OTHER = "127.0.0.1", "127.0.0.2"


def reaches(host: str, port: int) -> bool:
    """Whether a connection to the address can be opened."""
    try:
        socket.create_connection((host, port), 5).close()
    except OSError:
        return False
    return True


def ipv6() -> bool:
    """Whether this machine has IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not ipv6(), reason="there is no IPv6 here")


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", {"127.0.0.1"}),
        ("127.0.0.1,127.0.0.2", {"127.0.0.1", "127.0.0.2"}),
        ("0.0.0.0", {"127.0.0.1", "127.0.0.2"}),
        ("0.0.0.0,127.0.0.1", {"127.0.0.1", "127.0.0.2"}),
        pytest.param("::", {"127.0.0.1", "127.0.0.2", "::1"}, marks=needs_ipv6),
        pytest.param("[::]", {"127.0.0.1", "127.0.0.2", "::1"}, marks=needs_ipv6),
        pytest.param("127.0.0.1,::", {"127.0.0.1", "127.0.0.2", "::1"}, marks=needs_ipv6),
        pytest.param("0.0.0.0,::", {"127.0.0.1", "127.0.0.2", "::1"}, marks=needs_ipv6),
        pytest.param("::1", {"::1"}, marks=needs_ipv6),
        pytest.param("127.0.0.1,::1", {"127.0.0.1", "::1"}, marks=needs_ipv6),
        pytest.param("0.0.0.0,::1", {"127.0.0.1", "127.0.0.2", "::1"}, marks=needs_ipv6),
    ],
)
@on_each_loop
async def test_every_address_is_served_with_the_same_port(host: str, reached: set[str]) -> None:
    async with Server(Config(host=host, port=0, store="memory", drain_seconds=0)) as server:
        port = server.port
        assert {each for each in (ONE, OTHER, "::1") if reaches(each, port)} == reached
        first = host.partition(",")[0].strip("[]")
        assert server.url.startswith(f"ws://[{first}]:" if ":" in first else f"ws://{first}:")
    assert not any(reaches(each, port) for each in (ONE, OTHER))
    again = Config(host=host, port=port, store="memory", drain_seconds=0)
    async with Server(again) as server:
        assert server.port == port


@pytest.mark.parametrize("host", ["0.0.0.0", "0", "::", "*"])
@on_uvloop
async def test_the_viewers_address_is_one_that_browsers_open(host: str) -> None:
    if host in ("::", "*") and not ipv6():
        host = "0.0.0.0"
    async with Server(Config(host=host, port=0, store="memory")) as server:
        name = "127.0.0.1" if host.startswith("0") else "[::1]"
        assert server.viewer_url == f"http://{name}:{server.port}/"


def test_hosts_may_be_repeated_and_come_from_everywhere(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "live.toml"
    file.write_text(f'host = ["{ONE}", "{OTHER}"]')
    for arguments, variables in (
        (("--host", ONE, "--host", OTHER), {}),
        (("--host", f"{ONE},{OTHER}"), {"LIVELOG_HOST": "192.0.2.1"}),
        ((), {"LIVELOG_HOST": f" {ONE} , {OTHER}\n"}),
        (("--config", str(file)), {}),
    ):
        port = port_of(ready(start("--port", "0", *arguments, **variables)))
        assert reaches(ONE, port)
        assert reaches(OTHER, port)


@on_each_loop
async def test_one_address_that_is_taken_ends_the_start_and_nothing_is_listened_on() -> None:
    with socket.create_server((OTHER, 0)) as taken:
        port = taken.getsockname()[1]
        server = Server(Config(host=f"{ONE},{OTHER}", port=port, store="memory"))
        with pytest.raises(OSError, match=rf"cannot listen on {OTHER}:{port}: .*in use") as caught:
            await server.start()
        assert caught.value.errno == errno.EADDRINUSE
        assert not reaches(ONE, port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "127.0.0.1,192.0.2.1"])
@on_uvloop
async def test_an_address_that_is_not_this_machines_is_named(host: str) -> None:
    with pytest.raises(OSError, match=f"cannot listen on {host.rpartition(',')[2]}:"):
        await Server(Config(host=host, port=0, store="memory")).start()


@on_uvloop
async def test_a_port_that_is_free_at_one_address_only_is_given_up_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, asked = listeners._bound_to, list[int]()

    def unlucky(endpoint: listeners.Endpoint, port: int, shared: bool) -> socket.socket:
        asked.append(port)
        if len(asked) == 2:
            raise OSError(errno.EADDRINUSE, "in use")
        return real(endpoint, port, shared)

    monkeypatch.setattr(listeners, "_bound_to", unlucky)
    async with Server(Config(host=f"{ONE},{OTHER}", port=0, store="memory")) as server:
        assert reaches(ONE, server.port)
        assert reaches(OTHER, server.port)
    assert [bool(port) for port in asked] == [False, True, False, True]


@on_uvloop
async def test_a_name_with_addresses_of_both_families_needs_no_ipv6(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = listeners._bound_to

    def without_ipv6(endpoint: listeners.Endpoint, port: int, shared: bool) -> socket.socket:
        if endpoint.family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "no such address")
        return real(endpoint, port, shared)

    async def both(net: object) -> list[listeners.Endpoint]:
        return [
            listeners.Endpoint("name.test", socket.AF_INET6, 6, ("::1", 0, 0, 0)),
            listeners.Endpoint("name.test", socket.AF_INET, 6, (ONE, 0)),
        ]

    monkeypatch.setattr(listeners, "_bound_to", without_ipv6)
    with pytest.raises(OSError, match=r"cannot listen on \[::1\]:0: no such address"):
        await Server(Config(host="127.0.0.1,::1", port=0, store="memory")).start()
    monkeypatch.setattr(server_module, "resolve", both)
    async with Server(Config(host="name.test", port=0, store="memory")) as server:
        assert reaches(ONE, server.port)


@needs_ipv6
@on_uvloop
async def test_an_ipv4_client_of_all_addresses_is_answered() -> None:
    async with Server(Config(host="::", port=0, store="memory")) as server:
        with socket.create_connection((ONE, server.port)) as client:
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            answer = await asyncio.to_thread(client.recv, 4096)
            assert b" 200 " in answer
