"""A WebSocket as its client sees it: the greeting, the URL, and delivery."""

from __future__ import annotations

import pytest

from tests.support.wire import (
    SAMPLES,
    TYPES,
    Client,
    on_each_loop,
    on_uvloop,
    serving,
)

# The greeting, and what the URL asks for.


@on_each_loop
async def test_connected_comes_first_and_exactly_as_the_api_says() -> None:
    async with serving() as house:
        clients = [Client(w.sock) for w in [await house.wire() for _ in range(2)]]
        greetings = []
        for client in clients:
            await client.open()
            greetings.append(await client.event())
        for greeting in greetings:
            assert greeting.pop("connection_id").startswith("conn_")
            assert greeting == {
                "action": "connected",
                "message": "Successfully connected to live log",
                "max_message_bytes": 65536,
                "batch_ms": 25,
            }


@on_uvloop
async def test_no_two_connections_have_the_same_id() -> None:
    async with serving() as house:
        ids = set()
        for _ in range(20):
            client = Client((await house.wire()).sock)
            await client.open()
            ids.add((await client.event())["connection_id"])
        assert len(ids) == 20


@on_each_loop
async def test_a_new_connection_listens_to_nothing() -> None:
    async with serving() as house:
        client = await house.client()
        house.publish("unheard")
        assert await client.everything() == []


@on_each_loop
async def test_the_url_subscribes_at_once() -> None:
    async with serving() as house:
        first, second = house.publish("one", "two")
        client = await house.client(f"?message_types=user,raid&since={first}")
        assert await client.event() == {
            "action": "subscribed",
            "message_types": ["user", "raid"],
            "seq": first,
        }
        event = await client.event()
        assert (event["content"], event["seq"]) == ("two", second)
        house.publish("three")
        assert await client.contents(1) == ["three"]


@on_uvloop
async def test_parameters_that_mean_nothing_here_are_passed_over() -> None:
    async with serving() as house:
        client = await house.client("?token=YOUR_TOKEN&message_types=&since=")
        assert await client.everything() == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?message_types=user,nonsense", "message_types"),
        ("?message_types=,", "message_types"),
        ("?since=0", "message_types"),
        ("?message_types=user&since=soon", "since"),
        ("?message_types=user&since=-1", "since"),
        ("?message_types=user&since=9007199254740992", "since"),
        ("?message_types=user&since=99999999999999999999999", "since"),
        ("?message_types=user&since=9007199254740991", "since"),
        ("?message_types=%ff%00", "message_types"),
    ],
)
@on_uvloop
async def test_a_wrong_parameter_is_told_and_the_connection_lives(query: str, field: str) -> None:
    async with serving() as house:
        client = await house.client(query)
        error = await client.event()
        assert (error["action"], error["error_code"]) == ("error", 1002)
        assert error["details"]["field"] == field
        assert (await client.ask("ping"))["action"] == "pong"


# Delivery.


@on_each_loop
async def test_a_message_arrives_as_it_was_published_with_its_seq() -> None:
    async with serving() as house:
        client = await house.client("?message_types=" + ",".join(TYPES))
        await client.event()
        seqs = [house.append(sample).seq for sample in SAMPLES]
        assert seqs == sorted(set(seqs))
        for sample, seq in zip(SAMPLES, seqs, strict=True):
            assert await client.event() == {**sample, "seq": seq}


@on_each_loop
async def test_everyone_gets_what_it_asked_for_and_nothing_else() -> None:
    async with serving() as house:
        clients = {name: await house.client(f"?message_types={name}") for name in TYPES}
        for _ in range(3):
            for sample in SAMPLES:
                house.append({**sample, "id": f"{sample['id']}_{_}"})
        for name, client in clients.items():
            subscribed, *events = await client.everything()
            assert subscribed["message_types"] == [name]
            assert [event["type"] for event in events] == [name] * 3


@on_uvloop
async def test_a_long_message_is_framed_right() -> None:
    async with serving() as house:
        client = await house.client("?message_types=user")
        await client.event()
        contents = ["x" * size for size in (1, 20, 30, 200, 40_000, 65_000)]
        house.publish(*contents)
        assert await client.contents(len(contents)) == contents
