"""Hostile input of unknown clients: it is text, it is bounded, and no other client notices."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.wire import (
    CLOSE,
    SAMPLES,
    House,
    Json,
    command,
    frame,
    on_uvloop,
    serving,
    soon,
    until,
    user,
)

TEXTS = {
    "SQL": "'; DROP TABLE message; --",
    "SQL, a tautology": '" OR 1=1 --',
    "wildcards": "100%_*?[a-z]",
    "a backslash": "back\\slash\\'",
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "entities": "&lt;b&gt; &amp;amp;",
    "control characters": "\x01\x07\x1b[31m\x7f\x9b",
    "line breaks": "one\r\ntwo\u2028three\x85four",
    "bidirectional": "\u202eevil\u2066\u200b",
    "four bytes": "😀 \U0001d521\U0001d52f \U00010348",
    "a combining flood": "a" + "\u0301" * 50,
    "terms of the index": "user_id=u1 =gra type=dm",
    "a path": "../../etc/passwd",
    "a template": "{{7*7}} ${7*7} %(x)s {0.__class__}",
}
DEEP = 100_000


@pytest.mark.parametrize("window", [100, 1], ids=["memory", "disk"])
@on_uvloop
async def test_a_hostile_text_is_a_text_wherever_it_stands(window: int, tmp_path: Path) -> None:
    """As an id, a name, a channel and what is said; filtered by, searched for, and kept whole."""
    store = str(tmp_path / "live.db")
    async with serving(store=store, window_messages=window, limits=False) as house:
        for number, name in enumerate(TEXTS):
            await attacked(house, name, number * (1 + len(SAMPLES)))
    async with serving(store=store, limits=False) as house:
        client = await house.client()
        for name, text in TEXTS.items():
            page = await client.ask("get_history", filters={"user_id": text})
            assert page["total_count"] == 1, name


async def attacked(house: House, name: str, before: int) -> None:
    """Publish and find the text of this name; `before` messages are in the log already."""
    client, text = await house.client(), TEXTS[name]
    await client.ask("subscribe", message_types=["user"], filters={"channel": text})
    hostile = user(text, id=f"id {text}", user_id=text, username=text, metadata={"channel": text})
    await client.tell("publish", message=hostile)
    arrived = [await client.event() for _ in range(2)]
    [live] = [item for item in arrived if "type" in item]
    for message in SAMPLES:
        house.append({**message, "id": f"{name} {message['id']}"})
    asked: list[Json] = [
        await client.ask("get_history", filters={"user_id": text}),
        await client.ask("get_history", filters={"channel": text, "username": text}),
        (
            await (await house.http()).ask("GET", f"/api/history?{urlencode({'user_id': text})}")
        ).json,
    ]
    for page in asked:
        assert (page["total_count"], page["messages"]) == (1, [live]), name
    assert live["id"] == hostile["id"]
    assert live["content"] == text
    found = await client.ask("search", query=text.replace('"', " "))
    assert live in found.get("results", []) or found["details"]["issue"].startswith("must have")
    everything = await client.ask("get_history")
    assert everything["total_count"] == before + 1 + len(SAMPLES)


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"action":"publish","message":{"type":"user","user_id":"\ud800","username":"x","content":"x"}}',
        rb'{"action":"search","query":"\udfff"}',
        b'{"action":"search","query":"\xed\xa0\x80"}',
    ],
    ids=["escaped in a message", "escaped in a query", "in bytes"],
)
@on_uvloop
async def test_half_a_character_is_refused(raw: bytes) -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(frame(raw))
        refused = await client.event()
        assert refused["action"] == "error"
        assert refused["error_code"] in (1002, 1007)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 60_000,
        b'{"action":"search","query":"x","filters":' + b'{"a":' * 10_000,
        b'{"action":"publish","message":{"type":"system","event":"e","data":' + b'{"a":' * 10_000,
        b'{"action":"ping","request_id":' + b"[" * 60_000,
    ],
    ids=["a list", "filters", "a message", "a request id"],
)
@on_uvloop
async def test_what_is_nested_without_end_is_refused(raw: bytes) -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(frame(raw))
        assert (await client.event())["error_code"] == 1002
        assert (await client.ask("ping"))["action"] == "pong"
        http = await house.http()
        assert (await http.ask("POST", "/api/messages", b"[" * DEEP)).status == 400


@on_uvloop
async def test_subscriptions_that_change_all_the_time_leave_nothing_behind() -> None:
    """Thousands of filters that nobody else has, from many at once, while others listen."""
    async with serving(limits=False) as house:
        steady = await house.client("?message_types=user")
        assert (await steady.event())["action"] == "subscribed"
        restless = [await house.client() for _ in range(10)]
        for attempt in range(20):
            for number, client in enumerate(restless):
                changes = [change(attempt, number, step) for step in range(20)]
                await client.send(b"".join(changes))
            house.publish(f"attempt {attempt}")
        assert await steady.contents(20) == [f"attempt {each}" for each in range(20)]
        for client in restless:
            for _ in range(20 * 20):
                await client.reply("subscribed")
        assert len(house.inside.audiences) == 1 + len(restless)
        house.inside.check()


def change(attempt: int, number: int, step: int) -> bytes:
    filters = {"user_id": f"{attempt} {number} {step}"}
    return command("subscribe", message_types=["user"], filters=filters)


@on_uvloop
async def test_a_flood_of_pings_ends_with_the_limit_and_not_with_the_server() -> None:
    async with serving() as house:
        client = await house.client()
        await client.send(frame(b"x", opcode=9) * 5000)
        while (taken := await client.frame()).opcode != CLOSE:
            pass
        assert int.from_bytes(taken.payload[:2], "big") == 4003
        client.close()
        assert (await (await house.client()).ask("ping"))["action"] == "pong"


@on_uvloop
async def test_a_body_of_very_many_very_small_messages_lets_others_in_between() -> None:
    """All of it or nothing, and whoever pings meanwhile is answered before it is done."""
    message = json.dumps(user("x")).encode()
    body = b"\n".join([message] * 20_000)
    async with serving(limits=False) as house:
        http, client = await house.http(), await house.client()
        posting = asyncio.create_task(
            http.ask("POST", "/api/messages", body, Content_Type="application/x-ndjson")
        )
        await until(lambda: house.context.log.head > 0 or posting.done(), "the body to be taken")
        assert (await client.ask("ping"))["action"] == "pong"
        assert not posting.done()
        answer = await soon(posting)
        assert answer.json["count"] == 20_000
