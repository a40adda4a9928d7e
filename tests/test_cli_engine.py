"""`livelog engine`: the status of a shared log, and what an operator does to it."""

from __future__ import annotations

import asyncio
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from livelog import Config, Server, __version__
from livelog.cli import main
from livelog.config.address import shared_log
from livelog.engine.nats import heal, operator, settings
from livelog.engine.nats.batch import MAX_MESSAGES
from livelog.engine.nats.operator import connected
from livelog.engine.nats.status import Replica, StreamState, _stream_problems
from livelog.engine.nats.stream import AwayError
from livelog.errors import RefusedError
from tests.support.brokers import brokers, fresh_url, lasting
from tests.support.operating import GONE, dying
from tests.support.ports import free_port
from tests.support.wire import Json, eventually, on_uvloop, user
from tests.test_nats_gossip import word
from tests.test_nats_jetstream import USERS, admin, asked, nkey

pytestmark = pytest.mark.usefixtures("quick_words")

Capture = pytest.CaptureFixture[bytes]


async def status(capture: Capture, url: str) -> tuple[int, Json]:
    """Exit code and output of `status`, beside the servers of this process."""
    capture.readouterr()
    code = await asyncio.to_thread(main, ["engine", "status", url, "--json"])
    told: Json = json.loads(capture.readouterr().out)
    return code, told


@on_uvloop
async def test_the_status_of_a_log_that_is_well(capfdbinary: Capture) -> None:
    url = fresh_url()
    async with (
        Server(Config(port=0, store="memory", engine=url, node_name="one")) as one,
        Server(Config(port=0, store="memory", engine=url, node_name="two")),
    ):
        receipt = await one.publish(user())
        await asyncio.sleep(0)
        code, told = await status(capfdbinary, url)
        assert code == 0
        assert [node["name"] for node in told["nodes"]] == ["one", "two"]
        assert {node["version"] for node in told["nodes"]} == {__version__}
        assert (told["wrong"], told["stream"]["unfit"]) == ([], "")
        assert told["stream"]["first_seq"] == receipt.seq
        assert told["stream"]["last_seq"] == receipt.seq + MAX_MESSAGES - 1
        assert told["notes"] == ["1 replica: a broker that dies stops or loses the log"]
        code = await asyncio.to_thread(main, ["engine", "status", url])
        out = capfdbinary.readouterr().out.decode()
        assert code == 0
        assert "node     one, version" in out
        assert out.endswith("all is well\n")


@on_uvloop
async def test_what_is_wrong_is_told_in_words(capfdbinary: Capture) -> None:
    url = fresh_url()
    name = url.rpartition("/")[2]
    code, told = await status(capfdbinary, url)
    assert code == 1
    assert "no node is heard" in told["wrong"]
    assert f"there is no stream LIVELOG_{name}; the first node makes it" in told["wrong"]
    async with (
        Server(Config(port=0, store="memory", engine=url, node_name="one")),
        admin(lasting().servers[0]) as client,
    ):
        saying = asyncio.create_task(_say(client.publish, settings.nodes_of(name)))
        try:
            code, told = await status(capfdbinary, url)
            assert code == 1
        finally:
            saying.cancel()
        wrong = "\n".join(told["wrong"])
        assert "node n7: the disk is full" in wrong
        assert "node n7 has messages up to 9007199254740991, the stream only up to" in wrong
        assert "stop n7, run `livelog engine heal` with its store" in wrong
        assert "node n7 does not read" in "\n".join(told["notes"])
        subject = f"STREAM.UPDATE.{settings.stream_of(name)}"
        found = await asked(client, subject.replace("UPDATE", "INFO"), {})
        changed = {**found["config"], "allow_direct": False}
        assert "error" not in await asked(client, subject, changed)
        code, told = await status(capfdbinary, url)
        assert code == 1
        assert "allow_direct is False, not True" in "\n".join(told["wrong"])


async def _say(publish: object, subject: str) -> None:
    said = word(7, seq=2**53 - 1, issue="the disk is full", formats=["old/1"])
    while True:
        await publish(subject, said)  # type: ignore[operator]  # a method of the client
        await asyncio.sleep(0.2)


@on_uvloop
async def test_replicas_that_are_behind_or_offline_are_told(
    tmp_path: Path, capfdbinary: Capture
) -> None:
    with brokers(tmp_path, 3, sync="10s") as broker:
        url = broker.url("prod")
        async with Server(Config(port=0, store="memory", engine=url)) as server:
            await server.publish(user())
            ask = partial(status, capfdbinary, url)
            _, told = await eventually(ask, lambda found: found[0] == 0)
            stream = told["stream"]
            names = {stream["leader"], *(each["name"] for each in stream["replicas"])}
            assert names == {"n0", "n1", "n2"}
            dead = stream["replicas"][0]["name"]
            broker.kill(int(dead[1:]))
            issue = f"the replica on broker {dead} "
            code, _ = await eventually(ask, lambda found: issue in "\n".join(found[1]["wrong"]))
            assert code == 1


