"""Gossip between servers: who is there, in what state, and that nonsense changes nothing."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from typing import Any

import pytest

from livelog import Config, Server, __version__
from livelog.config.address import shared_log
from livelog.engine.nats import batch, gossip, settings
from livelog.engine.nats.engine import StreamEngine
from livelog.engine.nats.gossip import GONE_SECONDS, Nodes, Word, encoded, problems
from tests.support.brokers import fresh_url, lasting
from tests.support.identity import SECRET, token
from tests.support.sharedstream import SharedStream
from tests.support.wire import Http, Json, eventually, on_uvloop, serving, user
from tests.test_nats_jetstream import admin

OWN = "0" * 16
FORMATS = sorted(batch.FORMATS)


def word(number: int = 1, **more: Any) -> bytes:
    """A node's word."""
    said = {"id": f"{number:016x}", "node": f"n{number}", "version": "1.0", "formats": FORMATS}
    return encoded(Word(**{**said, "seq": 5, "lag": 0, "connections": 2, "users": 1, **more}))


def named(nodes: Nodes, now: float) -> dict[str, float]:
    return {node.name: node.age for node in nodes.nodes(now)}


def test_who_is_heard_is_told_with_the_age_of_that_and_once_in_the_log() -> None:
    nodes = Nodes(OWN)
    nodes.hear(word(0), 100.0)
    nodes.hear(word(1), 101.0)
    assert named(nodes, 102.5) == {"n0": 2.5, "n1": 1.5}
    assert nodes.news() == (["node n1 came, version 1.0"], [])
    nodes.hear(word(1), 103.0)
    assert nodes.news() == ([], [])
    nodes.hear(word(1, leaving=True), 104.0)
    assert nodes.news() == (["node n1 left"], [])
    assert named(nodes, 104.0) == {"n0": 4.0}


def test_a_node_that_is_silent_is_gone_but_not_while_nobody_is_heard() -> None:
    nodes = Nodes(OWN)
    nodes.hear(word(0), 100.0)
    nodes.hear(word(1), 100.0)
    nodes.news()
    assert named(nodes, 1000.0) == {"n0": 900.0, "n1": 900.0}
    nodes.hear(word(0), 100.0 + GONE_SECONDS)
    assert nodes.news() == ([], [])
    nodes.hear(word(0), 100.1 + GONE_SECONDS)
    assert nodes.news() == (["node n1 is gone: silent for 10 s"], [])


GOOD: Json = json.loads(word())


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff\xfe",
        b"[1]",
        b"{}",
        b"null",
        *(
            json.dumps({**GOOD, **wrong}).encode()
            for wrong in (
                {"id": "x"},
                {"node": ""},
                {"node": "a\nb"},
                {"node": "\u202eevil"},
                {"node": "x" * 129},
                {"seq": -1},
                {"seq": 2**53},
                {"seq": "5"},
                {"lag": -1},
                {"lag": 1e300},
                {"formats": ["x"] * 65},
                {"connections": 10**30},
            )
        ),
    ],
)
def test_what_is_malformed_is_passed_over_and_told_once(said: bytes) -> None:
    nodes = Nodes(OWN)
    for _ in range(3):
        nodes.hear(said, 1.0)
    assert len(nodes) == 0
    news, [fault] = nodes.news()
    assert news == []
    assert fault.startswith("a word of a node is malformed, and passed over: ")
    assert "\n" not in fault


def test_what_is_too_long_is_not_even_read() -> None:
    nodes = Nodes(OWN)
    nodes.hear(b" " * 10_000 + word(), 1.0)
    assert nodes.news() == ([], ["a word of a node is too long, and passed over"])


def test_a_thousand_false_nodes_are_bounded_and_told_once() -> None:
    nodes = Nodes(OWN)
    nodes.hear(word(0), 0.0)
    for number in range(1, 2000):
        nodes.hear(word(number), 0.0)
    assert len(nodes) == gossip._MAX_NODES
    _, faults = nodes.news()
    assert faults == ["more than 512 nodes are heard; the others are passed over"]
    nodes.hear(word(0), GONE_SECONDS + 1)
    assert named(nodes, GONE_SECONDS + 1) == {"n0": 0.0}


