"""The stream over plain HTTP: its two forms, and that it is a reader like any other."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from livelog.budget.owner import Owner
from livelog.fanout.audience import Reader
from livelog.index.query import Query
from livelog.net.http.stream.format import as_line, as_sent_event
from tests.support.browser import chromium, hosting
from tests.support.identity import SECRET, api_key, token
from tests.support.wire import (
    PATIENCE,
    House,
    Http,
    Json,
    on_each_loop,
    on_uvloop,
    request,
    serving,
    until,
)

SSE = {"Accept": "text/event-stream"}
GENERAL = {"channel": "general"}
FOREIGN = ("9007199254740990", "99999999999999999999", "abc", "-1", "1.5", "é")
"""Ids that this log has not given."""


class Streamed(Http):
    """A client of the stream, which reads the head first."""

    headers: dict[str, str]

    async def follow(self, query: str = "", version: str = "1.1", **headers: str) -> None:
        """Ask for a stream."""
        await self.send(request("GET", f"/api/stream{query}", version=version, **headers))
        lines = (await self.upto(b"\r\n\r\n")).decode().split("\r\n")
        assert lines[0] == "HTTP/1.1 200 OK", lines
        self.headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        assert "content-length" not in self.headers
        assert self.headers["connection"] == "close"

    async def line(self) -> Json:
        """The next line of NDJSON that is no heartbeat."""
        while (line := await self.upto(b"\n")) == b"\n":
            pass
        value: Json = json.loads(line)
        return value

    async def event(self) -> dict[str, str]:
        """The next Server-Sent Event that is no comment, by its fields."""
        while (block := (await self.upto(b"\n\n")).decode()).startswith(":"):
            pass
        return dict(line.split(": ", 1) for line in block.splitlines() if line)

    async def contents(self, count: int) -> list[str]:
        """The contents of the next `count` messages, as NDJSON."""
        return [(await self.line())["content"] for _ in range(count)]


async def streamed(house: House, query: str = "", **headers: str) -> Streamed:
    """A stream of that server."""
    client = house.kept(await Streamed.connect(house.address))
    await client.follow(query, **headers)
    return client


def test_messages_and_gaps_have_ids_and_other_events_names() -> None:
    message = b'{"type":"user","content":"say \\",\\"seq\\":7","seq":12}'
    assert as_line(message) == message + b"\n"
    assert as_sent_event(message) == b"id: 12\ndata: " + message + b"\n\n"
    gap = b'{"action":"gap","from":3,"to":9}'
    assert as_sent_event(gap) == b"event: gap\nid: 9\ndata: " + gap + b"\n\n"
    counts = b'{"action":"counts","id":"stream"}'
    assert as_sent_event(counts) == b"event: counts\ndata: " + counts + b"\n\n"
    end = b'{"action":"disconnected","reason":"normal_closure","reconnect_after_ms":250}'
    assert as_sent_event(end) == b"event: disconnected\nretry: 250\ndata: " + end + b"\n\n"
    problem = b'{"action":"error","error_code":1011}'
    assert as_sent_event(problem).startswith(b"event: problem\ndata: ")


@on_each_loop
async def test_lines_are_live_messages_that_match() -> None:
    async with serving() as house:
        house.publish("before")
        lines = await streamed(house, "?type=user&where=channel:general")
        assert lines.headers["content-type"] == "application/x-ndjson"
        assert lines.headers["cache-control"] == "no-store"
        house.publish("one", metadata=GENERAL)
        house.publish("other", metadata={"channel": "trade"})
        house.append({"type": "system", "event": "raid_started"})
        house.publish("two\n\r\u2028", metadata=GENERAL)
        assert await lines.contents(2) == ["one", "two\n\r\u2028"]


@on_each_loop
async def test_without_types_it_has_all_that_may_be_read_and_since_resumes() -> None:
    async with serving() as house:
        first, second = house.publish("one", "two")
        house.append({"type": "system", "event": "raid_started"})
        lines = await streamed(house, f"?since={first}")
        assert [(await lines.line())["type"] for _ in range(2)] == ["user", "system"]
        house.publish("three")
        assert (await lines.line())["content"] == "three"
        again = await streamed(house, f"?since={first}", **SSE, Last_Event_ID=str(second))
        assert again.headers["content-type"] == "text/event-stream"
        event = await again.event()
        assert json.loads(event["data"])["event"] == "raid_started"
        assert int(event["id"]) == json.loads(event["data"])["seq"]


@pytest.mark.parametrize(
    "id", ["9007199254740990", "99999999999999999999", "abc", "-1", "1.5", "é"]
)
@on_uvloop
async def test_an_id_of_another_log_goes_on_at_the_head_with_a_gap(id: str) -> None:
    async with serving() as house:
        [head] = house.publish("missed")
        events = await streamed(house, **SSE, Last_Event_ID=id)
        gap = await events.event()
        assert gap["event"] == "gap"
        assert json.loads(gap["data"])["to"] == int(gap["id"]) == head
        house.publish("next")
        assert json.loads((await events.event())["data"])["content"] == "next"


@on_uvloop
async def test_an_older_id_is_resumed_and_a_lost_one_is_a_gap() -> None:
    async with serving(window_messages=2) as house:
        seqs = house.publish("one", "two", "three", "four")
        events = await streamed(house, **SSE, Last_Event_ID=str(seqs[0] - 1))
        gap = await events.event()
        assert gap["event"] == "gap"
        assert int(gap["id"]) < seqs[2]
        contents = [json.loads((await events.event())["data"])["content"] for _ in range(2)]
        assert contents == ["three", "four"]


@on_uvloop
async def test_http_1_0_gets_it_too_and_head_gets_the_head() -> None:
    async with serving() as house:
        old = house.kept(await Streamed.connect(house.address))
        await old.follow(version="1.0")
        house.publish("old")
        assert await old.contents(1) == ["old"]
        http = await house.http()
        answer = await http.ask("HEAD", "/api/stream", **SSE)
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
        assert (await http.ask("GET", "/healthz")).json["connections"] == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?since=soon", "since"),
        ("?since=9007199254740990", "since"),
        ("?since=-1", "since"),
        ("?type=user,spam", "type"),
        ("?where=a:(", "where"),
        ("?sinc=1", "sinc"),
        ("?watch=content", "watch"),
        ("?watch=type&interval=0", "interval"),
        ("?watch=type&since=1", "since"),
        ("?interval=x", "interval"),
        ("?text=", "text"),
    ],
)
@on_uvloop
async def test_a_wrong_parameter_is_refused_before_the_stream_begins(
    query: str, field: str
) -> None:
    async with serving() as house:
        answer = await (await house.http()).ask("GET", f"/api/stream{query}", **SSE)
        assert answer.status == 400
        assert field in answer.json["details"]["field"]


@on_uvloop
async def test_watch_makes_counts_instead_of_messages() -> None:
    async with serving() as house:
        events = await streamed(house, "?watch=channel&interval=1&type=user", **SSE)
        house.publish("one", "two", metadata=GENERAL)
        house.append({"type": "system", "event": "raid_started"})
        total: dict[str, int] = {}
        while sum(total.values()) < 2:
            event = await events.event()
            assert event["event"] == "counts"
            for value, count in json.loads(event["data"])["counts"].items():
                total[value] = total.get(value, 0) + count
        assert total == {"general": 2}


@on_each_loop
async def test_a_reader_that_is_slow_gets_everything_once_and_in_order() -> None:
    async with serving() as house:
        lines = house.kept(await Streamed.connect(house.address, receive_buffer=4096))
        await lines.follow()
        sent: list[str] = []
        while not house.inside.blocked or len(sent) % 50:
            sent.append(f"{len(sent)} " + "x" * 20_000)
            house.publish(sent[-1])
            await asyncio.sleep(0)
            assert len(sent) < 5000
        assert house.context.memory.deliveries.total > 0
        assert await lines.contents(len(sent)) == sent
        house.publish("live again")
        assert await lines.contents(1) == ["live again"]
        assert house.context.memory.deliveries.total == 0


@on_uvloop
async def test_a_reader_that_reads_nothing_is_dropped() -> None:
    async with serving(stall_seconds=0.2, close_timeout=0.1) as house:
        lines = house.kept(await Streamed.connect(house.address, receive_buffer=4096))
        await lines.follow()
        while house.inside.connections:
            house.publish("x" * 20_000)
            await asyncio.sleep(0.005)
        assert house.context.audit.closes[1008] == 1


@on_uvloop
async def test_a_quiet_stream_has_heartbeats() -> None:
    async with serving(ping_interval=0.1) as house:
        lines, events = await streamed(house), await streamed(house, **SSE)
        assert await lines.upto(b"\n") == b"\n"
        assert await events.upto(b"\n\n") == b":\n\n"


@on_uvloop
async def test_heartbeats_come_no_later_for_a_message_between_them() -> None:
    async with serving(ping_interval=1000) as house:
        await streamed(house)
        assert 390 < house.inside.was_quiet(600) < 401


@pytest.mark.skipif(sys.platform != "linux", reason="the option is of Linux")
@on_uvloop
async def test_the_kernel_lets_a_reader_be_slow_for_as_long_as_it_may() -> None:
    async with serving(stall_seconds=300, ping_interval=5, ping_timeout=5) as house:
        await streamed(house)
        sock = house.inside.websocket.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) > 300_000


@on_uvloop
async def test_it_counts_as_a_websocket_in_the_limits() -> None:
    async with serving(connections_per_ip=2) as house:
        one, two = await streamed(house), await house.client()
        answer = await (await house.http()).ask("GET", "/api/stream")
        assert (answer.status, answer.json["error_code"]) == (429, 4003)
        one.close()
        await house.client()
        two.close()


@on_uvloop
async def test_the_end_of_the_server_is_told_with_the_time_to_come_back() -> None:
    async with serving(drain_seconds=0) as house:
        lines, events = await streamed(house), await streamed(house, **SSE)
        house.publish("last")
        await house.server.close()
        assert await lines.contents(1) == ["last"]
        end = await lines.line()
        assert (end["action"], end["reason"]) == ("disconnected", "normal_closure")
        await lines.ended()
        assert json.loads((await events.event())["data"])["content"] == "last"
        event = await events.event()
        assert event["event"] == "disconnected"
        assert int(event["retry"]) == json.loads(event["data"])["reconnect_after_ms"]
        await events.ended()


@on_uvloop
async def test_a_stream_that_fails_at_the_end_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faults = ("a stream from 127.0.0.1 failed",)
    async with serving(drain_seconds=0, faults=faults) as house:
        failing = await streamed(house)
        reader, release = house.inside.websocket.reader, house.context.hub.release

        def broken(given: Reader) -> None:
            if given is reader:
                raise ValueError("an internal error")
            release(given)

        monkeypatch.setattr(house.context.hub, "release", broken)
        other = await streamed(house)
        await house.server.close()
        assert (await other.line())["action"] == "disconnected"
        await failing.ended()


@on_uvloop
async def test_a_client_that_leaves_or_goes_on_talking_is_forgotten() -> None:
    async with serving() as house:
        lines = await streamed(house)
        lines.reset()
        await house.emptied()
        half = await streamed(house)
        half.finish()
        await half.ended()
        await house.emptied()
        talking = await streamed(house)
        await talking.send(b"GET / HTTP/1.1\r\n\r\n")
        house.publish("still there")
        assert await talking.contents(1) == ["still there"]
        with suppress(OSError):  # it may be gone before all has been sent
            await talking.send(b"x" * 32_768)
        await house.emptied()


# With authentication.


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def direct(sender: str, recipient: str, content: str) -> Json:
    return {
        "type": "dm",
        "from_user_id": sender,
        "from_username": sender,
        "to_user_id": recipient,
        "content": content,
    }


@on_uvloop
async def test_direct_messages_are_for_the_two_and_scopes_hold() -> None:
    async with serving(jwt_secret=SECRET) as house:
        http = await house.http()
        assert (await http.ask("GET", "/api/stream")).status == 401
        limited = bearer(token("carol", "read:raid"))
        answer = await http.ask("GET", "/api/stream?type=user", **limited)
        assert (answer.status, answer.json["details"]["scope"]) == (403, "read:user")
        assert answer.json["details"]["field"] == "type"
        alice = await streamed(house, "?type=dm", **bearer(token("alice")))
        bob = await streamed(house, "?type=dm", **bearer(token("bob")))
        carol = await streamed(house, "", **limited)
        house.append(direct("alice", "bob", "for bob"))
        house.append(direct("dora", "alice", "for alice"))
        house.append(direct("alice", "bob", "again"))
        assert await alice.contents(3) == ["for bob", "for alice", "again"]
        assert await bob.contents(2) == ["for bob", "again"]
        house.append(
            {"type": "raid", "raid_id": "r", "raid_name": "R", "boss_name": "B"}
            | {"difficulty": "mythic", "status": "in_progress"}
        )
        assert (await carol.line())["type"] == "raid"


@on_uvloop
async def test_a_token_that_expires_ends_it() -> None:
    clock = Clock()
    async with serving(jwt_secret=SECRET, clock=clock, jwt_leeway=0) as house:
        events = await streamed(house, **SSE, **bearer(token(lasts=90)))
        clock.now += 40
        house.inside.review_sessions()
        assert (await events.event())["event"] == "token_expiring"
        clock.now += 60
        house.inside.review_sessions()
        problem = await events.event()
        assert problem["event"] == "problem"
        assert json.loads(problem["data"])["error_code"] == 4002
        assert (await events.event())["event"] == "disconnected"
        await events.ended()


def held_up(house: House, monkeypatch: pytest.MonkeyPatch) -> tuple[list[None], asyncio.Event]:
    """Have the look-up before a stream opens wait for the event; the list has one entry each."""
    begun: list[None] = []
    go, log = asyncio.Event(), house.context.log
    look_up = log.newest_upto

    async def waiting(seq: int, query: Query, owner: Owner) -> int:
        begun.append(None)
        await go.wait()
        return await look_up(seq, query, owner)

    monkeypatch.setattr(log, "newest_upto", waiting)
    return begun, go


@on_uvloop
async def test_streams_that_open_at_the_same_time_count_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(jwt_secret=SECRET, connections_per_ip=2) as house:
        begun, go = held_up(house, monkeypatch)
        clients = [house.kept(await Streamed.connect(house.address)) for _ in range(5)]
        for client in clients:
            await client.send(request("GET", "/api/stream", **bearer(token())))
        await until(lambda: len(begun) == len(clients), "all under way")
        go.set()
        heads = [await client.upto(b"\r\n") for client in clients]
        assert sorted(head.split()[1] for head in heads) == [b"200"] * 2 + [b"429"] * 3


@on_uvloop
async def test_none_opens_once_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(jwt_secret=SECRET) as house:
        begun, go = held_up(house, monkeypatch)
        client = await house.http()
        await client.send(request("GET", "/api/stream", **bearer(token())))
        await until(lambda: bool(begun), "under way")
        closing = asyncio.create_task(house.server.close())
        await house.context.ending.wait()
        go.set()
        assert (await client.answer()).status == 503
        await closing


@on_each_loop
async def test_a_client_that_sends_no_more_before_it_opens_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(jwt_secret=SECRET) as house:
        begun, go = held_up(house, monkeypatch)
        client = await house.http()
        await client.send(request("GET", "/api/stream", **bearer(token())))
        await until(lambda: bool(begun), "under way")
        client.finish()
        [connection] = house.context.limiter.connections.waiting
        await until(lambda: getattr(connection, "half_closed", False), "the end seen")
        go.set()
        assert (await client.upto(b"\r\n")).startswith(b"HTTP/1.1 200")
        await client.rest()
        await house.emptied()


@on_uvloop
async def test_a_revoked_key_ends_it(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys.json", Clock()
    key = api_key(file)
    async with serving(api_keys=str(file), clock=clock) as house:
        lines = await streamed(house, X_API_Key=key)
        file.write_text("[]")
        clock.now += 2
        refused = await (await house.http()).ask("GET", "/api/stream", X_API_Key=key)
        assert refused.status == 401  # this has read the file anew
        house.context.timers.set(house.inside.websocket, 0.0)
        assert (await lines.line())["error_code"] == 4001
        assert (await lines.line())["action"] == "disconnected"
        await lines.ended()


# A real browser.

_FOLLOW = """() => {
    window.heard = [];
    const source = new EventSource("/api/stream?type=user");
    source.onmessage = (event) => window.heard.push(JSON.parse(event.data).content);
    source.addEventListener("gap", () => window.heard.push("gap"));
    return new Promise((resolve) => { source.onopen = resolve; });
}"""


@pytest.mark.browser
def test_a_browser_resumes_by_itself_when_the_server_is_back(tmp_path: Path) -> None:
    with hosting("--store", str(tmp_path / "live.db")) as host, chromium() as browser:
        page = browser.new_page()
        page.goto(f"{host.url}asyncapi.json")
        page.evaluate(_FOLLOW)
        host.publish("one")
        page.wait_for_function("heard.length === 1", timeout=PATIENCE * 1000)
        host.kill()
        host.start()
        host.publish("two")
        page.wait_for_function("heard.length === 2", timeout=PATIENCE * 1000)
        host.publish("three")
        page.wait_for_function("heard.length === 3", timeout=PATIENCE * 1000)
        assert page.evaluate("heard") == ["one", "two", "three"]