def test_a_replica_that_is_behind_and_a_missing_leader_are_told() -> None:
    behind = Replica("n1", current=False, offline=False, silent=3.0, behind=7)
    away = Replica("n2", current=False, offline=True, silent=90.0, behind=7)
    stream = StreamState("LIVELOG_x", "", [behind, away], 1, 1, 1, 1, "")
    assert list(_stream_problems(stream)) == [
        "the stream has no leader: nothing is acknowledged until the brokers elect one",
        "the replica on broker n1 is not up to date: silent for 3 s, 7 entries behind",
        "the replica on broker n2 is offline",
    ]


def test_brokers_that_are_away_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "START_SECONDS", 0.5)
    port = free_port()
    assert main(["engine", "status", f"nats://127.0.0.1:{port}/prod"]) == 1
    assert "wrong: no broker is reached: " in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["status"], ["status", "http://n1/prod"], ["nothing"]])
def test_wrong_usage_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["engine", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("livelog: ")


def test_credentials_that_cannot_be_read_are_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "missing")
    assert main(["engine", "status", "nats://n1/prod", "--engine-creds", missing]) == 2
    assert f"--engine-creds {missing}: No such file" in capsys.readouterr().err


@on_uvloop
async def test_the_permissions_of_a_server_are_enough_for_the_status(
    tmp_path: Path, capfdbinary: Capture
) -> None:
    public, file = nkey(tmp_path)
    with brokers(tmp_path, more=USERS.format(nkey=public)) as broker:
        url = broker.url("prod")
        async with Server(Config(port=0, store="memory", engine=url, engine_creds=file)):
            arguments = ["engine", "status", url, "--engine-creds", file]
            assert await asyncio.to_thread(main, arguments) == 0
        assert await asyncio.to_thread(main, arguments[:3]) == 1
    assert b"the broker refuses the credentials" in capfdbinary.readouterr().err


# Healing.


