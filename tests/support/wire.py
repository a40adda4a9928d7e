"""A client written by hand, byte by byte, and a server to try it on: what tests of the doors share.

The client reads nothing unless a test asks it to, waits for what it expects and never for a fixed
time. A server that `serving` has started must end without a trace: no connection left, nothing
logged, no exception that escaped into the loop.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, NamedTuple, ParamSpec, Self, TypeVar

import pytest
import uvloop

from livelog import Config, Receipt, Server, Subscription
from livelog.engine.base import MakeEngine
from livelog.engine.local import LocalEngine
from livelog.net.context import Context
from livelog.net.feed import Feed
from tests.support.inside import Inside

PATIENCE = 40.0
"""Seconds after which something that was expected is held to be missing."""

Json = dict[str, Any]
Parameters = ParamSpec("Parameters")
LoopFactory = Callable[[], asyncio.AbstractEventLoop]

# Running coroutines.


def run(main: Coroutine[Any, Any, None], new_loop: LoopFactory = uvloop.new_event_loop) -> None:
    """Run `main` on a fresh loop, though not forever."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_bounded(main))


async def _bounded(main: Coroutine[Any, Any, None]) -> None:
    """Not to wait without an end. Each wait has its own limit: a busy machine takes many steps."""
    async with asyncio.timeout(10 * PATIENCE):
        await main


def on_uvloop(
    test: Callable[Parameters, Coroutine[Any, Any, None]],
) -> Callable[Parameters, None]:
    """A test that is a coroutine function."""

    @functools.wraps(test)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        run(test(*args, **kwargs))

    return wrapper


def on_each_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The same on asyncio's own loop and on uvloop."""

    @functools.wraps(test)
    def wrapper(*args: Any, new_loop: LoopFactory, **kwargs: Any) -> None:
        run(test(*args, **kwargs), new_loop)

    signature = inspect.signature(test)
    loop = inspect.Parameter("new_loop", inspect.Parameter.KEYWORD_ONLY)
    with_loop = signature.replace(parameters=[*signature.parameters.values(), loop])
    wrapper.__signature__ = with_loop  # type: ignore[attr-defined]  # pytest looks for it
    loops = [
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(uvloop.new_event_loop, id="uvloop"),
    ]
    parametrized: Callable[..., None] = pytest.mark.parametrize("new_loop", loops)(wrapper)
    return parametrized


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for `condition`."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"still not: {what}"
        await asyncio.sleep(0.005)


Found = TypeVar("Found")


async def eventually(
    ask: Callable[[], Awaitable[Found]], holds: Callable[[Found], object]
) -> Found:
    """Ask until the answer is as it should be; returns it."""
    while not holds(found := await ask()):  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.05)
    return found


async def soon(awaitable: Awaitable[Any], what: str = "an answer") -> Any:
    """The result of `awaitable`, which must not take forever."""
    try:
        return await asyncio.wait_for(awaitable, PATIENCE)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


# Frames.

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
COMPRESSED = 0x41
"""A text that is compressed: with RSV1 (RFC 7692 section 6)."""
MASK = b"\x37\xfa\x21\x3d"


class Frame(NamedTuple):
    """A frame as the server sent it."""

    opcode: int
    payload: bytes
    fin: bool = True


def frame(
    payload: bytes | str,
    opcode: int = TEXT,
    *,
    fin: bool = True,
    reserved: int = 0,
    mask: bytes | None = MASK,
) -> bytes:
    """A client's frame; with a `mask` of None it is one that no client may send."""
    data = payload.encode() if isinstance(payload, str) else payload
    head = bytes([fin << 7 | reserved << 4 | opcode])
    masked = 0x80 if mask is not None else 0
    if len(data) < 126:
        head += bytes([masked | len(data)])
    elif len(data) < 1 << 16:
        head += struct.pack("!BH", masked | 126, len(data))
    else:
        head += struct.pack("!BQ", masked | 127, len(data))
    return head + data if mask is None else head + mask + _masked(data, mask)


