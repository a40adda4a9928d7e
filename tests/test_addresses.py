"""The client's address: lists of networks, and the way back through `X-Forwarded-For`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livelog.config.check import networks
from livelog.net.addresses import Networks, is_loopback, limited_as, parse

PROXIES = Networks(networks("10.0.0.0/8, 127.0.0.1, 2001:db8::/32"))


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("::ffff:10.1.2.3", True),
        ("2001:db8:1::1", True),
        ("2001:db9::1", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_only_what_is_listed_is_trusted(address: str, trusted: bool) -> None:
    assert PROXIES.trusts(address) is trusted


def test_a_unix_socket_is_trusted_by_its_name() -> None:
    assert Networks(networks("unix")).trusts("")
    assert not Networks(networks("unix")).trusts("127.0.0.1")
    assert not Networks(networks("")).trusts("")
    assert Networks(networks("::ffff:10.0.0.0/104")).trusts("10.1.2.3")
    assert Networks(networks("unix"))
    assert Networks(networks("::1"))
    assert not Networks(networks(" , "))


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "10.0.0.0/33", "localhost", "unix:", "1"])
def test_a_list_that_cannot_be_says_what_is_allowed(wrong: str) -> None:
    with pytest.raises(ValueError, match="unix"):
        Networks(networks(wrong))


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ([], "10.0.0.1"),
        ([""], "10.0.0.1"),
        (["203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, 10.2.2.2,10.3.3.3"], "203.0.113.9"),
        (["not an address, 203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9,, "], "203.0.113.9"),
        (["10.2.2.2, 10.3.3.3"], "10.2.2.2"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["203.0.113.9:99999"], "10.0.0.1"),
        (["203.0.113.9:\xb2"], "10.0.0.1"),
        (["[2001:db9::1]4711"], "10.0.0.1"),
        (["[2001:db9::1]:4711"], "2001:db9::1"),
        (["2001:db9::1"], "2001:db9::1"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["[2001:db9::1]"], "2001:db9::1"),
        (['"[2001:db9::1]:4711"'], "2001:db9::1"),
        (["fe80::1%eth0"], "fe80::1"),
        ([", ,203.0.113.9,", ""], "203.0.113.9"),
        (["203.0.113.9, " + "10.2.2.2, " * 20], "203.0.113.9"),
        (["203.0.113.9, " + "10.2.2.2, " * 5000], "10.2.2.2"),  # no one has so many proxies
    ],
)
def test_the_client_is_the_rightmost_that_is_no_proxy(headers: list[str], client: str) -> None:
    assert PROXIES.client("10.0.0.1", headers) == client


UNKNOWN = [
    *("unknown", "UNKNOWN", "-", "_hidden", "_SEVKISEK", "localhost", "null", "for=203.0.113.8"),
    *("1.2.3", "01.2.3.4", "1.2.3.4.5", "203.0.113.9:x", "203.0.113.9:\xb2", "203.0.113.9:", "1"),
    *("[::1", "::1]", "[]", "2001:db8::g", "a b", "\x00", "\xff", "unix:", "%", "x" * 10_000),
]


@pytest.mark.parametrize("hop", UNKNOWN)
def test_behind_a_hop_that_is_no_address_the_proxy_counts(hop: str) -> None:
    assert PROXIES.client("10.0.0.1", [hop]) == "10.0.0.1"
    assert PROXIES.client("10.0.0.1", [f"203.0.113.9, {hop}"]) == "10.0.0.1"
    assert PROXIES.client("10.0.0.1", [f"203.0.113.9, {hop}, 10.0.0.2"]) == "10.0.0.2"
    assert PROXIES.client("10.0.0.1", [f"{hop}, 203.0.113.9"]) == "203.0.113.9"


@given(st.lists(st.text(st.characters(max_codepoint=255))))
def test_no_header_is_too_odd(headers: list[str]) -> None:
    client = PROXIES.client("10.0.0.1", headers)
    assert str(parse(client)) == client


@given(made_up=st.text(), client=st.ip_addresses(v=4, network="203.0.113.0/24"))
def test_nothing_a_client_writes_makes_it_another(made_up: str, client: object) -> None:
    assert PROXIES.client("10.0.0.1", [made_up, f"{client}, 10.0.0.2"]) == str(client)


def test_limits_of_ipv6_are_kept_by_network() -> None:
    assert limited_as("2001:db8:1:2:3::4") == limited_as("2001:db8:1:2::") == "2001:db8:1:2::/64"
    assert limited_as("203.0.113.9") == "203.0.113.9"
    assert limited_as("") == ""


def test_this_machine_is_told_from_others() -> None:
    assert all(map(is_loopback, ["", "127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]))
    assert not is_loopback("203.0.113.9")
    assert str(parse("fe80::1%eth0")) == "fe80::1"
