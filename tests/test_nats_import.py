"""The store of a single server as the beginning of a shared log, and what must not be imported."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from livelog import Config, ConfigError, Server
from livelog.cli import main
from livelog.engine.nats import operator
from tests.support.brokers import brokers, fresh_url
from tests.support.wire import on_uvloop, soon, user
from tests.test_cli_engine import Capture, places, ran
from tests.test_nats_cases import delete, health, node
from tests.test_nats_cases import operator as client_of
from tests.test_nats_jetstream import next_two, seen


async def filled(store: str, *ids: str) -> list[tuple[int, object]]:
    """Publish at a single server; the places of its messages."""
    async with Server(Config(port=0, store=store)) as alone:
        for id in ids:
            await alone.publish(user(id=id))
        return await places(alone)


@on_uvloop
async def test_a_log_goes_on_behind_a_single_servers_store(
    tmp_path: Path, capfdbinary: Capture
) -> None:
    url, store = fresh_url(), str(tmp_path / "livelog.db")
    async with Server(Config(port=0, store=store)) as alone:
        for id in "abc":
            await alone.publish(user(id=id))
        wanted = await places(alone)
        code, _, said = await ran(capfdbinary, "import", store, url)
        assert (code, "in use" in said) == (1, True)
    code, out, _ = await ran(capfdbinary, "import", store, url)
    assert (code, "goes on behind" in out) == (0, True)
    code, _, said = await ran(capfdbinary, "import", store, url)
    assert (code, "there is a stream LIVELOG_" in said) == (1, True)
    for id in "de":
        fresh = str(tmp_path / "new.db")
        async with (
            Server(Config(port=0, store=store, engine=url)) as first,
            Server(Config(port=0, store=fresh, engine=url)) as other,
            Server(Config(port=0, store="memory", engine=url)) as edge,
        ):
            receipt = await other.publish(user(id=id))
            assert receipt.seq > wanted[-1][0]
            wanted.append((receipt.seq, id))
            await soon(seen(first, len(wanted)))
            assert await places(first) == wanted
            assert await soon(seen(first, 2, since=wanted[1][0])) == wanted[2:4]
            assert await places(other) == wanted[3:]
            for server in (other, edge):
                assert await soon(next_two(server, wanted[0][0])) == ["gap", "d"]


@on_uvloop
async def test_an_import_beside_a_server_on_that_log_is_refused_and_changes_nothing(
    tmp_path: Path, capfdbinary: Capture
) -> None:
    """Its seqs would come before those that the log has given: the log is another one by then."""
    url, store = fresh_url(), str(tmp_path / "livelog.db")
    wanted = await filled(store, "a", "b")
    async with node(url) as live:
        receipt = await live.publish(user(id="x"))
        code, _, said = await ran(capfdbinary, "import", store, url)
        assert code == 1
        assert "there is a stream LIVELOG_" in said
        assert "give the log another name" in said
        with pytest.raises(ConfigError, match="has another log than --engine"):
            async with Server(Config(port=0, store=store, engine=url)):
                pass
        later = await live.publish(user(id="y"))
        assert await places(live) == [(receipt.seq, "x"), (later.seq, "y")]
    async with Server(Config(port=0, store=store)) as alone:
        assert await places(alone) == wanted


@on_uvloop
async def test_an_import_beside_servers_whose_stream_was_deleted_is_refused(
    tmp_path: Path, capfdbinary: Capture
) -> None:
    store = str(tmp_path / "livelog.db")
    await filled(store, "a")
    with brokers(tmp_path) as broker:
        url = broker.url("prod")
        async with node(url, node_name="live"):
            async with client_of(broker) as client:
                await delete(client, "prod")
            code, _, said = await ran(capfdbinary, "import", store, url)
            assert (code, "servers are running on this log; stop them first" in said) == (1, True)


@on_uvloop
async def test_no_server_starts_on_a_store_while_it_is_imported(
    tmp_path: Path, capfdbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new messages would have seqs above those that the import has seen."""
    url, store = fresh_url(), str(tmp_path / "livelog.db")
    await filled(store, "a")
    nodes, asking, going_on = operator.Operator.nodes, asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def slow(self: operator.Operator) -> object:
        loop.call_soon_threadsafe(asking.set)
        while not going_on.is_set():  # noqa: ASYNC110 - of another loop
            await asyncio.sleep(0.01)
        return await nodes(self)

    monkeypatch.setattr(operator.Operator, "nodes", slow)
    importing = asyncio.create_task(asyncio.to_thread(main, ["engine", "import", store, url]))
    await soon(asking.wait())
    with pytest.raises(ConfigError, match="in use"):
        async with Server(Config(port=0, store=store)):
            pass
    going_on.set()
    assert await soon(importing) == 0
    assert "goes on behind" in capfdbinary.readouterr().out.decode()


@on_uvloop
async def test_of_two_imports_at_once_one_is_refused(tmp_path: Path, capfdbinary: Capture) -> None:
    url, stores = fresh_url(), [str(tmp_path / f"{name}.db") for name in "pq"]
    wanted = [await filled(store, id) for store, id in zip(stores, "ab", strict=True)]
    codes = await asyncio.gather(
        *(asyncio.to_thread(main, ["engine", "import", store, url]) for store in stores)
    )
    assert sorted(codes) == [0, 1]
    won = codes.index(0)
    async with Server(Config(port=0, store=stores[won], engine=url)) as first:
        assert await places(first) == wanted[won]
        assert '"status": "ok"' in await health(first)
    with pytest.raises(ConfigError, match="has another log than --engine"):
        async with Server(Config(port=0, store=stores[1 - won], engine=url)):
            pass
