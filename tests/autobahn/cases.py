"""The cases of Autobahn's test suite 1 to 7, 9, 10, 12 and 13, as tables.

They are written anew from RFC 6455 and the suite's public descriptions, and have its numbers. A
case is what a client sends, what it must get back, and who closes the connection. Sizes and counts
of groups 9, 12 and 13 are smaller where a table says so, to bound the time.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL, PROTOCOL_ERROR, INVALID_DATA = 1000, 1002, 1007

Event = tuple[int, bytes]
"""Opcode and payload of a message or a pong that comes back."""
Step = bytes | float
"""Bytes to send, or seconds to wait."""

_MASK = b"\x37\xfa\x21\x3d"


@dataclass(frozen=True)
class Case:
    """One case."""

    name: str
    send: tuple[Step, ...]
    expect: tuple[Event, ...] = ()
    also: tuple[tuple[Event, ...], ...] = ()
    """Events that are allowed too, and make the case non-strict."""
    codes: frozenset[int] = frozenset()
    """Close codes with which the server must end the connection; empty: the client closes it."""
    chop: int = 0
    """Bytes that are written at a time, if not all."""
    rounds: int = 1
    """Times that it is sent and answered."""
    answer: bytes | None = None
    """Payload of the server's close frame, where the client has sent one in `send`."""
    offer: str = ""
    """Extensions that the client offers (RFC 7692)."""
    agreed: str = ""
    """Those that the server has to agree to; with one, what is sent is compressed."""
    slow_pauses: int = 0
    """Pauses after which the server must have ended the connection; later is non-strict."""


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, reserved: int = 0) -> bytes:
    """Return a client's frame (RFC 6455 section 5.2)."""
    head = bytes([fin << 7 | reserved << 4 | opcode])
    size = len(payload)
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += struct.pack("!BH", 0x80 | 126, size)
    else:
        head += struct.pack("!BQ", 0x80 | 127, size)
    key = int.from_bytes((_MASK * (size // 4 + 1))[:size], "big")
    return head + _MASK + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def fragments(*payloads: bytes, opcode: int = TEXT) -> list[bytes]:
    """Return the frames of one message."""
    last = len(payloads) - 1
    return [
        frame(payload, CONTINUATION if at else opcode, fin=at == last)
        for at, payload in enumerate(payloads)
    ]


def close(code: int | None = NORMAL, reason: bytes = b"") -> bytes:
    """Return a close frame, without a payload if there is no code."""
    return frame(b"" if code is None else struct.pack("!H", code) + reason, CLOSE)


def echoed(name: str, payload: bytes, opcode: int = TEXT, chop: int = 0) -> Case:
    """Return the case of a message that comes back."""
    return Case(name, (frame(payload, opcode),), ((opcode, payload),), chop=chop)


def failed(name: str, *send: Step, before: Iterable[Event] = (), chop: int = 0) -> Case:
    """Return the case of a breach of the protocol; what came `before` it may be answered."""
    events = tuple(before)
    also = ((),) if events else ()
    return Case(name, send, events, also, frozenset([PROTOCOL_ERROR]), chop)


def _framing() -> Iterator[Case]:
    for group, opcode, byte in (("1.1", TEXT, b"*"), ("1.2", BINARY, b"\xfe")):
        for number, size in enumerate((0, 125, 126, 127, 128, 65535, 65536, 65536), 1):
            yield echoed(f"{group}.{number}", byte * size, opcode, chop=997 if number == 8 else 0)


def _pings() -> Iterator[Case]:
    first = [b"", b"Hello, world!", b"\0\xff\xfe\xfd\xfc", b"\xfe" * 125]
    for number, payload in enumerate(first, 1):
        yield Case(f"2.{number}", (frame(payload, PING),), ((PONG, payload),))
    yield failed("2.5", frame(b"\xfe" * 126, PING))
    yield Case("2.6", (frame(b"\xfe" * 125, PING),), ((PONG, b"\xfe" * 125),), chop=1)
    yield Case("2.7", (frame(b"", PONG),))
    yield Case("2.8", (frame(b"not asked for", PONG),))
    yield Case("2.9", (frame(b"not asked for", PONG), frame(b"ping", PING)), ((PONG, b"ping"),))
    payloads = [b"payload-%d" % number for number in range(10)]
    pings, pongs = [frame(p, PING) for p in payloads], [(PONG, p) for p in payloads]
    yield Case("2.10", tuple(pings), tuple(pongs))
    yield Case("2.11", tuple(pings), tuple(pongs), chop=1)


def _reserved_bits() -> Iterator[Case]:
    text, hello = frame(b"Hello, world!"), [(TEXT, b"Hello, world!")]
    ping = frame(b"", PING)
    yield failed("3.1", frame(b"Hello, world!", reserved=1))
    yield failed("3.2", text + frame(b"Hello, world!", reserved=2) + ping, before=hello)
    yield failed("3.3", text, frame(b"Hello, world!", reserved=3), ping, before=hello)
    yield failed("3.4", text, frame(b"Hello, world!", reserved=4), ping, before=hello, chop=1)
    yield failed("3.5", frame(b"\0\xff\xfe", BINARY, reserved=5))
    yield failed("3.6", frame(b"Hello, world!", PING, reserved=6))
    yield failed("3.7", frame(b"", CLOSE, reserved=7))


def _opcodes() -> Iterator[Case]:
    text, ping = frame(b"Hello, world!"), frame(b"", PING)
    for group, first in (("4.1", 3), ("4.2", 11)):
        hello = [(TEXT, b"Hello, world!")]
        yield failed(f"{group}.1", frame(b"", first))
        yield failed(f"{group}.2", frame(b"reserved", first + 1))
        yield failed(f"{group}.3", text, frame(b"", first + 2), ping, before=hello)
        yield failed(f"{group}.4", text, frame(b"reserved", first + 3), ping, before=hello)
        yield failed(f"{group}.5", text, frame(b"", first + 4), ping, before=hello, chop=1)


def _fragmentation() -> Iterator[Case]:
    yield failed("5.1", *fragments(b"fragment1", b"fragment2", opcode=PING))
    yield failed("5.2", *fragments(b"fragment1", b"fragment2", opcode=PONG))
    one, two = fragments(b"fragment1", b"fragment2")
    whole, ping = (TEXT, b"fragment1fragment2"), frame(b"ping", PING)
    yield Case("5.3", (one + two,), (whole,))
    yield Case("5.4", (one, two), (whole,))
    yield Case("5.5", (one, two), (whole,), chop=1)
    answered = ((PONG, b"ping"), whole)
    yield Case("5.6", (one + ping + two,), answered)
    yield Case("5.7", (one, ping, two), answered)
    yield Case("5.8", (one, ping, two), answered, chop=1)
    text = frame(b"Hello, world!")
    for start, fin in ((9, True), (12, False)):
        stray = frame(b"non-continuation payload", CONTINUATION, fin=fin)
        yield failed(f"5.{start}", stray + text)
        yield failed(f"5.{start + 1}", stray, text)
        yield failed(f"5.{start + 2}", stray, text, chop=1)
    stray = frame(b"fragment3", CONTINUATION, fin=False)
    yield failed("5.15", one + two + stray + frame(b"fragment4"), before=[whole])
    for number, fin in ((16, False), (17, True)):
        stray = frame(b"fragment1", CONTINUATION, fin=fin)
        yield failed(f"5.{number}", *[stray, *fragments(b"fragment2", b"fragment3")] * 2)
    yield failed("5.18", frame(b"fragment1", fin=False), frame(b"fragment2"))
    parts = fragments(*(b"fragment%d" % number for number in range(1, 6)))
    pongs = ((PONG, b"pongme 1!"), (PONG, b"pongme 2!"))
    all_of_it = (TEXT, b"fragment1fragment2fragment3fragment4fragment5")
    pings = [frame(payload, PING) for _, payload in pongs]
    mixed: list[Step] = [*parts[:2], pings[0], 0.2, *parts[2:4], pings[1], parts[4]]
    yield Case("5.19", tuple(mixed), (*pongs, all_of_it))
    yield Case("5.20", tuple(step for step in mixed if step != 0.2), (*pongs, all_of_it))


KOSME = "κόσμε".encode()  # with U+1F79, as in the test file


def _first_invalid(data: bytes) -> int:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(data)


def _text(name: str, payload: bytes) -> Case:
    """Return the case of a text that comes back if it is UTF-8, and must not otherwise."""
    if _first_invalid(payload) == len(payload):
        return echoed(name, payload)
    return Case(name, (frame(payload),), codes=frozenset([INVALID_DATA]))


def _utf8() -> Iterator[Case]:
    yield Case("6.1.1", (frame(b""),), ((TEXT, b""),))
    yield Case("6.1.2", tuple(fragments(b"", b"", b"")), ((TEXT, b""),))
    middle = b"middle frame payload"
    yield Case("6.1.3", tuple(fragments(b"", middle, b"")), ((TEXT, middle),))
    hello = "Hello-µ@ßöäüàá-UTF-8!!".encode()
    yield echoed("6.2.1", hello)
    cut = hello.index("ö".encode())
    yield Case("6.2.2", tuple(fragments(hello[:cut], hello[cut:])), ((TEXT, hello),))
    for number, text in ((3, hello), (4, KOSME)):
        bytewise = fragments(*(bytes([byte]) for byte in text))
        yield Case(f"6.2.{number}", tuple(bytewise), ((TEXT, text),))
    wrong = KOSME + b"\xed\xa0\x80edited"
    invalid = frozenset([INVALID_DATA])
    yield Case("6.3.1", (frame(wrong),), codes=invalid)
    yield Case("6.3.2", tuple(fragments(*(bytes([b]) for b in wrong))), codes=invalid)
    parts = (KOSME, b"\xf4\x90\x80\x80", b"edited")
    later = (KOSME + b"\xf4", b"\x90", b"\x80\x80edited")
    for number, pieces in ((1, parts), (2, later)):
        one, two, three = fragments(*pieces)
        send = (one, 0.2, two, 0.3, three, 0.2)
        yield Case(f"6.4.{number}", send, codes=invalid, slow_pauses=2)
    for number, pieces in ((3, parts), (4, later)):
        data = frame(b"".join(pieces))
        head = len(data) - len(b"".join(pieces))
        ends = [head + len(pieces[0]), head + len(pieces[0]) + len(pieces[1])]
        send = (data[: ends[0]], 0.2, data[ends[0] : ends[1]], 0.3, data[ends[1] :], 0.2)
        yield Case(f"6.4.{number}", send, codes=invalid, slow_pauses=2)
    for group, texts in enumerate(_stress(), 5):
        for number, text in enumerate(texts, 1):
            yield _text(f"6.{group}.{number}", text)


def _stress() -> Iterator[list[bytes]]:
    """The sequences of Markus Kuhn's UTF-8 decoder stress test, group by group."""

    def hexes(text: str) -> list[bytes]:
        return [bytes.fromhex(each) for each in text.split()]

    def spaced(first: int, last: int) -> bytes:
        return b"".join(bytes([byte, 0x20]) for byte in range(first, last + 1))

    yield [b"hello" + each.encode() + b"world" for each in "$¢€\U00024b62"] + [KOSME]
    yield [KOSME[:size] for size in range(1, len(KOSME) + 1)]
    yield hexes("00 c280 e0a080 f0908080")
    yield hexes("f888808080 fc8480808080")
    yield hexes("7f dfbf efbfbf f48fbfbf")
    yield hexes("f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf")
    yield hexes("ed9fbf ee8080 efbfbd f48fbfbf f4908080")
    continued = [(b"\x80\xbf" * 3)[:size] for size in range(2, 7)]
    yield [b"\x80", b"\xbf", *continued, bytes(range(0x80, 0xBF))]
    yield [spaced(*ends) for ends in ((192, 223), (224, 239), (240, 247), (248, 251), (252, 253))]
    cut_off = hexes("c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf")
    yield cut_off
    yield [b"".join(cut_off)]
    yield hexes("fe ff fefeffff")
    yield hexes("c0af e080af f08080af f8808080af fc80808080af")
    yield hexes("c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf")
    yield hexes("c080 e08080 f0808080 f880808080 fc8080808080")
    single = hexes("eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf")
    yield single
    yield [high + low for high in single[:4] for low in (single[4], single[6])]
    yield [chr(plane << 16 | low).encode() for plane in range(17) for low in (0xFFFE, 0xFFFF)]
    yield [chr(code).encode() for code in range(0xFFF9, 0x10000)]


def _closing() -> Iterator[Case]:
    text, ping = frame(b"Hello World!"), frame(b"", PING)
    normal = struct.pack("!H", NORMAL)
    yield Case("7.1.1", (text, close()), ((TEXT, b"Hello World!"),), answer=normal)
    yield Case("7.1.2", (close(), close()), answer=normal)
    yield Case("7.1.3", (close(), ping), answer=normal)
    yield Case("7.1.4", (close(), text), answer=normal)
    one, two = fragments(b"fragment1", b"fragment2")
    yield Case("7.1.5", (one, close(), two), answer=normal)
    long = b"BAsd7&jh23" * (256 * 1024 // 10)
    both = ((TEXT, long), (TEXT, b"Hello World!"))
    yield Case("7.1.6", (frame(long), text, close(), ping), both, ((), both[:1]), answer=normal)
    yield Case("7.3.1", (close(None),), answer=b"")
    yield failed("7.3.2", frame(b"a", CLOSE))
    for number, reason in ((3, b""), (4, b"Hello World!"), (5, b"*" * 123)):
        yield Case(f"7.3.{number}", (close(reason=reason),), answer=normal + reason)
    yield failed("7.3.6", close(reason=b"*" * 124))
    not_utf8 = close(reason=KOSME + b"\xed\xa0\x80edited")
    yield Case("7.5.1", (not_utf8,), codes=frozenset([INVALID_DATA]))
    good = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    for number, code in enumerate(good, 1):
        yield Case(f"7.7.{number}", (close(code),), answer=struct.pack("!H", code))
    for number, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield failed(f"7.9.{number}", close(code))
    for number, code in enumerate((5000, 65535), 1):
        yield failed(f"7.13.{number}", close(code))


_KIB, _MIB = 2**10, 2**20


def _performance() -> Iterator[Case]:
    """The suite sends fragments of 4 MiB and 1000 messages; here it is 1 MiB, and 100 messages."""
    for group, opcode, byte in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        sizes = (64 * _KIB, 256 * _KIB, _MIB, 4 * _MIB, 8 * _MIB, 16 * _MIB)
        for number, size in enumerate(sizes, 1):
            yield echoed(f"9.{group}.{number}", byte * size, opcode)
        data = byte * _MIB
        for number, size in enumerate((64 * 4**power for power in range(9)), 1):
            pieces = [data[at : at + size] for at in range(0, _MIB, size)]
            frames = b"".join(fragments(*pieces, opcode=opcode))
            yield Case(f"9.{group + 2}.{number}", (frames,), ((opcode, data),))
        for number, size in enumerate((64, 128, 256, 512, 1024, 2048), 1):
            yield echoed(f"9.{group + 4}.{number}", data, opcode, chop=size)
        for number, size in enumerate((0, 16, 64, 256, 1024, 4096), 1):
            message = frame(byte * size, opcode)
            yield Case(f"9.{group + 6}.{number}", (message,), ((opcode, byte * size),), rounds=100)


def _fragmented_by_itself() -> Iterator[Case]:
    data = b"*" * 65536
    pieces = [data[at : at + 1300] for at in range(0, len(data), 1300)]
    yield Case("10.1.1", tuple(fragments(*pieces)), ((TEXT, data),))


_DEFLATE = "permessage-deflate"
_SIZES = [(16 << power, 0) for power in (0, 2, 4, 6, 8, 9, 10, 11, 12, 13)] + [
    *[(8192 << power, 256) for power in range(5)],
    *[(131072, size) for size in (1024, 4096, 32768)],
]
"""Bytes of a message, and of its fragments if it has any."""
_OFFERS = {
    1: (_DEFLATE, f"{_DEFLATE}; client_no_context_takeover"),
    2: (f"{_DEFLATE}; server_no_context_takeover", ""),
    3: (f"{_DEFLATE}; server_max_window_bits=9", ""),
    4: (
        f"{_DEFLATE}; server_max_window_bits=15",
        f"{_DEFLATE}; client_no_context_takeover; server_max_window_bits=15",
    ),
    5: (f"{_DEFLATE}; server_no_context_takeover; server_max_window_bits=9", ""),
    6: (f"{_DEFLATE}; server_no_context_takeover; server_max_window_bits=15", ""),
    7: (
        f"{_DEFLATE}; server_no_context_takeover; server_max_window_bits=9,"
        f" {_DEFLATE}; server_no_context_takeover, {_DEFLATE}",
        f"{_DEFLATE}; client_no_context_takeover",
    ),
}
"""Group of 13 → an offer, and what the server agrees to; what it declines goes on plain."""


def _material() -> dict[int, tuple[int, bytes]]:
    """Return the data of the groups of 12: opcode and bytes, as alike as those of the suite."""
    json = b",".join(b'{"id":%d,"name":"player %d","level":40}' % (n, n * n) for n in range(5000))
    noise = b"".join(struct.pack("!Q", n * 0x9E3779B97F4A7C15 % 2**64) for n in range(20000))
    picture = bytes((n * n // 700 + noise[n] % 3) % 256 for n in range(140000))
    poem = "Habe nun, ach! Philosophie, Juristerei und Medizin durchaus studiert … ".encode()
    html = b"".join(b"<tr><td class=a>%d</td><td>%x</td></tr>" % (n, n * 77) for n in range(5000))
    return {
        1: (TEXT, json),
        2: (BINARY, picture),
        3: (TEXT, b"".join(b"%d %b" % (n, poem) for n in range(2000))),
        4: (TEXT, html),
        5: (BINARY, noise),
    }


def _compression() -> Iterator[Case]:
    """The suite sends 1000 messages in each; here it is 4, each of them the same."""
    material = _material()
    for group, (opcode, data) in material.items():
        yield from _sizes(f"12.{group}", opcode, data, *_OFFERS[1])
    for group, (offer, agreed) in _OFFERS.items():
        yield from _sizes(f"13.{group}", *material[1], offer, agreed)


def _sizes(name: str, opcode: int, data: bytes, offer: str, agreed: str) -> Iterator[Case]:
    for number, (size, fragment) in enumerate(_SIZES, 1):
        message = data[:size]
        if opcode == TEXT:
            message = message.decode(errors="ignore").encode()
        body = _deflated(message) if agreed else message
        pieces = [
            body[at : at + (fragment or len(body))]
            for at in range(0, len(body), fragment or len(body))
        ]
        sent = fragments(*pieces, opcode=opcode)
        if agreed:
            sent[0] = bytes([sent[0][0] | 0x40]) + sent[0][1:]
        expect = ((opcode, message),)
        yield Case(
            f"{name}.{number}", (b"".join(sent),), expect, rounds=4, offer=offer, agreed=agreed
        )


def _deflated(message: bytes) -> bytes:
    """Compress a message by itself (RFC 7692 section 7.2.1)."""
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    return (deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def all_cases() -> Iterator[Case]:
    """Make every case."""
    for group in (
        *(_framing, _pings, _reserved_bits, _opcodes, _fragmentation, _utf8, _closing),
        *(_performance, _fragmented_by_itself, _compression),
    ):
        yield from group()
