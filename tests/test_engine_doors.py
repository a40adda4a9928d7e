"""Each engine behind a real server: sockets, HTTP and the embedding program publish through it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from livelog.client.http import HttpPublisher, PartlyRefusedError, Unavailable
from livelog.errors import POLICY_VIOLATION, SERVER_ERROR, RefusedError
from livelog.wire.record import Draft
from tests.support.toyengine import Broker, Make, each_door_engine
from tests.support.wire import TYPES, House, Json, on_uvloop, serving, soon, user


def body(*messages: Json) -> str:
    return json.dumps(messages)


@each_door_engine
@on_uvloop
async def test_all_doors_publish_through_it(make: Make) -> None:
    """Two sockets, a large body and the program itself: everybody's order is kept."""
    async with serving(engine=make(), limits=False) as house:
        live = await house.client(f"?message_types={','.join(TYPES)}")
        assert (await live.event())["action"] == "subscribed"
        sockets = [await house.client() for _ in range(2)]
        posting = asyncio.create_task(_post(house, 250))
        for number in range(40):
            for name, client in zip("ab", sockets, strict=True):
                message = user(id=f"{name}{number}")
                await client.tell("publish", message=message, request_id=f"{name}{number}")
        inside = [(await house.server.publish(user(id=f"i{number}"))) for number in range(5)]
        places = dict([*inside, *await soon(posting)])
        for client in sockets:
            replies = [await client.event() for _ in range(40)]
            assert [reply["id"] for reply in replies] == [reply["request_id"] for reply in replies]
            places |= {reply["id"]: reply["seq"] for reply in replies}
        delivered = [await live.event() for _ in range(len(places))]
        assert {event["id"]: event["seq"] for event in delivered} == places
        assert await live.everything() == []
        assert [event["seq"] for event in delivered] == sorted(places.values())
        ids = [event["id"] for event in delivered]
        for name in "abhi":
            numbers = [int(id[1:]) for id in ids if id[0] == name]
            assert numbers == list(range(len(numbers)))


async def _post(house: House, count: int) -> list[tuple[str, int]]:
    http = await house.http()
    messages = [user(id=f"h{number}") for number in range(count)]
    answer = await http.ask("POST", "/api/messages", body(*messages))
    assert answer.status == 201, answer
    return [(receipt["id"], receipt["seq"]) for receipt in answer.json["messages"]]


@each_door_engine
@on_uvloop
async def test_a_socket_is_told_that_an_id_is_somebody_elses(make: Make) -> None:
    async with serving(engine=make()) as house:
        client = await house.client()
        mine = await client.ask("publish", message=user(id="a"))
        assert mine["action"] == "published"
        error = await client.ask("publish", message=user(id="a", user_id="u2"), request_id=7)
        assert (error["action"], error["error_code"], error["request_id"]) == ("error", 1008, 7)
        issue = "is that of a message by somebody else"
        assert error["details"] == {"field": "message.id", "issue": issue}
        again = await client.ask("publish", message=user(id="a"))
        assert again["seq"] == mine["seq"]


@each_door_engine
@on_uvloop
async def test_a_message_under_somebody_elses_id_alone_is_forbidden(make: Make) -> None:
    async with serving(engine=make()) as house:
        http = await house.http()
        await http.ask("POST", "/api/messages", body(user(id="a")))
        head = house.context.log.head
        answer = await http.ask("POST", "/api/messages", body(user(id="a", user_id="u2")))
        assert (answer.status, answer.json["error_code"]) == (403, 1008)
        assert answer.json["details"]["field"] == "id"
        assert house.context.log.head == head


@on_uvloop
async def test_what_the_local_engine_knows_refuses_the_whole_body() -> None:
    async with serving() as house:
        http = await house.http()
        await http.ask("POST", "/api/messages", body(user(id="a")))
        head = house.context.log.head
        others = body(user(id="b"), user(id="a", user_id="u2"), user(id="c"))
        answer = await http.ask("POST", "/api/messages", others)
        assert (answer.status, answer.json["details"]["index"]) == (403, 1)
        assert house.context.log.head == head


