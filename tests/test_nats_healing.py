"""Servers that run while the brokers come back without their end: they go on by themselves.

Each has a real broker whose files are put back to an older copy, as by a restored disk.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from bench.brokers import Brokers
from livelog import Config, Server
from livelog.engine.nats import extent
from livelog.errors import RefusedError
from tests.support.brokers import brokers
from tests.support.wire import eventually, on_uvloop, soon, user
from tests.test_cli_engine import Capture, healed, places
from tests.test_nats_cases import named, node

LOST = "the brokers have lost what they had acknowledged"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extent, "_LOST_SECONDS", 0.5)


class Disk:
    """The files of the only broker."""

    def __init__(self, broker: Brokers, folder: Path) -> None:
        self._broker = broker
        self._files = folder / "n0"

    async def keep(self, copy: str) -> None:
        """Copy the files."""
        self._broker.kill(0)
        shutil.copytree(self._files, self._files.with_name(copy))
        await asyncio.to_thread(self._broker.start, 0)

    async def put_back(self, copy: str) -> None:
        """Put a copy in the place of the files."""
        self._broker.kill(0)
        shutil.rmtree(self._files)
        shutil.copytree(self._files.with_name(copy), self._files)
        await asyncio.to_thread(self._broker.start, 0)


async def taken(server: Server, wanted: list[tuple[int, object]]) -> None:
    """Wait until a server has so many messages, which must be these."""
    found = await eventually(lambda: places(server), lambda found: len(found) >= len(wanted))
    assert found == wanted


async def well(server: Server) -> None:
    await named(server, '"status": "ok"')


@on_uvloop
async def test_a_server_goes_on_by_itself_after_the_healing(
    tmp_path: Path, capfdbinary: Capture
) -> None:
    """It has half of what was lost; what it does not have comes like everything else."""
    store = str(tmp_path / "full.db")
    with brokers(tmp_path) as broker:
        url, disk = broker.url("prod"), Disk(broker, tmp_path)
        config = Config(port=0, store=store, engine=url)
        async with node(url, node_name="stays") as server:
            async with Server(config) as full:
                await full.publish(user(id="a"))
                await disk.keep("copy")
                for number in range(3):
                    await full.publish(user(id=f"b{number}"))
                await soon(taken(server, await places(full)))
                wanted = await places(full)
                await disk.put_back("copy")
                await soon(named(server, LOST))
                with pytest.raises(RefusedError, match="have lost"):
                    await server.publish(user(id="x"))
            code, said = await healed(capfdbinary, url, "--store", store)
            assert (code, said.startswith("3 messages were restored")) == (0, True), said
            await soon(well(server))
            assert await places(server) == wanted
            receipt = await server.publish(user(id="c"))
            assert receipt.seq > wanted[-1][0]
            wanted.append((receipt.seq, "c"))
            # What was restored is known by its ids, on this server too.
            assert (await server.publish(user(id="b1"))).seq == wanted[2][0]
            async with Server(config) as full, node(url) as new:
                for each in (server, full, new):
                    await soon(taken(each, wanted))


@on_uvloop
async def test_a_server_goes_on_if_it_was_only_the_wrong_disk(tmp_path: Path) -> None:
    with brokers(tmp_path) as broker:
        url, disk = broker.url("prod"), Disk(broker, tmp_path)
        async with node(url) as server:
            await server.publish(user(id="a"))
            await disk.keep("old")
            await server.publish(user(id="b"))
            await disk.keep("whole")
            await disk.put_back("old")
            await soon(named(server, LOST))
            await disk.put_back("whole")
            await soon(well(server))
            await server.publish(user(id="c"))
            assert [id for _, id in await places(server)] == ["a", "b", "c"]


@pytest.mark.parametrize("waits", [0.5, 60.0])
@on_uvloop
async def test_a_server_stays_refused_where_the_stream_went_on_without_what_was_lost(
    tmp_path: Path, waits: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it had given up already, or still waited for a broker that may only be slow."""
    monkeypatch.setattr(extent, "_LOST_SECONDS", waits)
    with brokers(tmp_path) as broker:
        url, disk = broker.url("prod"), Disk(broker, tmp_path)
        async with node(url) as server:
            await server.publish(user(id="a"))
            await disk.keep("copy")
            await server.publish(user(id="b"))
            await disk.put_back("copy")
            if waits < 1:
                await soon(named(server, LOST))
            async with node(url) as other:
                await other.publish(user(id="x"))
                await other.publish(user(id="y"))
                await soon(named(server, "went on without what the brokers had lost"))
                with pytest.raises(RefusedError, match="went on without"):
                    await server.publish(user(id="c"))
                assert [id for _, id in await places(server)] == ["a", "b"]
                assert [id for _, id in await places(other)] == ["a", "x", "y"]


@on_uvloop
async def test_a_server_that_has_more_than_was_restored_stays_refused(
    tmp_path: Path, capfdbinary: Capture
) -> None:
    """`heal` names it while it is heard; one that was not takes nothing of the healed stream."""
    store, most = str(tmp_path / "some.db"), str(tmp_path / "most.db")
    with brokers(tmp_path) as broker:
        url, disk = broker.url("prod"), Disk(broker, tmp_path)
        async with Server(Config(port=0, store=store, engine=url)) as some:
            await some.publish(user(id="a"))
            await disk.keep("copy")
            await some.publish(user(id="b"))
        async with Server(Config(port=0, store=most, engine=url, node_name="most")) as server:
            await server.publish(user(id="c"))
            wanted = await places(server)
            await disk.put_back("copy")
            await soon(named(server, LOST))
            code, said = await healed(capfdbinary, url, "--store", store)
            assert code == 1
            assert "have more than the store: most; stop the one that has most" in said
        code, said = await healed(capfdbinary, url, "--store", store)
        assert code == 0, said
        async with Server(Config(port=0, store=most, engine=url)) as server:
            await soon(
                named(server, "messages that the brokers had lost and that were not restored")
            )
            assert await places(server) == wanted
