"""The systemd unit, by systemd's own tools, and what the server tells the service manager."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from livelog.cli import systemd
from tests.support.process import ROOT, Start, ready
from tests.support.wire import PATIENCE

UNIT = ROOT / "livelog" / "web" / "deploy" / "livelog.service"
ANALYZE = shutil.which("systemd-analyze") or ""
MOST_EXPOSED = 1.5
"""Of ten: that of a service which may only talk to the network and write its own files."""


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a service manager, named by the environment."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        sock.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield sock


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed")
def test_the_unit_is_valid_and_its_sandbox_is_tight(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    program = shutil.which("true") or ""  # systemd looks whether it is there
    unit.write_text(UNIT.read_text().replace("/opt/livelog/bin/livelog", program))
    verified = analyzed("verify", str(unit))
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = analyzed("security", "--offline=true", "--no-pager", str(unit))
    level = re.search(r"Overall exposure level for livelog\.service: ([0-9.]+)", rated.stdout)
    assert level, rated.stderr
    assert float(level[1]) <= MOST_EXPOSED


def test_the_server_tells_when_it_is_ready_reloads_and_stops(
    manager: socket.socket, start: Start
) -> None:
    server = start("--port", "0", NOTIFY_SOCKET=os.environ["NOTIFY_SOCKET"])
    ready(server)
    assert manager.recv(1000) == b"READY=1"
    server.send_signal(signal.SIGHUP)
    assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", manager.recv(1000))
    assert manager.recv(1000) == b"READY=1"
    server.send_signal(signal.SIGTERM)
    assert manager.recv(1000) == b"STOPPING=1"
    assert server.wait(PATIENCE) == 0


def test_an_abstract_socket_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"livelog-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        sock.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        systemd.notify(systemd.READY)
        assert sock.recv(1000) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/notify", "@nobody-listens-here"])
def test_without_a_manager_that_listens_nothing_happens(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify(systemd.READY)
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemd.notify(systemd.READY)