@each_door_engine
@on_uvloop
async def test_a_body_refused_in_part_says_which_ids_are_acknowledged(make: Make) -> None:
    """Two authors with one id in the same body: only the engine can see that."""
    async with serving(engine=make()) as house:
        http = await house.http()
        messages = [user(id="a"), user("made"), user(id="a", user_id="u2"), user(id="b")]
        lines = "\n\n".join(map(json.dumps, messages))
        kind = "application/x-ndjson"
        answer = await http.ask("POST", "/api/messages", lines, Content_Type=kind)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        details: dict[str, Any] = answer.json["details"]
        assert answer.json["error_code"] == 1011
        issue = "is that of a message by somebody else"
        assert details["refused"] == [{"line": 5, "id": "a", "error_code": 1008, "issue": issue}]
        assert details["issue"].startswith("1 of 4 messages are not acknowledged: id: is that of")
        stored = (await http.ask("GET", "/api/history")).json["messages"]
        assert [one["id"] for one in reversed(stored)] == details["acknowledged"]
        assert [one["content"] for one in reversed(stored)] == ["hello", "made", "hello"]


def _refuse(draft: Draft) -> RefusedError | None:
    return {
        "late": RefusedError(SERVER_ERROR, "", "the disk is full", retry_after=1),
        "taken": RefusedError(POLICY_VIOLATION, "id", "is taken"),
    }.get(draft.id)


@on_uvloop
async def test_each_refusal_of_a_part_says_whether_to_publish_the_message_again() -> None:
    broker = Broker()
    broker.refuse = _refuse
    async with serving(engine=broker.engine) as house:
        http = await house.http()
        messages = [user(id=name) for name in ("taken", "good", "late")]
        answer = await http.ask("POST", "/api/messages", body(*messages))
        assert (answer.status, answer.json["details"]["acknowledged"]) == (503, ["good"])
        assert answer.json["details"]["refused"] == [
            {"index": 0, "id": "taken", "error_code": 1008, "issue": "is taken"},
            {"index": 2, "id": "late", "error_code": 1011, "issue": "the disk is full"},
        ]
        answer = await http.ask("POST", "/api/messages", body(*messages[::2]))
        assert (answer.status, answer.json["details"]["acknowledged"]) == (503, [])
        codes = [one["error_code"] for one in answer.json["details"]["refused"]]
        assert codes == [1008, 1011]
        for message, status in zip(messages[::2], (403, 503), strict=True):
            answer = await http.ask("POST", "/api/messages", body(message, message))
            assert (answer.status, "refused" in answer.json["details"]) == (status, False)


@on_uvloop
async def test_the_publisher_of_batches_is_told_of_a_refusal_in_part() -> None:
    broker = Broker()
    broker.refuse = _refuse
    async with serving(engine=broker.engine) as house:
        publisher = HttpPublisher(house.server.url)
        lines = [json.dumps(user(id=name)).encode() for name in ("good", "late", "taken")]
        with pytest.raises(PartlyRefusedError, match="2 of 3 messages are not ack") as caught:
            await asyncio.to_thread(publisher.post, lines)
        assert caught.value.for_now == [1]
        assert [(at, why.code) for at, why in caught.value.final.items()] == [(2, 1008)]
        with pytest.raises(Unavailable, match="the disk is full"):
            await asyncio.to_thread(publisher.post, lines[1:2])
        broker.refuse = lambda draft: None
        await asyncio.to_thread(publisher.post, lines[:2])
        publisher.close()
        http = await house.http()
        stored = (await http.ask("GET", "/api/history")).json["messages"]
        assert [one["id"] for one in stored] == ["late", "good"]


@on_uvloop
async def test_a_body_refused_as_a_whole_by_the_engine_is_answered_with_its_reason() -> None:
    broker = Broker(refusing=1.0)
    async with serving(engine=broker.engine) as house:
        http = await house.http()
        answer = await http.ask("POST", "/api/messages", body(*[user()] * 250))
        assert (answer.status, answer.json["details"]["issue"]) == (500, "the broker is away")
        assert (await http.ask("GET", "/api/history")).json["total_count"] == 0