def _masked(data: bytes, mask: bytes) -> bytes:
    key = (mask * (len(data) // 4 + 1))[: len(data)]
    number = int.from_bytes(data, "big") ^ int.from_bytes(key, "big")
    return number.to_bytes(len(data), "big")


def command(action: str, **fields: Any) -> bytes:
    """The frame of a command."""
    return frame(json.dumps({"action": action, **fields}))


def close_frame(code: int = 1000, reason: str = "") -> bytes:
    """A client's close frame."""
    return frame(struct.pack("!H", code) + reason.encode(), CLOSE)


def take_frame(data: bytearray) -> Frame | None:
    """Cut the first frame off `data`, None while it is incomplete."""
    if len(data) < 2:
        return None
    assert not data[1] & 0x80, "a server must not mask"
    assert not data[0] & 0x30, "no such extension was negotiated"
    size, begin = data[1] & 0x7F, 2
    if size >= 126:
        begin = {126: 4, 127: 10}[size]
        if len(data) < begin:
            return None
        size = int.from_bytes(data[2:begin], "big")
    if len(data) < begin + size:
        return None
    taken = Frame(data[0] & 0x4F, bytes(data[begin : begin + size]), bool(data[0] & 0x80))
    del data[: begin + size]
    return taken


# Connections.

Address = tuple[str, int] | str


class Wire:
    """A connection that reads when it is asked to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.unread = bytearray()

    @classmethod
    async def connect(cls, address: Address, receive_buffer: int = 0, source: str = "") -> Self:
        """Connect to a port, from the address `source` if one is given, or to a Unix socket."""
        sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        if source:
            sock.bind((source, 0))
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        try:
            await soon(asyncio.get_running_loop().sock_connect(sock, address), "a connection")
        except OSError:
            sock.close()
            raise
        return cls(sock)

    async def send(self, *data: bytes) -> None:
        """Send bytes, in one piece as far as the network allows."""
        await soon(asyncio.get_running_loop().sock_sendall(self.sock, b"".join(data)), "a send")

    async def more(self) -> bool:
        """Read once; False at the end of the stream."""
        data = await soon(asyncio.get_running_loop().sock_recv(self.sock, 1 << 16), "bytes")
        self.unread += data
        return bool(data)

    async def upto(self, mark: bytes) -> bytes:
        """Read until `mark` has come, and return everything including it."""
        while mark not in self.unread:
            assert await self.more(), f"the stream ended: {bytes(self.unread)!r}"
        return self._cut(self.unread.index(mark) + len(mark))

    async def exactly(self, count: int) -> bytes:
        """Read `count` bytes."""
        while len(self.unread) < count:
            assert await self.more(), f"the stream ended: {bytes(self.unread)!r}"
        return self._cut(count)

    async def rest(self) -> bytes:
        """Read until the stream ends, orderly: a reset is an error."""
        while await self.more():
            pass
        return self._cut(len(self.unread))

    async def ended(self) -> None:
        """The server has closed the connection and said nothing more."""
        assert await self.rest() == b""

    def _cut(self, count: int) -> bytes:
        data = bytes(self.unread[:count])
        del self.unread[:count]
        return data

    def finish(self) -> None:
        """Send no more."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Be gone."""
        self.sock.close()

    def reset(self) -> None:
        """Close as a client that crashed does: without a close frame, with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        """The object in the body."""
        value: Json = json.loads(self.body)
        return value


def request(
    method: str, target: str, body: bytes | str = b"", version: str = "1.1", **headers: str
) -> bytes:
    """An HTTP request; an underscore in a header's name stands for a hyphen."""
    data = body.encode() if isinstance(body, str) else body
    if data:
        headers.setdefault("Content_Length", str(len(data)))
        headers.setdefault("Content_Type", "application/json")
    host = headers.pop("Host", "localhost")
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"{method} {target} HTTP/{version}", f"Host: {host}", *lines])
    return head.encode("latin-1") + b"\r\n\r\n" + data


