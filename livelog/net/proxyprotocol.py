"""The PROXY protocol, versions 1 and 2: the preface in which a proxy names its client.

Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. The rule of the protocol: a
receiver knows from its settings that the preface comes, and never guesses. So `read` takes nothing
else, and is strict. Bytes in, an address or an error out; no I/O.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from livelog.net.addresses import parse

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_START = b"PROXY "
_LONGEST_LINE = 107
"""Of version 1, line end included (section 2.1)."""
_LONGEST = 16 * 1024
"""Of version 2; TLVs, such as a client's certificate, may make it long."""
_LOCAL, _PROXY = 0x20, 0x21
"""Version 2 with its commands (section 2.2)."""
_TCP4, _TCP6 = 0x11, 0x21
_UNSPEC, _UDP4, _UDP6, _UNIX, _UNIX_DATAGRAM = 0x00, 0x12, 0x22, 0x31, 0x32
_ADDRESSES = {_TCP4: 12, _UDP4: 12, _TCP6: 36, _UDP6: 36, _UNIX: 216, _UNIX_DATAGRAM: 216}
"""Bytes of the two addresses and ports, by family and transport."""


class Preface(NamedTuple):
    """The contents of a preface, and its size in bytes."""

    address: str
    """The client's; empty when the proxy speaks for itself or does not know."""
    size: int


class Received(NamedTuple):
    """A complete preface, as the connection needs it."""

    address: str
    rest: bytes
    """The bytes behind it, which are the client's."""


class PrefaceReader:
    """Reads the preface of one connection from the pieces in which it arrives."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Received | None:
        """Take the next bytes; return the preface once it is complete. Raises `ValueError`."""
        self._data += data
        found = read(self._data)
        return None if found is None else Received(found.address, bytes(self._data[found.size :]))


def read(data: bytes | bytearray) -> Preface | None:
    """Return the preface at the beginning of `data`; None while it is incomplete.

    Raises `ValueError` for anything else.
    """
    if data[: len(_SIGNATURE)] == _SIGNATURE[: len(data)]:
        return _version_2(data)
    if data[: len(_START)] == _START[: len(data)]:
        return _version_1(data)
    raise ValueError("a connection from a trusted proxy has to begin with a PROXY header")


def _version_1(data: bytes | bytearray) -> Preface | None:
    end = data.find(b"\r\n", 0, _LONGEST_LINE)
    if end < 0:
        if len(data) >= _LONGEST_LINE:
            raise ValueError(f"a PROXY line of more than {_LONGEST_LINE} bytes")
        return None
    words = data[:end].decode("latin-1").split(" ")
    if words[1] == "UNKNOWN":
        return Preface("", end + 2)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6") or not all(map(_is_port, words[4:])):
        raise ValueError("not a PROXY line")
    family = IPv4Address if words[1] == "TCP4" else IPv6Address
    client, _ = family(words[2]), family(words[3])
    return Preface(str(parse(str(client))), end + 2)


def _is_port(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 5 and int(word) <= 65535


def _version_2(data: bytes | bytearray) -> Preface | None:
    if len(data) < 16:
        return None
    command, kind, length = struct.unpack_from("!BBH", data, 12)
    size = 16 + length
    if command not in (_LOCAL, _PROXY):
        raise ValueError(f"version and command of the PROXY header are {command:#04x}")
    if size > _LONGEST:
        raise ValueError(f"a PROXY header of more than {_LONGEST} bytes")
    if len(data) < size:
        return None
    if command == _LOCAL or kind == _UNSPEC:
        return Preface("", size)
    if length < _ADDRESSES.get(kind, _LONGEST):
        raise ValueError(f"no addresses of family {kind:#04x} in the PROXY header")
    return Preface(_address(kind, bytes(data[16:size])), size)


def _address(kind: int, addresses: bytes) -> str:
    if kind == _TCP4:
        return str(IPv4Address(addresses[:4]))
    if kind == _TCP6:
        return str(parse(str(IPv6Address(addresses[:16]))))
    if kind in (_UNIX, _UNIX_DATAGRAM):
        return ""
    raise ValueError("the PROXY header speaks of UDP")
