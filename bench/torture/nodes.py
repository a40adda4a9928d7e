"""One node: a process, killed and started again on one archive."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from bench.brokers import Ways
from bench.server import TOP
from bench.torture.promises import demand

READY_SECONDS = 120

Row = tuple[int, str, str]
"""Seq, id and payload in an archive."""


def faked(seconds: int) -> dict[str, str]:
    """Return what makes a clock be off, as variables of the environment; nothing without faketime.

    Its command is no use here: it stays between, and would be killed in the place of the node.
    """
    command = shutil.which("faketime")
    if not seconds or not command:
        return {}
    asked = [command, "-f", "+0s", "printenv", "LD_PRELOAD"]
    library = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    off = {"FAKETIME": f"{seconds:+}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return {"LD_PRELOAD": library, **off}


class Node:
    """One node: a process, killed and started again on one archive."""

    def __init__(self, number: int, folder: Path, url: str, ways: Ways) -> None:
        self.number = number
        self._ways = ways
        self.store = folder / f"node{number}.db"
        self.address = ""
        self._said = folder / f"node{number}.log"
        self._url = url
        self._process: subprocess.Popen[str]

    async def start(self, clock: int = 0) -> None:
        """Start it, with its clock off by some seconds, and wait until it is ready."""
        name = f"node{self.number}"
        options = ["--host", self._ways.host(name), "--port", "0", "--no-limits"]
        options += ["--store", str(self.store), "--engine", self._url, "--node-name", name]
        with self._said.open("a") as said:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it does not block for long
                [*self._ways.within(name), sys.executable, "-m", "livelog", *options],
                cwd=TOP,
                env={**os.environ, **faked(clock)},
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        line = await asyncio.wait_for(asyncio.to_thread(self._ready_line), READY_SECONDS)
        demand("ready on" in line, f"node {self.number} does not start: {self.said()}")
        self.address = line.split("ws://")[1].split("/")[0]

    def _ready_line(self) -> str:
        """Return the line that says that it is ready, or the empty one of its end."""
        assert self._process.stdout is not None
        line = "livelog open on"  # it may have to catch up with the log first
        while line.startswith("livelog open on"):
            line = self._process.stdout.readline()
        return line

    def said(self) -> str:
        """Return the last lines that it has logged."""
        return self._said.read_text()[-2000:]

    def kill(self) -> None:
        with self._process:  # waits, and closes the pipe
            self._process.kill()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def limit_files(self, size: int) -> None:
        """Let no file of it grow beyond a size, as on a disk that is full."""
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, hard))

    async def end(self) -> None:
        self._process.terminate()
        await asyncio.to_thread(self._process.communicate)

    def rows(self) -> list[Row]:
        """Return what is in the archive of a node that does not run."""
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            asked = "SELECT seq, id, payload FROM message ORDER BY position"
            return connection.execute(asked).fetchall()
