"""The PROXY protocol, versions 1 and 2: the header a proxy sends ahead of a connection's own bytes.

Specification: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. A receiver must know
from its settings that the header comes, and must never guess (section 2): a client that can choose
whether to send one could claim any address. So `read` is strict and refuses everything else.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from livelog.net.addresses import parse

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_START = b"PROXY "
_LONGEST_LINE = 107
"""Maximum bytes of a version 1 header, with its CRLF (section 2.1)."""
_LONGEST = 16 * 1024
"""Maximum bytes of a version 2 header; its TLVs may hold the certificate of a client."""
_LOCAL, _PROXY = 0x20, 0x21
"""Version 2 in the high bits, the command in the low ones (section 2.2)."""
_TCP4, _TCP6 = 0x11, 0x21
_UNSPEC, _UDP4, _UDP6, _UNIX, _UNIX_DATAGRAM = 0x00, 0x12, 0x22, 0x31, 0x32
_ADDRESSES = {_TCP4: 12, _UDP4: 12, _TCP6: 36, _UDP6: 36, _UNIX: 216, _UNIX_DATAGRAM: 216}
"""Family and transport → bytes of the two addresses and ports (section 2.2)."""


class Preface(NamedTuple):
    """The content of a header, and its size."""

    address: str
    """The client's; empty for the proxy's own connection (LOCAL) or an unknown client (UNKNOWN)."""
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
    """Parse the header at the beginning of `data`; return None while it is incomplete.

    Raises `ValueError` for anything else, as early as a byte differs: the slices compare the bytes
    that have arrived with as many of the signature.
    """
    if data[: len(_SIGNATURE)] == _SIGNATURE[: len(data)]:
        return _version_2(data)
    if data[: len(_START)] == _START[: len(data)]:
        return _version_1(data)
    raise ValueError("a connection from a trusted proxy must begin with a PROXY header")


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
    client, _ = family(words[2]), family(words[3])  # the second one is only checked
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
    # LOCAL is a health check of the proxy: its addresses must be ignored (section 2.2).
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
    raise ValueError("the PROXY header is for UDP")