@on_uvloop
async def test_a_large_body_can_be_published_again_after_a_refusal_in_part() -> None:
    """Acknowledged messages keep their place; the rest follows."""
    broker = Broker(refusing=0.5, seed=3)
    async with serving(engine=broker.engine, limits=False) as house:
        http = await house.http()
        messages = [user(id=f"m{number}") for number in range(500)]
        acknowledged: set[str] = set()
        partly = 0
        for number in range(20):
            if number == 19:  # a busy machine makes many batches of a body: one would be refused
                broker.refusing = 0.0
            answer = await http.ask("POST", "/api/messages", body(*messages))
            if answer.status == 201:
                break
            known = set(answer.json["details"].get("acknowledged", []))
            refused = [one["id"] for one in answer.json["details"].get("refused", [])]
            partly += bool(known)
            assert not known or sorted([*known, *refused]) == sorted(m["id"] for m in messages)
            acknowledged |= known
            stored = (await http.ask("GET", "/api/history?limit=1000")).json["messages"]
            assert {one["id"] for one in stored} == acknowledged
        assert answer.status == 201
        assert partly
        stored = (await http.ask("GET", "/api/history?limit=1000")).json["messages"]
        assert len(stored) == 500
        assert {one["id"]: one["seq"] for one in stored} == {
            one["id"]: one["seq"] for one in answer.json["messages"]
        }


@on_uvloop
async def test_two_servers_on_one_broker_tell_the_same_in_the_same_order() -> None:
    broker = Broker()
    async with serving(engine=broker.engine) as one, serving(engine=broker.engine) as other:
        houses = [one, other]
        watching = [await house.client("?message_types=user") for house in houses]
        for client in watching:
            assert (await client.event())["action"] == "subscribed"
        publishers = [await house.client() for house in houses]
        for number in range(30):
            for name, client in zip("ab", publishers, strict=True):
                await client.tell("publish", message=user(id=f"{name}{number}"))
        told = [[await client.event() for _ in range(60)] for client in watching]
        assert told[0] == told[1]
        given = [message["seq"] for message in told[0]]
        assert given == sorted(given)
        for name in "ab":
            ids = [message["id"] for message in told[0] if message["id"][0] == name]
            assert ids == [f"{name}{number}" for number in range(30)]


@on_uvloop
async def test_a_client_that_leaves_before_the_answer_leaves_no_trace() -> None:
    broker = Broker()
    async with serving(engine=broker.engine) as house:
        for _ in range(10):
            client, http = await house.client(), await house.http()
            await client.tell("publish", message=user("socket"))
            await http.ask("POST", "/api/messages", body(user("http")))
            client.close()
            http.close()
        await house.emptied()
        head = await house.server.publish(user("last"))
        assert head.seq == house.context.log.head


@on_uvloop
async def test_an_engine_that_takes_nothing_says_so_at_every_door() -> None:
    """Reads go on, and so does publishing once the engine is back."""
    broker = Broker()
    async with serving(engine=broker.engine) as house:
        client, http = await house.client(), await house.http()
        first = await house.server.publish(user("first"))
        broker.away = RefusedError(SERVER_ERROR, "", "the broker is away", retry_after=1)
        error = await client.ask("publish", message=user())
        assert (error["error_code"], error["details"]["issue"]) == (1011, "the broker is away")
        answer = await http.ask("POST", "/api/messages", body(user(), user()))
        assert (answer.status, answer.json["details"]["issue"]) == (503, "the broker is away")
        with pytest.raises(RefusedError, match="the broker is away"):
            await house.server.publish(user())
        stored = (await client.ask("get_history"))["messages"]
        assert [one["seq"] for one in stored] == [first.seq]
        broker.away = None
        assert (await client.ask("publish", message=user()))["action"] == "published"
