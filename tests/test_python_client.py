"""The client against real servers, behind a proxy that cuts, and against servers that end it."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from livelog import (
    Config,
    ConnectionEndedError,
    Gap,
    RefusedError,
    Server,
    UnreachableError,
    connect,
)
from livelog.client import Clock, Delivered, Item, Status, Subscription
from livelog.client import reconnecting as lines
from livelog.client.backoff import FORGET, Pace
from livelog.client.subscription import QUEUE
from livelog.wire.messages import RaidMessage, UserMessage
from tests.support.cutting import proxying
from tests.support.process import Start, ready
from tests.support.wire import SAMPLES, TYPES, House, on_uvloop, serving, soon, until, user

ROOT = Path(__file__).parent.parent


async def impatient_sleep(seconds: float) -> None:
    """Hardly wait, except for the next heartbeat."""
    await (asyncio.Event().wait() if seconds == lines.HEARTBEAT else asyncio.sleep(0.001))


IMPATIENT = Clock(sleep=impatient_sleep)


def url_of(house: House) -> str:
    return house.server.url


async def take(messages: AsyncIterator[Item], count: int) -> list[Item]:
    """The next `count` things that are yielded."""
    return [await soon(anext(messages)) for _ in range(count)]


def contents(items: list[Item]) -> list[str]:
    """What user messages say."""
    return [item.content for item in items if isinstance(item, UserMessage)]


# Following.


@on_uvloop
async def test_messages_come_as_structs_with_their_seq() -> None:
    async with serving() as house, connect(url_of(house)) as log:
        async with log.subscribe() as messages:
            seqs = [house.server.publish(sample).seq for sample in SAMPLES]
            got = await take(aiter(messages), 6)
        assert [type(item).__struct_config__.tag for item in got] == TYPES
        assert [item.seq for item in got if not isinstance(item, Gap)] == seqs
        raid = got[3]
        assert isinstance(raid, RaidMessage)
        assert raid.participants[0].class_ == "warrior"


@on_uvloop
async def test_filters_hold() -> None:
    async with (
        serving() as house,
        connect(url_of(house)) as log,
        log.subscribe(["user"], filters={"channel": "general"}) as messages,
    ):
        house.publish("no", metadata={"channel": "trade"})
        house.publish("yes", metadata={"channel": "general"})
        assert contents(await take(aiter(messages), 1)) == ["yes"]


@on_uvloop
async def test_since_starts_in_the_past_and_leads_into_the_present() -> None:
    async with serving() as house, connect(url_of(house)) as log:
        first, *_ = house.publish("a", "b", "c")
        async with log.subscribe(["user"], since=first) as messages:
            house.publish("d")
            assert contents(await take(aiter(messages), 3)) == ["b", "c", "d"]


@on_uvloop
async def test_a_loop_that_is_left_ends_its_subscription() -> None:
    async with serving() as house, connect(url_of(house)) as log:
        house.publish("a")
        async for message in log.subscribe(["user"], since=0):
            assert isinstance(message, (UserMessage, Gap))
            break
        await until(lambda: not house.context.hub._audiences, "nobody listens")


@on_uvloop
async def test_closing_the_client_ends_the_loop() -> None:
    async with serving() as house:
        log = connect(url_of(house))
        async with log, log.subscribe(["user"]) as messages:
            reading = asyncio.ensure_future(anext(aiter(messages), None))
            await log.close()
            assert await soon(reading) is None
        with pytest.raises(ConnectionEndedError, match="closed"):
            await log.history()


@on_uvloop
async def test_closing_the_client_ends_what_waits_for_a_connection() -> None:
    async def sleep(seconds: float) -> None:
        await asyncio.Event().wait()

    async with serving() as house, proxying(house.server.port) as proxy:
        statuses: list[Status] = []
        log = connect(proxy.url, clock=Clock(sleep=sleep), watch=statuses.append)
        async with log:
            await proxy.refuse()
            proxy.cut()
            await until(lambda: not statuses[-1].connected, "lost")
            asking = asyncio.ensure_future(log.history())
            await asyncio.sleep(0)
        with pytest.raises(ConnectionEndedError, match="closed"):
            await soon(asking)
        with pytest.raises(ConnectionEndedError, match="closed"):
            await soon(log.history())
        with pytest.raises(ConnectionEndedError, match="closed"):
            await soon(anext(aiter(log.subscribe())))


@on_uvloop
async def test_subscriptions_that_agree_share_a_connection() -> None:
    async with (
        serving() as house,
        connect(url_of(house)) as log,
        log.subscribe(["user"]) as users,
        log.subscribe(["user", "raid"]) as both,
        log.subscribe(["dm"], filters={"user_id": "user_67890"}) as direct,
    ):
        for sample in SAMPLES:
            house.server.publish(sample)
        assert [len(await take(aiter(each), n)) for each, n in [(users, 1), (direct, 1)]]
        got = await take(aiter(both), 2)
        assert isinstance(got[1], RaidMessage)
        assert len(house.context.peers) == 1


@on_uvloop
async def test_one_that_ends_leaves_the_others_what_they_asked_for() -> None:
    async with (
        serving() as house,
        connect(url_of(house)) as log,
        log.subscribe(["user", "raid"]) as stays,
    ):
        async with log.subscribe(["user", "dm"]):
            pass
        await until(lambda: told(house) == {"user", "raid"}, "unsubscribed")
        house.publish("still here")
        assert contents(await take(aiter(stays), 1)) == ["still here"]


def told(house: House) -> set[str]:
    """What the one client is subscribed to."""
    [audience] = house.context.hub._audiences
    return set(audience.types)


@on_uvloop
async def test_subscriptions_that_contradict_each_other_both_get_theirs() -> None:
    async with serving() as house, connect(url_of(house)) as log:
        async with (
            log.subscribe(["user"], filters={"channel": "a"}) as a,
            log.subscribe(["user"], filters={"channel": "b"}) as b,
            log.subscribe(["user"]) as everything,
        ):
            for channel in "abab":
                house.publish(channel, metadata={"channel": channel})
            assert contents(await take(aiter(a), 2)) == ["a", "a"]
            assert contents(await take(aiter(b), 2)) == ["b", "b"]
            assert contents(await take(aiter(everything), 4)) == ["a", "b", "a", "b"]
            assert len(house.context.peers) == 3
        await until(lambda: len(house.context.peers) == 1, "their connections closed")


@on_uvloop
async def test_one_that_starts_in_the_past_does_not_take_others_there() -> None:
    async with serving() as house, connect(url_of(house)) as log:
        house.publish("old")
        async with log.subscribe(["user"], since=0) as past, log.subscribe("user") as live:
            house.publish("new")
            assert contents(await take(aiter(past), 2)) == ["old", "new"]
            assert contents(await take(aiter(live), 1)) == ["new"]


@on_uvloop
async def test_a_refused_subscription_says_why_and_harms_no_other() -> None:
    async with serving() as house, connect(url_of(house)) as log:
        async with log.subscribe(["user"]) as messages:
            with pytest.raises(RefusedError) as caught:
                async with log.subscribe(["user"], filters={"colour": "red"}):
                    pass
            with pytest.raises(RefusedError):
                await anext(aiter(log.subscribe(["usr"])))
            house.publish("hello")
            assert contents(await take(aiter(messages), 1)) == ["hello"]
        assert caught.value.code == 1002
        assert "colour" in str(caught.value)
        assert "channel" in caught.value.details["allowed"]


# Asking and publishing.


@on_uvloop
async def test_history_and_search_answer_with_pages() -> None:
    async with serving() as house, connect(url_of(house)) as log:
        house.publish("red dragon", "blue bird", "red bird")
        past = await log.history(limit=2, filters={"type": "user"})
        assert (contents([*past.messages]), past.total, past.offset) == (
            ["red bird", "blue bird"],
            3,
            0,
        )
        found = await log.search("red", offset=1)
        assert (contents([*found.messages]), found.total, found.offset) == (["red dragon"], 2, 1)
        with pytest.raises(RefusedError, match="limit"):
            await log.history(limit=0)


@on_uvloop
async def test_publishing_waits_for_the_acknowledgement() -> None:
    async with serving() as house, connect(url_of(house)) as log:
        struct = await log.publish(UserMessage(user_id="u", username="Ann", content="one"))
        assert struct.id.startswith("msg_")
        plain = await log.publish(user("two", id="mine"))
        again = await log.publish(user("two", id="mine"))
        assert (plain.id, plain.seq) == ("mine", again.seq)
        received: Delivered = (await log.history()).messages[0]
        assert (await log.publish(received)).seq == plain.seq
        assert house.context.log.head == plain.seq
        with pytest.raises(RefusedError, match="content") as caught:
            await log.publish({"type": "user", "user_id": "u", "username": "Ann"})
        assert caught.value.field == "message.content"


@on_uvloop
async def test_commands_over_the_limit_wait_and_are_sent_again() -> None:
    async with (
        serving(command_limit=3, message_limit=30, limit_window=1) as house,
        connect(url_of(house)) as log,
    ):
        pages = await soon(asyncio.gather(*(log.history() for _ in range(8))))
        assert len(pages) == 8
        await soon(asyncio.gather(*(log.publish(user(str(n))) for n in range(60))))
        assert (await log.history()).total == 60
        assert len(house.context.peers) == 1


@on_uvloop
async def test_a_message_that_is_too_big_ends_nothing_but_itself() -> None:
    async with (
        serving() as house,
        connect(url_of(house), clock=IMPATIENT) as log,
        log.subscribe(["user"]) as messages,
    ):
        small = asyncio.ensure_future(log.publish(user("small")))
        with pytest.raises(RefusedError, match="message: 70") as caught:
            await soon(log.publish(user("x" * 70_000)))
        assert caught.value.code == 1009
        await soon(small)
        assert contents(await take(aiter(messages), 1)) == ["small"]
        assert (await log.history()).total == 1


def test_refused_callers_get_their_turns_one_after_the_other() -> None:
    now, slept = 100.0, []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    @on_uvloop
    async def check() -> None:
        nonlocal now
        pace = Pace(Clock(now=lambda: now, sleep=sleep))
        await pace.turn()
        assert slept == []
        pace.refused(6)
        pace.refused(2)
        for _ in range(3):
            await pace.turn()
        assert slept == [6, 12, 18]
        now += 18 + 6 + FORGET
        await pace.turn()
        assert slept == [6, 12, 18]

    check()


# Users who are slow.


@on_uvloop
async def test_a_slow_user_gets_everything_and_holds_up_nobody() -> None:
    async with (
        serving(stall_seconds=0.5) as house,
        connect(url_of(house)) as log,
        log.subscribe(["user"]) as slow,
        log.subscribe(["user"]) as quick,
    ):
        count = 20 * QUEUE
        seen = asyncio.ensure_future(take(aiter(quick), count))
        for start in range(0, count, 100):
            house.publish(*(f"{n} {'x' * 1000}" for n in range(start, start + 100)))
            await asyncio.sleep(0)
        assert len(await soon(seen)) == count
        assert (await soon(log.history(limit=1))).total == count
        assert len(slow._items) == QUEUE
        assert slow in log._own
        got = contents(await take(aiter(slow), count))
        assert [int(text.split()[0]) for text in got] == [*range(count)]


@on_uvloop
async def test_a_user_who_was_away_for_long_goes_on_where_he_was() -> None:
    async with (
        # Longer than the client waits before it moves a subscription out.
        serving(stall_seconds=2 * lines.PATIENCE, close_timeout=0.2) as house,
        connect(url_of(house), clock=IMPATIENT) as log,
        log.subscribe(["user"]) as slow,
    ):
        count = 20 * QUEUE
        for start in range(0, count, 100):
            house.publish(*(f"{n} {'x' * 1000}" for n in range(start, start + 100)))
            await asyncio.sleep(0)
        await until(lambda: slow in log._own and len(house.context.peers) == 2, "moved out")
        await until(lambda: len(house.context.peers) == 1, "closed by the server")
        got = contents(await take(aiter(slow), count))
        assert [int(text.split()[0]) for text in got] == [*range(count)]


# Connections that end.


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
                await until(lambda c=cut: proxy.accepted > c, "connected")  # type: ignore[misc]
                for _ in range(cut % 7):
                    await asyncio.sleep(0)
                proxy.cut()
                await soon(publishing)
            got = contents(await soon(reading))
            house.server.publish(SAMPLES[3])
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
        last = first.publish(user("before")).seq
        assert contents(await take(stream, 1)) == ["before"]
        first.publish(SAMPLES[3])
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
        await (beats.get() if seconds == lines.HEARTBEAT else asyncio.sleep(0.001))

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
        house.server.publish(SAMPLES[3])
        [raid] = await take(aiter(messages), 1)
        assert isinstance(raid, RaidMessage)


@on_uvloop
async def test_a_server_that_falls_silent_is_left() -> None:
    beats: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(seconds: float) -> None:
        await (beats.get() if seconds == lines.HEARTBEAT else asyncio.sleep(0.001))

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
        await (beats.get() if seconds == lines.HEARTBEAT else asyncio.sleep(0.001))

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
        if seconds == lines.HEARTBEAT:
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


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010, 4000, 4001, 4002])
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


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 4003, 4999])
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


@pytest.mark.parametrize(("asked", "obeyed"), [(1500, 1.5), (-5, 0), (10**12, 300)])
@on_uvloop
async def test_it_comes_back_when_the_server_says(asked: int, obeyed: float) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds == lines.HEARTBEAT:
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
    async with serving(connections_per_ip=1) as house, connect(url_of(house)):
        with pytest.raises(UnreachableError, match="429"):
            await connect(url_of(house)).__aenter__()


@on_uvloop
async def test_it_connects_to_a_unix_socket(tmp_path: Path) -> None:
    async with serving(uds=str(tmp_path / "live.sock")) as house, connect(house.server.url) as log:
        assert (await log.history()).total == 0


# Importing.


@pytest.mark.parametrize(
    ("names", "unwanted"),
    [
        ("livelog", ["msgspec", "websockets", "asyncio", "livelog.server", "livelog.client"]),
        ("livelog.connect", ["livelog.server", "livelog.fanout.hub", "pyroaring", "httptools"]),
        ("livelog.Server", ["livelog.client", "websockets.asyncio.client"]),
    ],
)
def test_a_name_loads_what_it_needs(names: str, unwanted: list[str]) -> None:
    code = f"import sys, livelog; {names}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not set(unwanted) & set(done.stdout.split())


def test_all_names_exist() -> None:
    import livelog

    assert all(getattr(livelog, name) for name in livelog.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = livelog.nothing
