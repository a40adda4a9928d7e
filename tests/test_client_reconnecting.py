"""The client behind a proxy that cuts, and against servers that close its connections."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from livelog import (
    Config,
    ConnectionEndedError,
    Gap,
    RaidMessage,
    Server,
    Status,
    Subscription,
    UnreachableError,
    UserMessage,
    connect,
)
from livelog.client import errors
from livelog.client.backoff import Clock
from livelog.client.reconnecting import HEARTBEAT
from tests.support.cutting import proxying
from tests.support.following import IMPATIENT, contents, take
from tests.support.process import Start, ready
from tests.support.tls import Files, make_certificate
from tests.support.wire import SAMPLES, on_uvloop, serving, soon, until, user


@on_uvloop
async def test_fifty_cuts_lose_nothing_and_double_nothing() -> None:
    async with serving(limits=False) as house, proxying(house.server.port) as proxy:
        async with (
            connect(proxy.url, clock=IMPATIENT) as log,
            log.subscribe(["user"]) as messages,
            log.subscribe(["raid"]) as others,
        ):
            reading = asyncio.ensure_future(take(aiter(messages), 1000))
            for cut in range(50):
                sent = [log.publish(user(str(20 * cut + n))) for n in range(20)]
                publishing = asyncio.gather(*sent)
                # mypy cannot infer a lambda with a default, which binds the number of this cut.
                await until(lambda c=cut: proxy.accepted > c, "connected")  # type: ignore[misc]
                for _ in range(cut % 7):
                    await asyncio.sleep(0)
                proxy.cut()
                await soon(publishing)
            got = contents(await soon(reading))
            house.append(SAMPLES[3])
            assert isinstance((await take(aiter(others), 1))[0], RaidMessage)
            assert (await log.history()).total == 1001
        assert sorted(map(int, got)) == [*range(1000)]
        assert proxy.accepted > 50


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_doubled_whenever_it_is_cut(seed: int) -> None:
    """Quick and slow users, narrow filters, starts in the past; heartbeats all the while."""
    chance = random.Random(seed)
    clock = Clock(sleep=lambda seconds: asyncio.sleep(min(seconds, 0.02) * chance.random()))

    async def follow(messages: Subscription, pause: float) -> list[int]:
        got: list[int] = []
        async with messages:
            async for item in messages:
                assert isinstance(item, UserMessage), item
                if item.content == "the end":
                    break
                got.append(int(item.content.split()[0]))
                if pause and chance.random() < 0.01:
                    await asyncio.sleep(pause * chance.random())
        return got

    @on_uvloop
    async def check() -> None:
        async with (
            serving(limits=False, stall_seconds=0.1, close_timeout=0.1) as house,
            proxying(house.server.port) as proxy,
            connect(proxy.url, clock=clock) as log,
        ):
            asked = [
                (log.subscribe("user"), 0.0),
                (log.subscribe("user", filters={"channel": "a"}), 0.0),
                (log.subscribe("user", filters={"channel": "a"}), 0.01),
                (log.subscribe("user", since=0), 0.0),
                (log.subscribe("user"), 0.5),
            ]
            following = [asyncio.ensure_future(follow(each, pause)) for each, pause in asked]
            await until(lambda: all(each.resumes for each, _ in asked), "all in force")
            everything, in_a = [], []
            for cut in range(60):
                for number in range(20 * cut, 20 * cut + 20):
                    channel = chance.choice("ab")
                    text = f"{number} {'x' * chance.randrange(20_000)}"
                    house.publish(text, metadata={"channel": channel})
                    everything.append(number)
                    in_a += [number] * (channel == "a")
                await asyncio.sleep(0.02 * chance.random())
                proxy.cut()
            house.publish("the end", metadata={"channel": "a"})
            got = await soon(asyncio.gather(*following))
            assert got == [everything, in_a, in_a, everything, everything]
            assert proxy.accepted > 60

    check()


@on_uvloop
async def test_a_server_that_restarts_shows_as_a_gap() -> None:
    first = Server(Config(port=0, store="memory"))
    await first.start()
    statuses: list[Status] = []
    async with (
        proxying(first.port) as proxy,
        connect(proxy.url, clock=IMPATIENT, watch=statuses.append) as log,
        log.subscribe(["user"]) as messages,
    ):
        stream = aiter(messages)
        last = (await first.publish(user("before"))).seq
        assert contents(await take(stream, 1)) == ["before"]
        first.publish_nowait(SAMPLES[3])
        await first.close()
        async with serving() as house:
            house.publish("missed")
            proxy.target = house.server.port
            gap, missed = await take(stream, 2)
            assert isinstance(gap, Gap)
            assert gap.from_ == last
            assert contents([missed]) == ["missed"]
            house.publish("after")
            assert contents(await take(stream, 1)) == ["after"]
            assert statuses[0].connected
            assert statuses[-1].connected
            assert "shutting down" in statuses[1].why
            await log.close()


@on_uvloop
async def test_what_the_pong_told_need_not_be_read_again() -> None:
    """A narrow filter sees little; the resumed place is where the server has got to."""
    beats: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(seconds: float) -> None:
        await (beats.get() if seconds == HEARTBEAT else asyncio.sleep(0.001))

    async with (
        serving(window_messages=10) as house,
        proxying(house.server.port) as proxy,
        connect(proxy.url, clock=Clock(sleep=sleep)) as log,
        log.subscribe(["raid"]) as messages,
    ):
        *_, head = house.publish(*map(str, range(100)))
        beats.put_nowait(None)
        await until(lambda: messages.seq == head, "the pong")
        proxy.cut()
        await until(lambda: proxy.accepted == 2 and messages.in_force, "resumed")
        house.append(SAMPLES[3])
        [raid] = await take(aiter(messages), 1)
        assert isinstance(raid, RaidMessage)


@on_uvloop
async def test_a_server_that_falls_silent_is_left() -> None:
    beats: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(seconds: float) -> None:
        await (beats.get() if seconds == HEARTBEAT else asyncio.sleep(0.001))

    statuses: list[Status] = []
    async with serving() as house, proxying(house.server.port) as proxy:
        clock = Clock(sleep=sleep)
        async with connect(proxy.url, clock=clock, watch=statuses.append) as log:
            await log.history()
            proxy.mute()
            asking = asyncio.ensure_future(log.history())
            for _ in range(2):
                beats.put_nowait(None)
            await until(lambda: len(statuses) > 1, "noticed")
            assert "does not answer" in statuses[1].why
            assert (await soon(asking)).total == 0


def test_a_server_that_stops_for_a_while_is_found_again(start: Start) -> None:
    server = start("--port", "0")
    url = ready(server)
    beats: asyncio.Queue[None] = asyncio.Queue()
    statuses: list[Status] = []

    async def sleep(seconds: float) -> None:
        await (beats.get() if seconds == HEARTBEAT else asyncio.sleep(0.001))

    @on_uvloop
    async def check() -> None:
        async with (
            connect(url, clock=Clock(sleep=sleep), watch=statuses.append) as log,
            log.subscribe(["user"]) as messages,
        ):
            server.send_signal(signal.SIGSTOP)
            for _ in range(2):
                beats.put_nowait(None)
            await until(lambda: len(statuses) > 1, "noticed")
            server.send_signal(signal.SIGCONT)
            await soon(log.publish(user("back")))
            assert contents(await take(aiter(messages), 1)) == ["back"]

    check()


@on_uvloop
async def test_the_schedule_is_the_one_of_the_api() -> None:
    slept: list[float] = []
    now = 0.0
    refused = asyncio.Event()

    async def sleep(seconds: float) -> None:
        nonlocal now
        if seconds == HEARTBEAT:
            await asyncio.Event().wait()
        slept.append(seconds)
        now += seconds
        if len(slept) == 8:
            refused.set()
            await proxy.listen()
        await asyncio.sleep(0)

    clock = Clock(now=lambda: now, sleep=sleep, random=lambda: 0.5)
    async with (
        serving() as house,
        proxying(house.server.port) as proxy,
        connect(proxy.url, clock=clock) as log,
    ):
        await log.history()
        await proxy.refuse()
        proxy.cut()
        await soon(refused.wait())
        assert slept == [0, 0.5, 1, 2, 4, 30, 30, 30]
        await soon(log.history())
        now += 9  # not long enough to count
        proxy.cut()
        await until(lambda: len(slept) == 9, "the next loss")
        assert slept[8] == 30
        await soon(log.history())
        now += 11
        proxy.cut()
        await until(lambda: len(slept) == 10, "the next loss")
        assert slept[9] == 0


@asynccontextmanager
async def ending(*ends: Callable[[ServerConnection], Awaitable[Any]]) -> AsyncIterator[str]:
    """A server that ends each connection as told, and then serves one for good."""
    left = [*ends]

    async def handle(connection: ServerConnection) -> None:
        await connection.send('{"action":"connected","connection_id":"c","message":"hello"}')
        await connection.send('{"action":"of the future"}')
        if left:
            await left.pop(0)(connection)
            return
        async for text in connection:
            command = json.loads(text)
            answer = {"action": "pong", "timestamp": "", "seq": 1}
            if command["action"] == "get_history":
                answer = {"action": "history", "messages": [], "total_count": 7, "limit": 1}
                answer["offset"] = 0
            await connection.send(json.dumps({**answer, "request_id": command["request_id"]}))

    async with serve(handle, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/ws/live-log"


def closing(
    code: int, why: str = "", **farewell: Any
) -> Callable[[ServerConnection], Awaitable[Any]]:
    """End a connection with this close code, and these last words."""

    async def end(connection: ServerConnection) -> None:
        if farewell:
            await connection.send(json.dumps({"action": "disconnected", **farewell}))
        await connection.close(code, why)

    return end


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1009, 1010, 4000, 4001, 4002])
def test_codes_that_make_another_attempt_useless_end_it(code: int) -> None:
    @on_uvloop
    async def check() -> None:
        async with ending(closing(code, "because")) as url, connect(url) as log:
            with pytest.raises(ConnectionEndedError, match="because") as caught:
                await anext(aiter(log.subscribe(["user"])))
            assert caught.value.code == code
            with pytest.raises(ConnectionEndedError):
                await log.history()

    check()


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013, 4003, 4999])
def test_other_codes_do_not(code: int) -> None:
    @on_uvloop
    async def check() -> None:
        async with ending(closing(code)) as url, connect(url, clock=IMPATIENT) as log:
            assert (await soon(log.history())).total == 7

    check()


@on_uvloop
async def test_who_was_too_slow_may_come_back() -> None:
    slow = closing(1008, "did not read", reason="connection_timeout")
    async with ending(slow) as url, connect(url, clock=IMPATIENT) as log:
        assert (await soon(log.history())).total == 7


@pytest.mark.parametrize(("asked", "obeyed"), [(1500, 1.5), (-5, 0.1), (10**12, 3600)])
@on_uvloop
async def test_it_comes_back_when_the_server_says(asked: int, obeyed: float) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds == HEARTBEAT:
            await asyncio.Event().wait()
        slept.append(seconds)

    moving = closing(1001, reason="normal_closure", reconnect_after_ms=asked)
    async with ending(moving) as url, connect(url, clock=Clock(sleep=sleep)) as log:
        await soon(log.history())
    assert slept == [obeyed]


@on_uvloop
async def test_what_cannot_be_reached_is_said_at_once() -> None:
    async with serving() as house:
        http = house.server.url.removesuffix("/ws/live-log")
        with pytest.raises(ConnectionEndedError, match="404"):
            await connect(http + "/elsewhere").__aenter__()
        nobody = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        port = nobody.sockets[0].getsockname()[1]
        with pytest.raises(UnreachableError, match="HTTP"):
            await connect(f"ws://127.0.0.1:{port}/ws/live-log").__aenter__()
        nobody.close()
        with pytest.raises(UnreachableError, match="refused"):
            await connect(f"ws://127.0.0.1:{port}/ws/live-log").__aenter__()
    with pytest.raises(ConnectionEndedError, match="WebSocket address"):
        await connect("localhost:8000").__aenter__()


@on_uvloop
async def test_a_full_server_is_unreachable() -> None:
    async with serving(connections_per_ip=1) as house, connect(house.server.url):
        with pytest.raises(UnreachableError, match="429"):
            await connect(house.server.url).__aenter__()


@on_uvloop
async def test_the_reason_of_a_server_that_lets_nobody_in_is_told() -> None:
    async with serving() as house:
        await house.server.admin("drain")
        with pytest.raises(UnreachableError, match="HTTP status 503: the server is being drained"):
            async with connect(house.server.url):
                raise AssertionError
        await house.server.admin("drain", undo=True)
        await house.server.admin("block", address="127.0.0.1", reason="spam", force=True)
        with pytest.raises(ConnectionEndedError, match="403: address: this address is blocked: sp"):
            async with connect(house.server.url):
                raise AssertionError


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b"\xff", b'{"action":"error"}', b""])
def test_the_page_of_a_proxy_tells_nothing(body: bytes) -> None:
    why = "the server answered the handshake with HTTP status 503"
    assert errors.of_handshake(503, "", body).why == why


@on_uvloop
async def test_it_connects_to_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    async with serving(uds=str(path)) as house:
        for url in (house.server.url, f"ws+unix://{path}:", f"ws+unix://{path}"):
            async with connect(url) as log:
                assert (await log.history()).total == 0


# What stands in for the server for a while.

Stand = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _answering(head: str) -> Stand:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode())
        writer.close()

    return answer


_NOT_FOUND = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_GATEWAY = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
_PAGE = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"
_UPGRADE = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\n\r\n"


@pytest.mark.parametrize("head", [_NOT_FOUND, _GATEWAY, _PAGE, _UPGRADE, "SSH-2.0-x\r\n", ""])
@on_uvloop
async def test_what_stands_in_for_a_server_that_worked_is_an_outage(head: str) -> None:
    async with serving() as house:
        asked = 0

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            asked += 1
            await (relay if asked == 1 or asked > 4 else _answering(head))(reader, writer)

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", house.server.port)
            await asyncio.wait(
                [asyncio.ensure_future(_pump(reader, back, 200 if asked == 1 else 1 << 30)),
                 asyncio.ensure_future(_pump(there, writer, 1 << 30))],
                return_when=asyncio.FIRST_COMPLETED,
            )  # fmt: skip
            writer.transport.abort()
            back.transport.abort()

        async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as proxy:
            url = f"ws://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/ws/live-log"
            async with connect(url, clock=IMPATIENT) as log:
                assert await soon(log.publish(user("x" * 500)))
            assert asked == 5


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, left: int) -> None:
    """Pass bytes on until the end, or until so many bytes of WebSocket frames have come."""
    with suppress(ConnectionError):
        while data := await source.read(1 << 16):
            if not data.startswith(b"GET "):
                left -= len(data)
            if left < 0:
                return
            target.write(data)


@on_uvloop
async def test_another_certificate_for_a_while_is_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = make_certificate(tmp_path, "mine"), make_certificate(tmp_path, "other")
    served = Files(tmp_path / "served.pem", tmp_path / "served.key")
    monkeypatch.setenv("SSL_CERT_FILE", str(mine.cert))

    def serve_with(files: Files) -> None:
        shutil.copy(files.cert, served.cert)
        shutil.copy(files.key, served.key)

    serve_with(mine)
    async with serving(faults=("reloaded the certificate",), **served.settings) as house:
        refused = asyncio.Event()

        def watch(status: Status) -> None:
            if "certificate" in status.why:
                refused.set()

        url = f"wss://localhost:{house.server.port}/ws/live-log"
        async with connect(url, clock=IMPATIENT, watch=watch) as log:
            await soon(log.history())
            for files in (other, mine):
                serve_with(files)
                house.server.reload()
                for connection in house.inside.connections:
                    connection.abort()
                if files is other:
                    await soon(refused.wait(), "the refusal")
            await soon(log.history())
