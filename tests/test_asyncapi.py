"""The AsyncAPI document: whole, and true of what the README shows and a server sends."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from livelog.wire import asyncapi
from livelog.wire.commands import AnyCommand
from livelog.wire.events import AnyEvent
from livelog.wire.messages import Delivered
from tests.support.identity import SECRET, token
from tests.support.wire import (
    CLOSE,
    SAMPLES,
    Client,
    House,
    Json,
    close_frame,
    frame,
    on_uvloop,
    serving,
    user,
)
from tests.test_readme import blocks

DOCUMENT: Json = json.loads(asyncapi.document("/ws/live-log", "1.2.3"))
COMMANDS = [json.loads(block) for block in blocks("json")]
EVENTS = [json.loads(line) for block in blocks("jsonl") for line in block.splitlines()]


def tags(union: Any) -> set[str]:
    """The `action` or `type` of each struct in a union."""
    return {kind.__struct_config__.tag for kind in get_args(union)}


def found(reference: str) -> Any:
    """Return the part of the document that a `$ref` points at."""
    place: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        place = place[step]
    return place


def references(part: Any) -> list[str]:
    """All `$ref`s in a part of the document."""
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [each for value in part.values() for each in references(value)]
    return [each for value in part for each in references(value)] if isinstance(part, list) else []


def check(item: Json) -> None:
    """Assert that a command, event or message is what the document says of it."""
    if item.get("redacted") is True:
        message = {"payload": DOCUMENT["components"]["schemas"]["Stub"]}
    else:
        message = DOCUMENT["components"]["messages"][item.get("action") or item["type"]]
    schema = {**message["payload"], "components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(item)


def test_it_is_whole() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"
    assert all(found(reference) for reference in references(DOCUMENT))
    messages = DOCUMENT["components"]["messages"]
    assert messages.keys() == tags(AnyCommand) | tags(AnyEvent) | tags(Delivered)
    assert b"discriminator" not in asyncapi.document("/ws/live-log", "1.2.3")
    assert all(message["summary"] for message in messages.values())
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_each_command_is_received_and_each_event_sent() -> None:
    operations = DOCUMENT["operations"].values()
    received = [ref for each in operations if each["action"] == "receive" for ref in of(each)]
    sent = [ref for each in operations if each["action"] == "send" for ref in of(each)]
    sent += [ref for each in operations if "reply" in each for ref in of(each["reply"])]
    assert {*received} == tags(AnyCommand)
    assert {*sent} == tags(AnyEvent) | tags(Delivered)


def of(operation: Json) -> list[str]:
    """The names of an operation's messages, by way of its channel."""
    return [found(found(each["$ref"])["$ref"])["name"] for each in operation["messages"]]


@pytest.mark.parametrize("example", COMMANDS + EVENTS, ids=lambda example: str(example["action"]))
def test_the_examples_in_the_readme_are_valid(example: Json) -> None:
    check(example)


def test_every_command_and_event_has_an_example() -> None:
    assert {example["action"] for example in COMMANDS} == tags(AnyCommand)
    assert {example["action"] for example in EVENTS} == tags(AnyEvent)


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "subscribe"},
        {"action": "subscribe", "message_types": ["usr"]},
        {"action": "get_history", "limit": 0},
        {"action": "ping", "colour": "red"},
        {"action": "publish", "message": {"type": "user"}},
    ],
    ids=str,
)
def test_what_the_server_refuses_is_invalid(wrong: Json) -> None:
    with pytest.raises(Exception, match=r"."):
        check(wrong)


@on_uvloop
async def test_what_a_server_sends_is_valid_and_looks_like_the_examples() -> None:
    settings: Json = {"message_limit": 24, "command_limit": 24, "jwt_secret": SECRET}
    async with serving(window_messages=6, **settings) as house:
        for sample in [user("this one is gone"), *SAMPLES]:
            house.append(sample)
        got = await conversation(house)
        for item in got:
            check(item)
        shown = {example["action"]: example.keys() for example in EVENTS}
        assert {item["action"]: item.keys() for item in got if "action" in item} == shown
        assert tags(Delivered) == {item["type"] for item in got if "type" in item}


UNASKED = {
    "connected",
    "online_changed",
    "token_expiring",
    "counts",
    "gap",
    "redacted",
    "rate_limit",
    "disconnected",
}


def answers(got: list[Json]) -> int:
    """How many commands have been answered."""
    return len([item for item in got if item.get("action", "gap") not in UNASKED])


async def conversation(house: House) -> list[Json]:
    """All that the server has to say to a client that sends every command and some nonsense.

    It is the sender of the sample that is a direct message.
    """
    client = await Client.connect(house.address)
    await client.open()
    await client.tell("authenticate", token=token("user_12345", "admin", lasts=20))
    await client.tell("subscribe", message_types=[sample["type"] for sample in SAMPLES], since=1)
    got: list[Json] = []
    await client.tell("watch", id="first")
    await client.tell("presence", follow=True)
    while not got or got[-1].get("action") != "online":
        got.append(await client.event())
    other = await Client.connect(house.address)
    await other.open()
    await other.tell("authenticate", token=token("user_2", "read"))
    awaited = [
        "token_expiring",
        "watching",
        "counts",
        "online_changed",
        *(sample["id"] for sample in SAMPLES),
    ]
    while not {*awaited} <= {item.get("action") or item["id"] for item in got}:
        got.append(await client.event())
    await client.tell("admin", command="redact", id=SAMPLES[0]["id"], reason="spam")
    while "redacted" not in {item.get("action") for item in got}:
        got.append(await client.event())
    again = {"message_types": ["user"], "filters": {"channel": "general"}}
    last = [{"action": "subscribe", **again}, {"action": "search", "query": "dragon"}]
    last += [{"action": "nonsense"}, *[{"action": "ping"}] * 10]
    for command in [*COMMANDS, *last]:
        await client.send(frame(json.dumps(command)))
    # A close frame ends commands that take time, so the answers come first.
    while answers(got) < 3 + len(COMMANDS) + len(last):
        got.append(await client.event())
    await client.send(close_frame())
    while (taken := await client.frame()).opcode != CLOSE:
        got.append(json.loads(taken.payload))
    await client.ended()
    client.close()
    other.close()
    return got


def test_no_description_holds_an_example_in_python() -> None:
    assert b">>>" not in asyncapi.document("/ws/live-log", "1.2.3")
