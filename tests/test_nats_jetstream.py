"""Servers on a real broker: one log for all of them, and settings that do not fit are named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import nkeys  # type: ignore[import-untyped]  # ships no types
import pytest
from nats.aio.client import Client

from livelog import Gap, Server
from livelog.config import Config
from livelog.config.address import shared_log
from livelog.engine.base import MakeEngine
from livelog.engine.nats import jetstream, settings
from livelog.engine.nats.engine import StreamEngine
from livelog.engine.nats.jetstream import JetStream
from livelog.errors import ConfigError, RefusedError
from tests.support.brokers import brokers, fresh_url, lasting
from tests.support.ports import free_port
from tests.support.wire import Json, on_uvloop, serving, soon, user

ALONE = "there is a single broker"


def on(url: str, **how: float) -> MakeEngine:
    """The engine of the log at `url`."""
    address = shared_log(url)
    return lambda clock: StreamEngine(JetStream(address.servers, address.name), **how)


@asynccontextmanager
async def two(url: str, **settings: Any) -> AsyncIterator[tuple[Server, Server]]:
    """Two servers on one log."""
    common = {"port": 0, "store": "memory", "engine": url, **settings}
    async with Server(Config(**common)) as one, Server(Config(**common)) as other:
        yield one, other


async def seen(server: Server, count: int, since: int = 0) -> list[tuple[int, str]]:
    """Place and id of the next messages behind `since`."""
    found: list[tuple[int, str]] = []
    async for message in server.subscribe(since=since):
        assert not isinstance(message, Gap)
        assert isinstance(message.id, str)
        found.append((message.seq, message.id))
        if len(found) == count:
            return found
    raise AssertionError("the subscription ended")


async def places(server: Server) -> list[tuple[int, object]]:
    page = await server.history(limit=1000)
    return [(message.seq, message.id) for message in page.messages]


@on_uvloop
async def test_clients_of_any_server_see_the_same_log(tmp_path: Path) -> None:
    url = fresh_url()
    async with two(url) as (one, other):
        first = await one.publish(user(id="a"))
        assert await other.publish(user(id="b")) > first
        assert await other.publish(user(id="a")) == first
        with pytest.raises(RefusedError, match="somebody else"):
            await other.publish(user(id="a", user_id="u2"))
        sent = [
            (one if number % 2 else other).publish(user(id=f"m{number}")) for number in range(50)
        ]
        receipts = await soon(asyncio.gather(*sent))
        every = await soon(asyncio.gather(seen(one, 52), seen(other, 52)))
        assert every[0] == every[1]
        assert set(every[0]) >= {(receipt.seq, receipt.id) for receipt in receipts}
        assert await soon(seen(other, 30, since=every[0][21][0])) == every[0][22:]
        assert await places(one) == await places(other) == every[0][::-1]
        # One that comes later, and keeps an archive; then it comes again.
        for _ in range(2):
            config = Config(port=0, store=str(tmp_path / "late.db"), engine=url)
            async with Server(config) as late:
                assert await soon(seen(late, 52)) == every[0]
                assert await places(late) == await places(one)
                assert await late.publish(user(id="a")) == first


@on_uvloop
async def test_a_store_of_another_log_is_refused_by_name(tmp_path: Path) -> None:
    store = str(tmp_path / "live.db")
    async with Server(Config(port=0, store=store)) as server:
        await server.publish(user(id="a"))
    with pytest.raises(ConfigError, match=r"--store .* has another log than --engine"):
        async with Server(Config(port=0, store=store, engine=fresh_url())):
            pass
    async with Server(Config(port=0, store=store)) as server:
        assert [id for _, id in await places(server)] == ["a"]


@on_uvloop
async def test_a_client_that_comes_from_a_faster_server_waits_for_this_one() -> None:
    async with serving(engine=on(fresh_url()), faults=[ALONE]) as house:
        [before] = [await house.server.publish(user(id="a"))]
        client = await house.client()
        since = before.seq + 2 * 1024
        await client.tell("subscribe", message_types=["user"], since=since, request_id=1)
        for id in ("b", "c", "d"):
            await house.server.publish(user(id=id))
        reply = await client.reply("subscribed")
        assert reply["request_id"] == 1
        assert (await client.event())["id"] == "d"


@on_uvloop
async def test_the_broker_dies_and_comes_back(tmp_path: Path) -> None:
    """Publishers wait, reads go on; what was acknowledged is there, once."""
    with brokers(tmp_path) as broker:
        async with two(broker.url()) as (one, other):
            before = [await one.publish(user(id=f"a{number}")) for number in range(5)]
            broker.kill(0)
            waiting = [asyncio.create_task(s.publish(user(id=f"b{s.port}"))) for s in (one, other)]
            assert len((await other.history(limit=10)).messages) == 5
            await asyncio.to_thread(broker.start, 0)
            after = await soon(asyncio.gather(*waiting))
            again = await one.publish(user(id="a0"))
            assert again == before[0]
            every = await soon(asyncio.gather(seen(one, 7), seen(other, 7)))
            assert every[0] == every[1] == sorted((r.seq, r.id) for r in [*before, *after])


@on_uvloop
async def test_without_a_broker_the_answer_names_the_id_to_use_again(tmp_path: Path) -> None:
    with brokers(tmp_path) as broker:
        make = on(broker.url(), patience=1.5, silence=0.2)
        async with serving(engine=make, faults=[ALONE]) as house:
            http = await house.http()
            await http.ask("POST", "/api/messages", json.dumps([user(id="a")]))
            broker.kill(0)
            body = json.dumps([user(), user(id="c")])
            answer = await http.ask("POST", "/api/messages", body)
            assert (answer.status, answer.json["error_code"]) == (503, 1011)
            refused = answer.json["details"]["refused"]
            assert refused[1]["id"] == "c"
            assert refused[0]["id"].startswith("msg_")
            assert "publish it again with the same id" in refused[0]["issue"]
            one = await http.ask("POST", "/api/messages", json.dumps(user()))
            assert (one.status, one.json["details"]["id"][:4]) == (503, "msg_")
            client = await house.client()
            told = await client.ask("publish", message=user())
            assert (told["error_code"], told["details"]["id"][:4]) == (1011, "msg_")
            page = await http.ask("GET", "/api/history")
            assert [message["id"] for message in page.json["messages"]] == ["a"]
            health = (await http.ask("GET", "/healthz")).json
            assert health["lag"] > 0


# What is refused at the start.


@asynccontextmanager
async def admin(server: str, **how: Any) -> AsyncIterator[Client]:
    """A client of the broker that is no server's."""
    client = await nats.connect(f"nats://{server}", **how)
    try:
        yield client
    finally:
        await client.close()