class Http(Wire):
    """A connection for plain HTTP."""

    async def answer(self, *, to_head: bool = False) -> Answer:
        """The next response."""
        lines = (await self.upto(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        size = 0 if to_head else int(headers.get("content-length", 0))
        return Answer(int(lines[0].split()[1]), headers, await self.exactly(size))

    async def ask(
        self, method: str, target: str, body: bytes | str = b"", **headers: str
    ) -> Answer:
        """Send a request and read its answer."""
        await self.send(request(method, target, body, **headers))
        return await self.answer(to_head=method == "HEAD")


KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # with its answer, from RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def upgrade(target: str = "/ws/live-log", method: str = "GET", **headers: str) -> bytes:
    """The request that opens a WebSocket."""
    usual = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Key": KEY,
        "Sec_WebSocket_Version": "13",
    }
    return request(method, target, **{**usual, **headers})


class Client(Wire):
    """A WebSocket client."""

    head: Callable[[], int] = staticmethod(lambda: 0)
    """Tells the server's head."""
    all_sent: Callable[[], bool] = staticmethod(lambda: False)
    """Tells, where clients do not learn the head, whether nothing waits to be sent."""

    async def open(self, query: str = "") -> None:
        """Shake hands."""
        await self.send(upgrade(f"/ws/live-log{query}"))
        head = (await self.upto(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 101 "), head
        assert f"Sec-WebSocket-Accept: {ACCEPT}" in head

    async def frame(self) -> Frame:
        """The next frame."""
        while (taken := take_frame(self.unread)) is None:
            assert await self.more(), f"the stream ended: {bytes(self.unread)!r}"
        return taken

    async def text(self) -> bytes:
        """The next frame, which must be text.

        Pings are answered: a test may take longer than their interval on a slow machine.
        """
        opcode, payload, fin = await self.frame()
        while opcode == PING:
            await self.send(frame(payload, PONG))
            opcode, payload, fin = await self.frame()
        assert (opcode, fin) == (TEXT, True), (opcode, payload)
        return payload

    async def event(self) -> Json:
        """The object in the next frame: an event or a message."""
        value: Json = json.loads(await self.text())
        return value

    async def tell(self, action: str, **fields: Any) -> None:
        """Send a command."""
        await self.send(command(action, **fields))

    async def ask(self, action: str, **fields: Any) -> Json:
        """Send a command and return what comes next."""
        await self.tell(action, **fields)
        return await self.event()

    async def reply(self, action: str) -> Json:
        """The next event called `action`; others and messages are passed over."""
        while (event := await self.event()).get("action") != action:
            pass
        return event

    async def contents(self, count: int) -> list[str]:
        """Return the contents of the next `count` messages."""
        return [(await self.event())["content"] for _ in range(count)]

    async def everything(self) -> list[Json]:
        """All that this client is to get up to now.

        A pong can overtake messages that wait for the next round; its seq says up to where all has
        been sent.
        """
        head, events = self.head(), []
        while True:
            all_sent = self.all_sent()
            await self.tell("ping", request_id="that is all")
            while (event := await self.event()).get("request_id") != "that is all":
                events.append(event)
            if all_sent or event.get("seq", -1) >= head:
                return events

    async def closed(self) -> tuple[str, int]:
        """Read on to the reason of `disconnected` and the code of the close frame."""
        event = await self.reply("disconnected")
        return event["reason"], (await self.close_code())

    async def close_code(self) -> int:
        """The code of the close frame, which comes next."""
        opcode, payload, _ = await self.frame()
        assert opcode == CLOSE, (opcode, payload)
        return int.from_bytes(payload[:2], "big")


# The server.

AnyWire = TypeVar("AnyWire", bound=Wire)


def append(server: Server, message: Any) -> Receipt:
    """Publish a message without a wait, and look up its place in the log."""
    id = server.publish_nowait(message)
    known = Inside(server).context.log.lookup(id)
    assert known is not None
    return Receipt(id, known.seq)


class House:
    """A running server, and the clients that a test has connected to it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.inside = Inside(server)
        self._wires: list[Wire] = []

    @property
    def context(self) -> Context:
        """The context that all connections share."""
        return self.inside.context

    @property
    def feeds(self) -> dict[Subscription, Feed]:
        """The subscriptions in process, and their feeds."""
        return self.inside.feeds

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self.server.config.net.uds or ("127.0.0.1", self.server.port)

    async def wire(self, source: str = "") -> Wire:
        """A connection on which nothing was sent yet."""
        return self.kept(await Wire.connect(self.address, source=source))

    async def http(self, source: str = "") -> Http:
        """A connection for plain HTTP."""
        return self.kept(await Http.connect(self.address, source=source))

    async def client(self, query: str = "", receive_buffer: int = 0, source: str = "") -> Client:
        """A WebSocket client that has been greeted."""
        client = self.kept(await Client.connect(self.address, receive_buffer, source))
        client.head = lambda: self.inside.context.log.head
        client.all_sent = self._all_sent
        await client.open(query)
        greeting = await client.event()
        assert greeting["action"] == "connected", greeting
        return client

    def _all_sent(self) -> bool:
        context = self.inside.context
        return context.auth is not None and context.hub.idle and context.catch_up.idle

    def kept(self, wire: AnyWire) -> AnyWire:
        """Close a connection at the end of the test."""
        self._wires.append(wire)
        return wire

    def publish(self, *contents: str, **fields: Any) -> list[int]:
        """Publish user messages from inside; returns their seqs."""
        return [self.append(user(content, **fields)).seq for content in contents]

    def append(self, message: Any) -> Receipt:
        """Publish a message from inside without a wait, and look up its place in the log."""
        return append(self.server, message)

    async def emptied(self) -> None:
        """Wait until all connections are gone, and check that they leave nothing behind."""
        await until(lambda: not self.inside.connections, "all connections gone")
        # A task that is cancelled gives back what it holds a moment later.
        memory = self.inside.context.memory
        await until(lambda: not (memory.answers.total or memory.bodies.total), "nothing held")
        self.inside.check_empty()

    async def close(self) -> None:
        """Let the clients vanish, then stop the server."""
        for wire in self._wires:
            wire.close()
        await self.server.close()


@asynccontextmanager
async def serving(
    *,
    clock: Callable[[], float] = time.time,
    engine: MakeEngine = LocalEngine,
    faults: Sequence[str] = (),
    **settings: Any,
) -> AsyncIterator[House]:
    """A server on a free port, which must end without a trace, but for the `faults` expected."""
    with only_faults(*faults):
        config = Config(**{"port": 0, "store": "memory", **settings})
        house = House(Server(config, clock, engine=engine))
        await house.server.start()
        try:
            yield house
        finally:
            await house.close()
        house.inside.check_empty()


def no_faults() -> AbstractContextManager[None]:
    """Assert that nothing is logged as a warning or worse, and nothing escapes into the loop."""
    return only_faults()


@contextmanager
def only_faults(*expected: str) -> Iterator[None]:
    """The same, but for what says one of the `expected` things, which must all be said."""
    faults: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(str(context)))
    collector = _Collector(faults)
    root = logging.getLogger()
    root.addHandler(collector)
    try:
        yield
    finally:
        root.removeHandler(collector)
    for issue in expected:
        assert any(issue in fault for fault in faults), f"nobody said: {issue}"
    assert not [fault for fault in faults if not any(issue in fault for issue in expected)], faults


class _Collector(logging.Handler):
    def __init__(self, faults: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        self._faults.append(self.format(record))


# Messages.


def user(content: str = "hello", **fields: Any) -> Json:
    """A user message with the least it needs."""
    return {"type": "user", "user_id": "u1", "username": "Ann", "content": content, **fields}


SAMPLES: list[Json] = [
    {
        "type": "user",
        "id": "msg_uuid_1234",
        "timestamp": "2025-12-03T12:00:00.000Z",
        "user_id": "user_12345",
        "username": "DragonMaster",
        "user_avatar": "https://api.example.com/avatars/user_12345.png",
        "user_badge": "admin",
        "content": "Message text here",
        "metadata": {"server": "main", "channel": "general", "level": 50},
    },
    {
        "type": "system",
        "id": "sys_uuid_5678",
        "timestamp": "2025-12-03T12:00:00.000Z",
        "event": "user_joined",
        "data": {"user_id": "user_12345", "username": "DragonMaster", "count_online": 245},
        "severity": "info",
    },
    {
        "type": "dm",
        "id": "dm_uuid_9012",
        "timestamp": "2025-12-03T12:00:00.000Z",
        "from_user_id": "user_12345",
        "from_username": "DragonMaster",
        "to_user_id": "user_67890",
        "content": "Private message text",
        "read": False,
    },
    {
        "type": "raid",
        "id": "raid_uuid_3456",
        "timestamp": "2025-12-03T12:00:00.000Z",
        "raid_id": "raid_001",
        "raid_name": "Dragon's Lair",
        "boss_name": "Ancient Red Dragon",
        "difficulty": "mythic",
        "participants": [
            {
                "user_id": "user_12345",
                "username": "DragonMaster",
                "role": "tank",
                "class": "warrior",
            }
        ],
        "status": "in_progress",
        "health_percentage": 45,
        "duration_seconds": 324,
    },
    {
        "type": "party",
        "id": "party_uuid_7890",
        "timestamp": "2025-12-03T12:00:00.000Z",
        "party_id": "party_123",
        "leader_id": "user_12345",
        "leader_name": "DragonMaster",
        "member_count": 4,
        "event": "member_joined",
        "event_data": {"member_id": "user_99999", "member_name": "NewAdventurer"},
    },
    {
        "type": "guild",
        "id": "guild_uuid_2345",
        "timestamp": "2025-12-03T12:00:00.000Z",
        "guild_id": "guild_001",
        "guild_name": "The Dragonslayers",
        "guild_level": 25,
        "event": "conquest_complete",
        "event_data": {
            "territory": "Dragon Valley",
            "points_earned": 5000,
            "rank_change": "Tier 2 → Tier 1",
        },
    },
]
"""The six messages of the API's description, as they stand there."""

EXAMPLES = {message["type"]: message for message in SAMPLES}
TYPES = [*EXAMPLES]
ACTIONS = [
    "subscribe",
    "unsubscribe",
    "get_history",
    "search",
    "analyze",
    "watch",
    "unwatch",
    "presence",
    "ping",
    "publish",
    "authenticate",
    "admin",
]
"""The commands, in the order in which they are listed."""


def assert_refused(answer_json: Json, code: int, field: str) -> None:
    """Check the `error` object of an answer over HTTP."""
    assert answer_json["action"] == "error"
    assert answer_json["error_code"] == code
    assert answer_json["error_message"]
    assert answer_json["details"]["field"] == field
    assert answer_json["details"]["issue"]