async def ran(capture: Capture, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command, beside the servers of this process."""
    capture.readouterr()
    code = await asyncio.to_thread(main, ["engine", *arguments])
    said = capture.readouterr()
    return code, said.out.decode(), said.err.decode()


async def healed(capture: Capture, *arguments: str) -> tuple[int, str]:
    """Exit code and what `heal` has said."""
    code, out, err = await ran(capture, "heal", *arguments)
    return code, out + err


async def places(server: Server) -> list[tuple[int, object]]:
    page = await server.history(limit=1000)
    return [(message.seq, message.id) for message in reversed(page.messages)]


@on_uvloop
async def test_what_the_brokers_have_lost_is_restored_from_a_store(
    tmp_path: Path, capfdbinary: Capture
) -> None:
    """The brokers come back with an older copy of their files, and others go on from there."""
    stores = [str(tmp_path / f"node{number}.db") for number in range(2)]
    folder, copy = tmp_path / "broker", tmp_path / "copy"
    folder.mkdir()
    with brokers(folder) as broker:
        url = broker.url("prod")

        def config(number: int) -> Config:
            return Config(port=0, store=stores[number], engine=url)

        async with Server(config(0)) as one, Server(config(1)):
            for number in range(5):
                await one.publish(user(id=f"a{number}"))
        broker.kill(0)
        shutil.copytree(folder, copy)
        await asyncio.to_thread(broker.start, 0)
        async with Server(config(0)) as one:
            for number in range(40):
                await one.publish(user("x" * 40_000, id=f"b{number}"))
            wanted = await places(one)
        broker.kill(0)
        shutil.rmtree(folder / "n0")
        shutil.copytree(copy / "n0", folder / "n0")
        await asyncio.to_thread(broker.start, 0)
        code, said = await healed(capfdbinary, url, "--store", stores[1])
        assert (code, said) == (0, f"the stream has all that {stores[1]} has\n")
        code, said = await healed(capfdbinary, url, "--store", stores[0])
        first, last = wanted[5][0], wanted[-1][0]
        assert said.startswith(f"40 messages were restored, from seq {first} to {last}\n")
        assert code == 0
        for _ in range(2):
            async with (
                Server(config(0)) as one,
                Server(config(1)) as other,
                Server(Config(port=0, store="memory", engine=url)) as new,
            ):
                receipt = await one.publish(user(id=f"c{len(wanted)}"))
                assert receipt.seq > last
                wanted.append((receipt.seq, receipt.id))
                for server in (one, other, new):
                    while (found := await places(server)) != wanted:
                        assert len(found) < len(wanted)
                        await asyncio.sleep(0.05)
                assert (await other.publish(user("x" * 40_000, id="b3"))).seq == wanted[8][0]
        code, said = await healed(capfdbinary, url, "--store", stores[0])
        assert (code, said) == (0, f"the stream has all that {stores[0]} has\n")


@on_uvloop
async def test_what_does_not_fit_is_not_healed(tmp_path: Path, capfdbinary: Capture) -> None:
    url, store = fresh_url(), str(tmp_path / "node.db")
    code, said = await healed(capfdbinary, url, "--store", store)
    assert (code, "there is no store" in said) == (1, True)
    async with Server(Config(port=0, store=store)) as server:
        await server.publish(user())
        code, said = await healed(capfdbinary, url, "--store", store)
        assert (code, "in use" in said) == (1, True)
    code, said = await healed(capfdbinary, url, "--store", store)
    assert (code, "there is no stream LIVELOG_" in said) == (1, True)
    async with Server(Config(port=0, store="memory", engine=url)):
        code, said = await healed(capfdbinary, url, "--store", store)
        assert (code, "has another log than the stream" in said) == (1, True)


async def lose(url: str, kept: int) -> None:
    """Let the stream lose all but its first entries."""
    async with connected(shared_log(url), "") as held:
        info = await held.info()
        await held.stream.open()
        entries, more = await held.stream.read(0)
        assert not more
        await held.change("DELETE", {})
        await held.change("CREATE", info["config"])
        for entry in entries[:kept]:
            await held.stream.append(f"again {entry.id}", entry.format, entry.body)


async def filled(url: str, store: str, *ids: str) -> list[tuple[int, object]]:
    """Publish messages at a server with a store; their places."""
    async with Server(Config(port=0, store=store, engine=url, node_name="full")) as server:
        for id in ids:
            await server.publish(user(id=id))
        return await places(server)


@on_uvloop
async def test_a_healing_that_was_cut_short_goes_on_where_it_was(
    tmp_path: Path, capfdbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, store = fresh_url(), str(tmp_path / "node.db")
    wanted = await filled(url, store, *"abcdef")
    await lose(url, 2)
    monkeypatch.setattr(heal, "_chunks", lambda found, until: ([each] for each in found))
    for entries in (0, 1, 2, 1):
        with dying(after=entries):
            code, said = await healed(capfdbinary, url, "--store", store)
        assert (code, GONE in said) == (1, True)
    async with Server(Config(port=0, store="memory", engine=url)) as new:
        with pytest.raises(RefusedError, match="the log is being healed"):
            await new.publish(user(id="too soon"))
        code, said = await healed(capfdbinary, url, "--store", store)
        assert code == 0
        receipt = await new.publish(user(id="too soon"))
        wanted.append((receipt.seq, receipt.id))
        assert await places(new) == wanted
    async with Server(Config(port=0, store=store, engine=url)) as full:
        assert await places(full) == wanted


@on_uvloop
async def test_a_rebase_that_was_not_noted_is_noted_by_the_next_healing(
    tmp_path: Path, capfdbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, store = fresh_url(), str(tmp_path / "node.db")
    wanted = await filled(url, store, *"abc")
    await lose(url, 1)
    change, updates = operator.Operator.change, 0

    async def forgetful(self: operator.Operator, what: str, config: Any) -> Any:
        nonlocal updates
        updates += 1
        if updates == 2:
            raise AwayError(GONE)
        return await change(self, what, config)

    monkeypatch.setattr(operator.Operator, "change", forgetful)
    code, said = await healed(capfdbinary, url, "--store", store)
    assert (code, "run it again, it goes on where it was" in said) == (1, True)
    code, said = await healed(capfdbinary, url, "--store", store)
    assert (code, said.startswith("2 messages were restored")) == (0, True)
    async with Server(Config(port=0, store=store, engine=url)) as full:
        receipt = await full.publish(user(id="d"))
        assert await places(full) == [*wanted, (receipt.seq, "d")]


@on_uvloop
async def test_a_stream_that_went_on_without_what_was_lost_is_not_healed(
    tmp_path: Path, capfdbinary: Capture
) -> None:
    url, store = fresh_url(), str(tmp_path / "node.db")
    await filled(url, store, *"abcd")
    await lose(url, 1)
    async with Server(Config(port=0, store="memory", engine=url)) as other:
        await other.publish(user(id="x"))
    code, said = await healed(capfdbinary, url, "--store", store)
    assert code == 1
    assert "the stream has other messages than the store" in said
