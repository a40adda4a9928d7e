"""Readers are told of redactions in their order: live, behind, resumed, over every door."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from livelog import connect
from livelog.errors import RefusedError
from livelog.wire.acts import Group, Redact
from livelog.wire.events import Redacted
from livelog.wire.stubs import Stub
from tests.support.decoding import Decoder
from tests.support.wire import (
    COMPRESSED,
    Client,
    House,
    Json,
    on_uvloop,
    request,
    serving,
    soon,
    until,
    upgrade,
    user,
)

NOW = "2026-01-01T12:00:00.000Z"


async def redact(house: House, *groups: Group, reason: str = "spam") -> int:
    done: asyncio.Future[int | RefusedError] = asyncio.get_running_loop().create_future()
    act = Redact(by="mod", at=NOW, reason=reason, groups=groups)
    house.inside.engine.act(act, done.set_result)
    seq = await soon(done)
    assert isinstance(seq, int), seq
    return seq


def users(*seqs: int) -> Group:
    return Group("user", tuple(sorted(seqs)))


async def published(house: House, *messages: Json) -> list[int]:
    return [one.seq for one in await asyncio.gather(*map(house.server.publish, messages))]


def dm(content: str = "psst", sender: str = "a", to: str = "b") -> Json:
    names = {"from_user_id": sender, "from_username": sender, "to_user_id": to}
    return {"type": "dm", "content": content, **names}


async def subscribed(house: House, types: str = "user", **fields: Any) -> Client:
    client = await house.client()
    assert (await client.ask("subscribe", message_types=[types], **fields))[
        "action"
    ] == "subscribed"
    return client


@on_uvloop
async def test_live_readers_are_told_in_order_and_those_of_other_types_are_not() -> None:
    async with serving() as house:
        everybody = await subscribed(house)
        filtered = await subscribed(house, filters={"text": "nothing like this"})
        raids = await subscribed(house, "raid")
        first, _ = await published(house, user("one"), user("two"))
        at = await redact(house, users(first))
        [third] = await published(house, user("three"))
        events = [await everybody.event() for _ in range(4)]
        told = {"action": "redacted", "seqs": [first], "reason": "spam", "at": at}
        assert events[2] == told
        assert events[3]["seq"] == third > at
        assert await filtered.everything() == [told]
        assert await raids.everything() == []


@on_uvloop
async def test_a_redaction_of_direct_messages_is_told_to_their_two_users_alone() -> None:
    async with serving() as house:
        seen: dict[str, list[int]] = {}
        async with asyncio.TaskGroup() as group:
            streams = {name: house.server.subscribe(["dm"], as_user=name) for name in "abc"}
            for name, stream in streams.items():
                seen[name] = []
                stream.on_redacted = lambda event, name=name: seen[name].extend(event.seqs)

                async def follow(stream: Any = stream) -> None:
                    async for _ in stream:
                        pass

                group.create_task(follow())
            await asyncio.sleep(0)
            [seq, other] = await published(house, dm(), dm(sender="a", to="c"))
            await redact(house, Group("dm", (seq,), ("a", "b")))
            await redact(house, Group("dm", (other,), ("a", "c")))
            await until(lambda: len(seen["a"]) == 2, "both")
            await until(lambda: seen["b"] and seen["c"], "the others")
            for stream in streams.values():
                stream.close()
        assert seen == {"a": [seq, other], "b": [seq], "c": [other]}


@pytest.mark.parametrize("kind", ["memory", "disk"])
@on_uvloop
async def test_a_reader_that_resumes_is_told_what_it_missed_in_order(
    tmp_path: Path, kind: str
) -> None:
    where: Json = {} if kind == "memory" else {"store": str(tmp_path / "live.db")}
    async with serving(limits=False, window_messages=5, **where) as house:
        if kind == "memory":
            house.inside.window.max_messages = 1000
        seqs = await published(house, *(user(f"number {n}") for n in range(20)))
        first = await redact(house, users(*seqs[:3]), reason="one")
        more = await published(house, *(user(f"more {n}") for n in range(20)))
        second = await redact(house, users(seqs[5], more[5]), reason="two")
        client = await subscribed(house, since=seqs[2])
        events = await client.everything()
        told = [one for one in events if one.get("action") == "redacted"]
        assert [(one["at"], one["seqs"]) for one in told] == [
            (first, seqs[:3]),
            (second, [seqs[5], more[5]]),
        ]
        places = [one["seq"] if "seq" in one else one["at"] for one in events]
        assert places == sorted(places)
        stubs = [one["seq"] for one in events if one.get("redacted")]
        assert stubs == [seqs[5], more[5]]
        # From behind the first on, only the second is told again.
        later = await (await subscribed(house, since=first)).everything()
        assert [one["at"] for one in later if one.get("action") == "redacted"] == [second]


@on_uvloop
async def test_ten_thousand_are_told_in_events_of_a_thousand() -> None:
    async with serving() as house:
        client = await subscribed(house)
        at = await redact(house, users(*range(1, 2501)))
        events = await client.everything()
        assert [len(one["seqs"]) for one in events] == [1000, 1000, 500]
        assert {one["at"] for one in events} == {at}


@on_uvloop
async def test_the_python_client_forgets_what_waits_and_tells_the_program() -> None:
    async with serving() as house, connect(house.server.url) as log:
        told: list[Redacted] = []
        async with log.subscribe(["user"]) as stream:
            stream.on_redacted = told.append
            seqs = await published(house, user("one"), user("two"))
            await redact(house, users(seqs[0]))
            await until(lambda: told, "the event")
            items = aiter(stream)
            first, second = await soon(anext(items)), await soon(anext(items))
            assert isinstance(first, Stub)
            assert (first.seq, first.reason) == (seqs[0], "spam")
            assert not isinstance(second, Stub)
            page = await log.history()
            assert [type(one) for one in page.messages] == [type(second), type(first)]


@on_uvloop
async def test_a_stream_over_http_has_an_event_without_an_id() -> None:
    async with serving() as house:
        wire = await house.wire()
        await wire.send(
            request("GET", "/api/stream?type=user", accept="text/event-stream"),
        )
        await wire.upto(b"\r\n\r\n")
        [seq] = await published(house, user("one"))
        await wire.upto(b"data: {")
        await redact(house, users(seq))
        assert b'event: redacted\ndata: {"action":"redacted"' in await wire.upto(b'"at"')


@pytest.mark.parametrize("seed", range(3))
@on_uvloop
async def test_readers_that_come_and_go_know_in_the_end_what_was_redacted(
    tmp_path: Path, seed: int
) -> None:
    """Publishing, redaction and clients that resume: no client keeps what was redacted."""
    dice = random.Random(seed)
    store = str(tmp_path / "live.db")
    async with serving(limits=False, window_messages=30, store=store) as house:
        known: list[int] = []
        gone: set[int] = set()
        kept: dict[int, str] = {}
        client, cursor = await subscribed(house, since=0), 0
        for round in range(30):
            known += await published(house, *(user(f"text {round}.{n}") for n in range(7)))
            if dice.random() < 0.5:
                chosen = dice.sample(known, 3)
                gone |= {*chosen}
                await redact(house, users(*chosen))
            if dice.random() < 0.4:
                for event in await client.everything():
                    cursor = take(event, kept, cursor)
            if dice.random() < 0.2:
                client = await subscribed(house, since=cursor)
        for event in await client.everything():
            cursor = take(event, kept, cursor)
        assert [*kept] == known
        assert {seq for seq, content in kept.items() if not content} == gone


def take(event: Json, kept: dict[int, str], cursor: int) -> int:
    """Take an event as a client does; returns its place in the log."""
    if event.get("action") == "redacted":
        for seq in event["seqs"]:
            if seq in kept:
                kept[seq] = ""
        return cursor
    kept[event["seq"]] = event.get("content", "")
    return int(event["seq"])


@pytest.mark.parametrize("batch", ["", "&batch=20"])
@pytest.mark.parametrize("offer", ["permessage-deflate", "x-none"])
@on_uvloop
async def test_readers_of_a_shared_stream_are_told_in_order(offer: str, batch: str) -> None:
    """The event goes plain and alone, between the arrays or compressed messages around it."""
    async with serving(limits=False) as house:
        clients = [await _reader(house, offer, f"?message_types=user{batch}") for _ in range(8)]
        sent: list[int] = []
        while not sent or (offer != "x-none" and house.inside.reading_compressed < 8):
            sent += house.publish("the dragon " * 3)
            await asyncio.sleep(0.01)
        sent += house.publish("one", "two", "three")
        at = await redact(house, users(*sent[-3:-1]), users(sent[0]))
        last = house.publish("the last of the dragon")
        for client in clients:
            got = await _until_seq(client, last[0])
            events = [item for item in got if "action" in item and item["action"] != "connected"]
            [event] = [item for item in events if item["action"] != "subscribed"]
            assert (event["action"], event["at"]) == ("redacted", at)
            assert event["seqs"] == sorted([sent[0], *sent[-3:-1]])
            assert [item["seq"] for item in got if "type" in item] == sent + last
            assert got.index(event) == len(got) - 2


async def _reader(house: House, offer: str, target: str) -> Client:
    client = house.kept(await Client.connect(house.address))
    await client.send(upgrade(f"/ws/live-log{target}", Sec_WebSocket_Extensions=offer))
    await client.upto(b"\r\n\r\n")
    return client


async def _until_seq(client: Client, seq: int) -> list[Json]:
    """The messages and events up to a seq, whatever frames they came in."""
    decoder, got = Decoder(), list[Json]()
    while not got or got[-1].get("seq") != seq or "action" in got[-1]:
        item = await client.frame()
        squeezed = item.opcode == COMPRESSED
        found = json.loads(decoder.inflate(item.payload) if squeezed else item.payload)
        got += found if isinstance(found, list) else [found]
    return got