def test_one_name_for_two_nodes_is_told_and_a_node_that_starts_again_is_not() -> None:
    nodes = Nodes(OWN)
    nodes.hear(word(1), 0.0)
    for now in (1.0, 2.0, 3.0):  # the first is silent: it has been started again
        nodes.hear(word(2, node="n1"), now)
    assert nodes.news()[1] == []
    for now in (4.0, 5.0):
        nodes.hear(word(1), now)
        nodes.hear(word(2, node="n1"), now)
    issue = "two nodes are called n1; give each a --node-name of its own"
    assert nodes.news()[1] == [issue]
    assert list(problems(nodes.nodes(5.0))) == [issue]


def test_what_is_wrong_with_nodes_is_told_in_words() -> None:
    nodes = Nodes(OWN)
    nodes.hear(word(1), 10.0)
    nodes.hear(word(2, issue="the disk is\nfull" + "!" * 5000), 10.0)
    nodes.hear(word(3), 0.0)
    told = "\n".join(problems(nodes.nodes(10.0)))
    assert "node n2: the disk is full!" in told
    assert "node n3 has been silent for 10 s" in told


async def health(server: Server) -> Json:
    with closing(await Http.connect(("127.0.0.1", server.port))) as http:
        return (await http.ask("GET", "/healthz")).json


async def heard(server: Server) -> dict[str, Json]:
    """The nodes that a server tells of."""
    return {node["name"]: node for node in (await health(server))["nodes"]}


@on_uvloop
async def test_servers_hear_of_each_other_and_of_false_ones() -> None:
    url = fresh_url()
    common = {"port": 0, "store": "memory", "engine": url}
    async with Server(Config(**common, node_name="one")) as one:
        async with Server(Config(**common)) as other:
            theirs = f"{socket.gethostname()}:{other.port}"
            await one.publish(user())
            async with admin(lasting().servers[0]) as client:
                subject = settings.nodes_of(shared_log(url).name)
                await client.publish(subject, b"nonsense")
                ahead = word(7, node="ten years ahead", seq=2**53 - 1, lag=3e8)
                await client.publish(subject, ahead)
                await client.flush()
            wanted = {"one", theirs, "ten years ahead"}
            found = await eventually(
                lambda: heard(one), lambda found: found.keys() >= wanted and found["one"]["seq"]
            )
            mine = found["one"]
            assert (mine["version"], mine["issue"], mine["lag"]) == (__version__, "", 0.0)
            assert sorted(mine["formats"]) == FORMATS
            assert (await health(one))["status"] == "ok"
        await eventually(lambda: heard(one), lambda found: theirs not in found)


@on_uvloop
async def test_a_fault_of_the_store_is_told_to_the_others() -> None:
    view = SharedStream().view()
    async with serving(engine=lambda clock: StreamEngine(view), node_name="one") as house:
        await eventually(lambda: heard(house.server), lambda found: "one" in found)
        house.context.log.damage = "2 acts cannot be read"
        found = await eventually(lambda: heard(house.server), lambda all: all["one"]["issue"])
        assert found["one"]["issue"] == "2 acts cannot be read"


@on_uvloop
async def test_with_authentication_nodes_are_told_to_admins_only() -> None:
    view = SharedStream().view()
    async with serving(engine=lambda clock: StreamEngine(view), jwt_secret=SECRET) as house:
        http = await house.http()
        client = await house.client()
        assert (await client.ask("authenticate", token=token("u")))["id"] == "u"
        assert "nodes" not in (await http.ask("GET", "/healthz")).json
        admin = {"Authorization": f"Bearer {token('a', scope='admin')}"}

        async def nodes() -> list[Json]:
            told: list[Json] = (await http.ask("GET", "/healthz", **admin)).json["nodes"]
            return told

        [node] = await eventually(nodes, lambda found: found and found[0]["users"])
        assert (node["connections"], node["users"]) == (1, 1)
        assert "id" not in node
