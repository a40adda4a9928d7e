"""The PROXY protocol: the examples of its description, cut anywhere, and what is not it."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livelog.net.proxyprotocol import read

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = bytes([203, 0, 113, 9]) + bytes([10, 0, 0, 1]) + struct.pack("!HH", 4711, 443)
V6 = bytes.fromhex("20010db8" + "0" * 22 + "09" + "20010db8" + "0" * 22 + "01") + b"\0\1\0\2"


def v2(kind: int, rest: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, kind, len(rest)) + rest


GOOD = {
    b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n": "203.0.113.9",
    b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 443\r\n": "2001:db8::9",
    b"PROXY TCP6 ::ffff:203.0.113.9 ::1 4711 443\r\n": "203.0.113.9",
    b"PROXY UNKNOWN\r\n": "",
    b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n": "",
    v2(0x11, V4): "203.0.113.9",
    v2(0x11, V4 + b"\x04\x00\x01\x00"): "203.0.113.9",  # with a TLV
    v2(0x21, V6): "2001:db8::9",
    v2(0x31, bytes(216)): "",
    v2(0x00, b""): "",
    v2(0x00, b"", command=0x20): "",
    v2(0x11, V4, command=0x20): "",
}


@pytest.mark.parametrize("data", GOOD)
def test_a_preface_says_who_the_client_is(data: bytes) -> None:
    assert read(data + b"GET / HTTP/1.1\r\n") == (GOOD[data], len(data))
    assert all(read(data[:cut]) is None for cut in range(len(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"proxy TCP4 203.0.113.9 10.0.0.1 4711 443\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443 \r\n",
        b"PROXY TCP4 203.0.113.9  10.0.0.1 4711 443\r\n",
        b"PROXY TCP4 203.0.113.999 10.0.0.1 4711 443\r\n",
        b"PROXY TCP4 ::1 ::2 4711 443\r\n",
        b"PROXY TCP4 203.0.113.9 nowhere 4711 443\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 70000 443\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 \xb2 443\r\n",
        b"PROXY UDP4 203.0.113.9 10.0.0.1 4711 443\r\n",
        b"PROXY \r\n",
        b"PROXY " + b"x" * 200,
        v2(0x11, V4, command=0x11),
        v2(0x11, V4, command=0x22),
        v2(0x11, V4[:11]),
        v2(0x21, V4),
        v2(0x12, V4),
        v2(0x41, bytes(300)),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read(data)
    assert len(str(caught.value)) < 200


@given(st.binary(), st.sampled_from([b"", SIGNATURE, b"PROXY ", b"PROXY TCP4 "]))
def test_it_takes_no_more_than_there_is(data: bytes, start: bytes) -> None:
    with suppress(ValueError):
        found = read(start + data)
        assert found is None or found.size <= len(start + data)