async def asked(client: Client, subject: str, body: Mapping[str, Any]) -> Json:
    answer = await client.request(f"$JS.API.{subject}", json.dumps(body).encode(), timeout=10)
    found: Json = json.loads(answer.data)
    return found


async def refusal(url: str, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        async with Server(Config(port=0, store="memory", engine=url, **more)):
            pass
    return str(caught.value)


@on_uvloop
async def test_a_stream_that_does_not_fit_is_named_and_not_changed() -> None:
    async with admin(lasting().servers[0]) as client:
        config = {**settings.wanted("other", 1.0, 1), "deny_purge": False}
        assert "error" not in await asked(client, "STREAM.CREATE.LIVELOG_other", config)
        issue = await refusal(lasting().url("other"))
        assert "--engine" in issue
        assert "LIVELOG_other is not one of livelog's: deny_purge is False, not True" in issue
        found = await asked(client, "STREAM.INFO.LIVELOG_other", {})
        assert found["config"]["deny_purge"] is False


@on_uvloop
async def test_messages_that_the_broker_would_not_take_are_refused_at_the_start() -> None:
    issue = await refusal(fresh_url(), max_frame_bytes=2**20)
    assert "max_payload of the broker is 1048576, at least 1052672 are needed" in issue


@on_uvloop
async def test_brokers_that_have_not_all_come_yet_are_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Started together with their servers, they refuse a stream of three replicas for a moment."""
    ask, early = JetStream._asked, [{"code": 400, "err_code": 10005, "description": "no peers"}] * 2

    async def asked(self: JetStream, what: str, body: Any = None) -> Any:
        if what == "CREATE" and early:
            return {"error": early.pop()}
        return await ask(self, what, body)

    monkeypatch.setattr(JetStream, "_asked", asked)
    async with Server(Config(port=0, store="memory", engine=fresh_url())) as server:
        assert not server.unready
        assert not early


@on_uvloop
async def test_a_broker_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jetstream, "START_SECONDS", 1.0)
    url = f"nats://127.0.0.1:{free_port()}/prod"
    async with Server(Config(port=0, store="memory", engine=url)) as server:
        assert "the broker is away: " in server.unready
        assert "Connection refused" in server.unready


USERS = """
authorization {{ users: [
  {{ nkey: {nkey}, permissions: {{
    publish: [
      livelog.prod.log, "$JS.API.DIRECT.GET.LIVELOG_prod", "$JS.API.STREAM.INFO.LIVELOG_prod",
      "$JS.API.STREAM.CREATE.LIVELOG_prod", livelog.prod.nodes ],
    subscribe: [ livelog.prod.live, livelog.prod.nodes, "livelog.prod.inbox.>" ] }} }},
] }}
"""


def nkey(folder: Path, number: int = 0) -> tuple[str, str]:
    """A new key of a user: its public half, and the file with its seed."""
    seed = nkeys.encode_seed(bytes([number]) * 32, nkeys.PREFIX_BYTE_USER)
    file = folder / "livelog.nk"
    file.write_bytes(bytes(seed) + b"\n")
    return nkeys.from_seed(bytearray(seed)).public_key.decode(), str(file)


@on_uvloop
async def test_the_permissions_of_the_readme_are_enough_and_wrong_credentials_are_named(
    tmp_path: Path,
) -> None:
    public, file = nkey(tmp_path)
    with brokers(tmp_path, more=USERS.format(nkey=public)) as broker:
        url = broker.url("prod")
        async with two(url, engine_creds=file) as (one, other):
            receipt = await one.publish(user(id="a"))
            assert await soon(seen(other, 1)) == [(receipt.seq, "a")]
        assert "the broker refuses the credentials" in await refusal(url)
        nonsense = tmp_path / "nonsense"
        nonsense.write_text("hello")
        issue = await refusal(url, engine_creds=str(nonsense))
        assert "has neither a user's JWT nor the seed of an nkey" in issue
        missing = str(tmp_path / "missing")
        assert "No such file" in await refusal(url, engine_creds=missing)


@on_uvloop
async def test_credentials_that_are_replaced_are_read_again(tmp_path: Path) -> None:
    """The broker comes back with another user; the file has the new key by then."""
    public, file = nkey(tmp_path, 1)
    with brokers(tmp_path, more=USERS.format(nkey=public)) as broker:
        config = Config(port=0, store="memory", engine=broker.url("prod"), engine_creds=file)
        async with Server(config) as server:
            first = await server.publish(user(id="a"))
            broker.kill(0)
            renewed, _ = nkey(tmp_path, 2)
            broker.edit(0, public, renewed)
            await asyncio.to_thread(broker.start, 0)
            second = await server.publish(user(id="b"))
            assert await soon(seen(server, 2)) == [(first.seq, "a"), (second.seq, "b")]


@on_uvloop
async def test_a_permission_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "START_SECONDS", 4.0)
    public, file = nkey(tmp_path)
    with brokers(tmp_path, more=USERS.format(nkey=public)) as broker:
        issue = await refusal(broker.url("dev"), engine_creds=file)
        assert "permissions violation" in issue.lower()


# What the stream no longer has.


async def next_two(server: Server, since: int) -> list[object]:
    """The next two that come, a gap without its ends."""
    found = list[object]()
    async for message in server.subscribe(since=since):
        found.append("gap" if isinstance(message, Gap) else message.id)
        if len(found) == 2:
            break
    return found


@on_uvloop
async def test_a_server_that_was_away_too_long_goes_on_behind_a_gap(tmp_path: Path) -> None:
    url = fresh_url()
    name = shared_log(url).name
    files = {"behind": str(tmp_path / "behind.db"), "new": str(tmp_path / "new.db")}
    async with Server(Config(port=0, store="memory", engine=url)) as steady:
        async with Server(Config(port=0, store=files["behind"], engine=url)) as server:
            seq = (await steady.publish(user(id="a"))).seq
            await soon(seen(server, 1))
        for id in "bcdef":
            await steady.publish(user(id=id))
        async with admin(lasting().servers[0]) as client:
            subject = f"STREAM.UPDATE.{settings.stream_of(name)}"
            found = await asked(client, subject.replace("UPDATE", "INFO"), {})
            changed = await asked(client, subject, {**found["config"], "max_msgs": 2})
            assert "error" not in changed
        for which, since in (("behind", seq), ("new", 0), ("behind", seq), ("new", 0)):
            async with Server(Config(port=0, store=files[which], engine=url)) as server:
                before = {id for _, id in await places(server)}
                assert before >= ({"a"} if which == "behind" else set[str]())
                assert not before & set("bcdef")
                if not before - {"a"}:
                    await steady.publish(user(id=f"after {which}"))
                assert (await soon(next_two(server, since)))[0] == "gap"
