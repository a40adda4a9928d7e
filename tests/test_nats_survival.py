"""Servers of one log that differ: a clock that is years off, another version; and strangers."""

from __future__ import annotations

import json
import time
from functools import partial

import pytest

from livelog import Config, RefusedError, Server
from livelog.config.address import shared_log
from livelog.engine.nats import batch, settings
from livelog.engine.nats.jetstream import JetStream
from tests.support.brokers import fresh_url, lasting
from tests.support.wire import Http, Json, eventually, on_uvloop, soon, user
from tests.test_cli_engine import places
from tests.test_nats_cases import health, named, node
from tests.test_nats_gossip import word
from tests.test_nats_jetstream import admin, seen

TEN_YEARS = 10 * 365 * 86400


@pytest.mark.parametrize("off", [-TEN_YEARS, TEN_YEARS])
@on_uvloop
async def test_a_server_whose_clock_is_ten_years_off_is_one_of_the_servers(off: int) -> None:
    """Also if it makes the stream: order, seqs and repeated ids rest on the broker's clock."""
    config = Config(port=0, store="memory", engine=fresh_url(), node_name="off")
    async with (
        Server(config, clock=lambda: time.time() + off) as wrong,
        node(config.cluster.engine, node_name="right") as right,
    ):
        wanted = []
        for number in range(6):
            at = (wrong, right)[number % 2]
            receipt = await at.publish(user(id=f"m{number}"))
            wanted.append((receipt.seq, f"m{number}"))
        assert wanted == sorted(wanted)
        assert (await right.publish(user(id="m0"))).seq == wanted[0][0]
        assert (await wrong.publish(user(id="m1"))).seq == wanted[1][0]
        for server in (wrong, right):
            await soon(seen(server, 6))
            assert await places(server) == wanted
            ask = partial(heard, server)
            await eventually(ask, lambda all: {"off", "right"} <= {each["name"] for each in all})
            assert all(each["issue"] == "" and each["age"] < 10 for each in await heard(server))
            assert json.loads(await health(server))["status"] == "ok"


async def heard(server: Server) -> list[Json]:
    """The servers that a server tells of."""
    found: list[Json] = json.loads(await health(server))["nodes"]
    return found


async def appended(url: str, id: str, format: str, body: bytes) -> None:
    """Append an entry that no server of this version has written."""
    log = shared_log(url)
    stream = JetStream(log.servers, log.name)
    try:
        await stream.open()
        await stream.append(id, format, body)
    finally:
        await stream.close()


@on_uvloop
async def test_servers_of_two_versions_share_a_log_until_the_new_one_writes_its_format() -> None:
    """The next version is simulated: what it says of itself, and an entry in its own format."""
    url = fresh_url()
    async with node(url) as old, node(url) as other:
        await old.publish(user(id="a"))
        async with admin(lasting().servers[0]) as client:
            new = word(7, node="new", version="99.0", formats=[*batch.FORMATS, "next/1"], seq=1)
            await client.publish(settings.nodes_of(shared_log(url).name), new)
            await client.flush()
        await eventually(
            lambda: heard(old), lambda all: "99.0" in [each["version"] for each in all]
        )
        await other.publish(user(id="b"))
        await appended(url, "new-1", "next/1", b"anything")
        for server in (old, other):
            await soon(named(server, "has the format 'next/1'"))
            assert "too old for the log" in await health(server)
            with pytest.raises(RefusedError, match="too old for the log"):
                await server.publish(user(id="c"))
            assert [id for _, id in await places(server)] == ["a", "b"]
            http = await Http.connect(("127.0.0.1", server.port))
            assert (await http.ask("GET", "/readyz")).status == 503
            http.close()


@on_uvloop
async def test_entries_of_a_stranger_are_passed_over_by_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = fresh_url()
    evil = {**user(id="evil"), "timestamp": "2026-01-01T00:00:00.000Z", "seq": 5}
    bodies = [
        ("", b"hello"),
        (batch.PLAIN, b""),
        (batch.PLAIN, b"\xff\xfe"),
        (batch.PLAIN, b"\n" * 2000),
        (batch.COMPRESSED, b"hello"),
        (batch.COMPRESSED, batch.encode([b"x" * 5000])[1][:-3]),
        batch.encode_restored([b'{"id":"a"}']),
        batch.encode_restored([json.dumps(evil, separators=(",", ":")).encode()]),
        ("rebase/1", b'{"base":1,"until":2}'),
        ("rebase/1", b"[" * 10_000),
    ]
    async with node(url) as one, node(url) as other:
        wanted = []
        for number, (format, body) in enumerate(bodies):
            await appended(url, f"stranger-{number}", format, body)
            receipt = await one.publish(user(id=f"m{number}"))
            wanted.append((receipt.seq, f"m{number}"))
        for server in (one, other):
            await soon(seen(server, len(wanted)))
            assert await places(server) == wanted
        async with node(url) as late:
            assert await places(late) == wanted
    assert caplog.text.count("is passed over") >= 3 * len(bodies) - 3
