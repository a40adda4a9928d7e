"""The `Host` header: which names a server answers for, at both doors."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from livelog import Config
from livelog.config.hosts import host_names, normal_host
from livelog.errors import ConfigError
from livelog.net.hosts import hosts_of
from tests.support.wire import Http, Json, on_uvloop, serving, upgrade

OWN = ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:80"]
OWN += ["[0:0:0:0:0:0:0:1]:8000", "[::ffff:127.0.0.1]", "localhost:"]
OWN += ["localhost:65535", "localhost:0", "[::1]:", "127.0.0.1:0000000080"]
FOREIGN = ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example"]
FOREIGN += ["", "::1", "10.0.0.1", "[::2]", "localhost:x", "evil.example:80:8000", "local host"]
FOREIGN += ["user@localhost", "localhost,evil.example", "[::1", "127.1", "0.0.0.0", "localhost.."]
FOREIGN += ["localhost:99999", "127.0.0.1:65536", "[::1]:70000", "localhost:-1", "localhost: 80"]
FOREIGN += [
    "localhost:" + "9" * 5000,
    "localhost:+80",
    "localhost:8_0",
    "[::1]80",
    "localhost:\xb2",
]


@pytest.mark.parametrize("host", OWN)
@on_uvloop
async def test_names_of_this_machine_are_answered(host: str) -> None:
    async with serving() as house:
        answer = await (await house.http()).ask("GET", "/healthz", Host=host)
        assert answer.status == 200


@pytest.mark.parametrize("host", FOREIGN)
@on_uvloop
async def test_a_name_that_leads_here_by_force_is_refused_at_both_doors(host: str) -> None:
    """A page whose own name leads to 127.0.0.1 is of the same origin as the server."""
    async with serving() as house:
        page = f"http://{host}" if host else "http://x"
        answer = await (await house.http()).ask("GET", "/healthz", Host=host, Origin=page)
        assert (answer.status, answer.json["details"]["field"]) == (421, "host")
        assert "--allowed-hosts" in answer.json["details"]["issue"]
        forged = await (await house.http()).ask(
            "POST", "/api/messages", '{"type": "user"}', Host=host, Origin=page
        )
        assert forged.status == 421
        for target in ("/", "/client/livelog.js", "/nothing"):
            assert (await (await house.http()).ask("GET", target, Host=host)).status == 421
        http = await house.http()
        await http.send(upgrade(Host=host, Origin=page))
        assert (await http.answer()).status == 421
        kept = await (await house.http()).ask("GET", "/api/history")
        assert kept.json["total_count"] == 0


@on_uvloop
async def test_an_absolute_target_names_the_host_instead() -> None:
    async with serving() as house:
        for target, host, status in (
            ("http://localhost/healthz", "evil.example", 200),
            ("http://evil.example/healthz", "localhost", 421),
            ("HTTP://evil.example:8000?x", "localhost", 421),
            ("http://localhost@evil.example/healthz", "localhost", 421),
            ("http://[::1]:8000/healthz", "localhost", 200),
        ):
            http = await house.http()
            await http.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert (await http.answer()).status == status, target


@on_uvloop
async def test_several_hosts_are_refused_and_a_client_without_any_is_no_browser() -> None:
    async with serving() as house:
        http = await house.http()
        await http.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert (await http.answer()).status == 400
        http = await house.http()
        await http.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await http.answer()).status == 200


@on_uvloop
async def test_the_list_of_the_operator_replaces_that_of_this_machine() -> None:
    listed = "Live.Example.com., *.example.org, [2001:db8:0::1], münchen.example"
    cases = {
        "live.example.com": 200,
        "LIVE.example.com.:443": 200,
        "a.example.org": 200,
        "a.b.example.org:8000": 200,
        "[2001:DB8::1]:8000": 200,
        "xn--mnchen-3ya.example": 200,
        "example.org": 421,
        "xexample.org": 421,
        "example.com": 421,
        "localhost": 421,
    }
    async with serving(allowed_hosts=listed) as house:
        for host, status in cases.items():
            answer = await (await house.http()).ask("GET", "/healthz", Host=host)
            assert answer.status == status, host
    async with serving(allowed_hosts="*") as house:
        for host in (*OWN, *FOREIGN):
            assert (await (await house.http()).ask("GET", "/healthz", Host=host)).status == 200


@pytest.mark.parametrize(
    ("settings", "checked"),
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"host": "127.0.0.1, ::1"}, True),
        ({"jwt_secret": "a secret that has more than thirty-two bytes"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "127.0.0.1, 192.0.2.1"}, False),
        ({"trusted_proxies": "127.0.0.1"}, False),
        ({"trusted_proxies": "unix"}, False),
        ({"uds": "live.sock"}, False),
    ],
)
def test_only_a_server_for_this_machine_expects_its_names(settings: Json, *, checked: bool) -> None:
    net = Config(**settings).net
    resolved = ["127.0.0.1" if host == "localhost" else host for host in net.hosts]
    assert hosts_of(net, resolved).allows("evil.example") is not checked
    assert hosts_of(net, resolved).allows("localhost:8000")


def test_the_name_that_is_listened_on_is_expected_too() -> None:
    net = Config(host="live.test, 127.0.0.2").net
    hosts = hosts_of(net, ["127.0.0.1", "127.0.0.2"])
    assert hosts.allows("live.test:8000")
    assert hosts.allows("127.0.0.2")
    assert not hosts.allows("127.0.0.3")


@on_uvloop
async def test_behind_a_unix_socket_a_proxy_names_any_host(tmp_path: Path) -> None:
    async with serving(uds=str(tmp_path / "live.sock")) as house:
        http = await Http.connect(house.address)
        assert (await http.ask("GET", "/healthz", Host="live.example.com")).status == 200
        http.close()


@on_uvloop
async def test_a_foreign_host_does_not_block_an_address() -> None:
    async with serving(allowed_hosts="here.example", block_after=1) as house:
        with patch.object(house.context.limiter, "failed") as failed:
            for _ in range(3):
                assert (await (await house.http()).ask("GET", "/", Host="x")).status == 421
        assert not failed.called


@pytest.mark.parametrize(
    "wrong", ["http://x", "x:80", "*.", "*x.example", "a..b", "a b", "[::1]:8"]
)
def test_a_list_that_cannot_be_says_what_is_allowed(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"--allowed-hosts.*\*\.example\.com"):
        Config(allowed_hosts=wrong)


def test_names_are_compared_in_one_form() -> None:
    assert host_names("A.example., ::1,[::1] ,*.B.test") == {
        "a.example",
        "::1",
        "*.b.test",
    }
    assert normal_host("[2001:DB8:0:0::1]:1") == "2001:db8::1"
