"""Addresses behind proxies: who is believed, in a header or in the PROXY protocol."""

from __future__ import annotations

import struct

import pytest

from tests.support.wire import (
    House,
    Json,
    on_each_loop,
    on_uvloop,
    request,
    serving,
    until,
    upgrade,
)

HERE, THERE, FAR = "127.0.0.1", "127.0.0.9", "203.0.113.9"

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def addresses(house: House) -> list[str]:
    return sorted(house.inside.websockets)


@on_each_loop
async def test_a_trusted_proxy_says_whose_connection_it_is() -> None:
    async with serving(trusted_proxies="127.0.0.1") as house:
        for forwarded in (f"6.6.6.6, {FAR}", "2001:db8::7", ""):
            await (await house.http()).send(upgrade(X_Forwarded_For=forwarded))
        await until(lambda: house.inside.websockets.total() == 3, "three connections")
        assert addresses(house) == [HERE, "2001:db8::/64", FAR]


@on_uvloop
async def test_nobody_else_is_believed() -> None:
    async with serving(trusted_proxies="127.0.0.1") as house:
        await (await house.http(THERE)).send(upgrade(X_Forwarded_For=FAR))
        await until(lambda: house.inside.websockets, "a connection")
        assert addresses(house) == [THERE]


@on_uvloop
async def test_a_unix_socket_is_a_proxy_by_its_name(tmp_path: object) -> None:
    for proxies, seen in (("unix", [FAR]), ("", [""])):
        async with serving(uds=f"{tmp_path}/s", trusted_proxies=proxies) as house:
            await (await house.http()).send(upgrade(X_Forwarded_For=FAR))
            await until(lambda: house.inside.websockets, "a connection")
            assert addresses(house) == seen


@pytest.mark.parametrize("hop", ["unknown", "_hidden", "a b", "6.6.6.6, unknown", "", '""'])
@on_uvloop
async def test_the_client_of_an_unknown_hop_counts_as_its_proxy(hop: str) -> None:
    async with serving(trusted_proxies="127.0.0.1") as house:
        http = await house.http()
        for _ in range(3):
            assert (await http.ask("GET", "/api/history", X_Forwarded_For=hop)).status == 200
        await http.send(upgrade(X_Forwarded_For=hop))
        await until(lambda: house.inside.websockets, "a connection")
        assert addresses(house) == [HERE]


@on_uvloop
async def test_requests_on_one_connection_may_be_of_many_clients() -> None:
    settings: Json = {"trusted_proxies": "127.0.0.1", "address_command_limit": 1}
    async with serving(**settings) as house:
        http = await house.http()
        statuses = []
        for client in ("203.0.113.1", "203.0.113.2", "203.0.113.1"):
            answer = await http.ask("GET", "/api/history", X_Forwarded_For=client)
            statuses.append(answer.status)
        assert statuses == [200, 200, 429]


@pytest.mark.parametrize(
    "preface",
    [
        f"PROXY TCP4 {FAR} 10.0.0.1 4711 443\r\n".encode(),
        SIGNATURE
        + struct.pack("!BBH4s4sHH", 0x21, 0x11, 12, bytes([203, 0, 113, 9]), b"abcd", 1, 2),
    ],
    ids=["version 1", "version 2"],
)
@on_each_loop
async def test_the_proxy_protocol_says_whose_connection_it_is(preface: bytes) -> None:
    settings: Json = {"trusted_proxies": "127.0.0.1", "proxy_header": "proxy-protocol"}
    async with serving(**settings) as house:
        whole, cut = await house.wire(), await house.wire()
        data = preface + upgrade(X_Forwarded_For="6.6.6.6")
        await whole.send(data)
        for byte in data:
            await cut.send(bytes([byte]))
        await until(lambda: house.inside.websockets[FAR] == 2, "two connections")


@on_uvloop
async def test_a_proxy_that_speaks_for_itself_has_its_own_address() -> None:
    settings: Json = {"trusted_proxies": "127.0.0.1", "proxy_header": "proxy-protocol"}
    async with serving(**settings) as house:
        await (await house.wire()).send(b"PROXY UNKNOWN\r\n", upgrade())
        await until(lambda: house.inside.websockets, "a connection")
        assert addresses(house) == [HERE]


@on_each_loop
async def test_without_its_preface_a_proxy_is_refused() -> None:
    settings: Json = {"trusted_proxies": "127.0.0.1", "proxy_header": "proxy-protocol"}
    async with serving(**settings) as house:
        http = await house.http()
        answer = await http.ask("GET", "/healthz")
        assert (answer.status, answer.json["details"]["field"]) == (400, "proxy header")
        await http.ended()


@on_uvloop
async def test_from_an_untrusted_peer_a_preface_is_no_http() -> None:
    settings: Json = {"trusted_proxies": "127.0.0.1", "proxy_header": "proxy-protocol"}
    async with serving(**settings) as house:
        untrusted = await house.http(THERE)
        await untrusted.send(b"PROXY TCP4 6.6.6.6 10.0.0.1 1 2\r\n", request("GET", "/healthz"))
        assert (await untrusted.answer()).status == 400
        assert (await (await house.http(THERE)).ask("GET", "/healthz")).status == 200
