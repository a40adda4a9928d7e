"""The command as a process: how tests start it, wait for it and read what it said."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Callable, Iterator
from subprocess import PIPE

import pytest

from tests.support.forks import ROOT as ROOT
from tests.support.forks import livelog
from tests.support.wire import PATIENCE

Start = Callable[..., "subprocess.Popen[str]"]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("LIVELOG_")}
CLEAN["LIVELOG_STORE"] = "memory"
STOPPED = "livelog stopped\n"
"""The last line of a server that a signal has ended."""


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the command; what is still running at the end is killed.

    It is a fork of a process that waits for commands, or Python started `anew`.
    """
    processes = []

    def run(*arguments: str, anew: bool = False, **environment: str) -> subprocess.Popen[str]:
        env = {**CLEAN, **environment}
        pipes = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE}
        process = livelog(*arguments, env=env, anew=anew, text=True, **pipes)
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ready(process: subprocess.Popen[str], scheme: str = "ws") -> str:
    """Wait for the first line, which says where the server is; returns the address in it."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], PATIENCE)
    if not readable:
        process.kill()  # or it would be waited for without an end
        pytest.fail(f"is not ready: {process.communicate()}")
    line = process.stdout.readline()
    assert line.startswith("livelog ready on "), (line, process.communicate(timeout=PATIENCE))
    url, _, trust = line.removeprefix("livelog ready on ").strip().partition(" ")
    assert url.startswith(scheme)
    assert url.endswith("/ws/live-log")
    assert trust.startswith(("(open: ", "(authenticated: "))
    return url


def ended(process: subprocess.Popen[str], given: str | None = None) -> tuple[int, str, str]:
    """Exit code and what was left to read of stdout and stderr, when stdin ends after `given`."""
    out, err = process.communicate(given, timeout=PATIENCE)
    return process.returncode, out, err


def port_of(url: str) -> int:
    """The port in an address."""
    return int(url.removeprefix("ws://127.0.0.1:").removesuffix("/ws/live-log"))
