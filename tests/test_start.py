"""Where a server runs: as the first process, without a name or files to write, started late."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.process import CLEAN, ROOT, STOPPED, Start, ended, port_of, ready
from tests.support.wire import PATIENCE, Http, on_uvloop, soon

UNNAMED = 54321
"""A user without an entry in the table of users."""


def caught(pid: int) -> set[int]:
    """The signals that a process has handlers for."""
    text = Path(f"/proc/{pid}/status").read_text()
    [mask] = [int(line.split()[1], 16) for line in text.splitlines() if line.startswith("SigCgt:")]
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def handled(process: subprocess.Popen[str]) -> None:
    """Wait for the first moment at which a signal is heard: long before the server is ready."""
    until = time.monotonic() + PATIENCE
    while not {signal.SIGTERM, signal.SIGINT} <= caught(process.pid):
        assert process.poll() is None
        assert time.monotonic() < until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_the_first_moment_ends_it_cleanly(start: Start, number: int) -> None:
    process = start("--port", "0")
    handled(process)
    process.send_signal(number)
    code, out, err = ended(process)
    assert (code, out[-len(STOPPED) :], err) == (0, STOPPED, "")


@pytest.mark.parametrize("delay", [0.1, 0.3, 0.6])
def test_a_signal_in_the_first_second_ends_it_cleanly(
    start: Start, tmp_path: Path, delay: float
) -> None:
    process = start("--port", "0", "--store", str(tmp_path / "l.db"))
    handled(process)
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process)
    assert (code, out[-len(STOPPED) :], err) == (0, STOPPED, "")


def test_the_first_process_hears_the_signals_that_end_it(start: Start) -> None:
    """The kernel drops what process 1 has no handler for; see also the test with one, below."""
    process = start("--port", "0")
    ready(process)
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGHUP} <= caught(process.pid)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0


def test_it_ends_as_the_first_process(tmp_path: Path) -> None:
    """In a namespace of processes where that is allowed, and as a plain process elsewhere."""
    alone = [shutil.which("unshare") or "", "--pid", "--fork", "--kill-child"]
    allowed = (
        bool(alone[0])
        and subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0
    )
    program = [sys.executable, "-m", "livelog", "--port", "0"]
    process = subprocess.Popen(
        [*(alone if allowed else ()), *program],
        cwd=ROOT, env={**CLEAN, "LIVELOG_STORE": str(tmp_path / "l.db")},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        ready(process)
        pid = process.pid
        if allowed:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            pid = int(children[0])
            inside = Path(f"/proc/{pid}/status").read_text()
            [numbers] = [line for line in inside.splitlines() if line.startswith("NSpid:")]
            assert numbers.split()[-1] == "1"
        os.kill(pid, signal.SIGTERM)
        code, out, err = ended(process)
        assert (code, out[-len(STOPPED) :], err) == (0, STOPPED, "")
    finally:
        process.kill()
        process.communicate()


UNNAMED_ARGUMENTS = (
    f"--reuid={UNNAMED}", f"--regid={UNNAMED}", "--clear-groups",
    # Python may lie in a folder of root's; it may be read there, and nothing be written.
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
)  # fmt: skip


@pytest.fixture
def writable(tmp_path: Path) -> Path:
    """A folder that the user without a name may write to, and reach."""
    folder = Path("/tmp") / f"livelog-test-{os.getpid()}-{tmp_path.name}"
    folder.mkdir()
    if os.getuid() == 0:
        os.chown(folder, UNNAMED, UNNAMED)
    return folder


@pytest.mark.parametrize("read_only", [False, True])
def test_it_runs_without_a_name_a_home_and_a_file_system_to_write_to(
    writable: Path, read_only: bool
) -> None:
    """In `/`, which this user may not write to; `read_only` where a mount is allowed, too."""
    reached = reaching_python()
    sealed: list[str] = []
    if read_only:
        mounts = f"mount --bind {writable} {writable} && mount -o remount,ro,bind / && "
        sealed = [shutil.which("unshare") or "sh", "--mount", "sh", "-c", f'{mounts}exec "$@"', "-"]
        tried = subprocess.run([*sealed, "true"], capture_output=True, check=False)
        sealed = sealed if tried.returncode == 0 else []
    store = writable / "l.db"
    become = ["setpriv", *UNNAMED_ARGUMENTS] if os.getuid() == 0 else []
    program = [*become, sys.executable, "-m", "livelog", "--port", "0"]
    process = subprocess.Popen(
        [*sealed, *program],
        cwd="/", text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={
            **CLEAN, "HOME": "/nowhere", "TMPDIR": "/nowhere", "PYTHONPATH": reached,
            "PYTHONDONTWRITEBYTECODE": "1", "LIVELOG_STORE": str(store),
        },
    )  # fmt: skip
    try:
        url = ready(process)
        if os.getuid() == 0:
            status = Path(f"/proc/{process.pid}/status").read_text()
            assert f"\nUid:\t{UNNAMED}\t" in status

        @on_uvloop
        async def use() -> None:
            http = await Http.connect(("127.0.0.1", port_of(url)))
            with closing(http):
                body = '{"type": "user", "content": "hello", "user_id": "u", "username": "u"}'
                assert (await soon(http.ask("POST", "/api/messages", body))).status == 201
                found = await soon(http.ask("GET", "/api/search?query=hello"))
                assert found.json["count"] == 1

        use()
        os.kill(process.pid, signal.SIGTERM)
        code, out, err = ended(process)
        assert (code, out[-len(STOPPED) :], err) == (0, STOPPED, "")
        assert store.exists()
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(writable)


def reaching_python() -> str:
    """The path of modules, which the user without a name has to be able to read."""
    return os.pathsep.join([str(ROOT), *(part for part in sys.path if part)])


# Socket activation.


ACTIVATOR = """
import os, sys
count = int(sys.argv[1])
for number in range(count):  # away from 3, 4, … first
    os.dup2(int(sys.argv[2 + number]), 50 + number)
for number in range(count):
    os.dup2(50 + number, 3 + number, inheritable=True)
os.environ["LISTEN_PID"] = str(os.getpid() + int(sys.argv[2 + count]))
os.environ["LISTEN_FDS"] = str(count)
os.execv(sys.executable, [sys.executable, "-m", "livelog", *sys.argv[3 + count:]])
"""


def activated(
    sockets: Sequence[socket.socket], *options: str, other: int = 0
) -> subprocess.Popen[str]:
    """The server, as a service manager starts it with sockets that listen; for an `other` pid."""
    numbers = [str(sock.fileno()) for sock in sockets]
    return subprocess.Popen(
        [sys.executable, "-c", ACTIVATOR, str(len(numbers)), *numbers, str(other), *options],
        cwd=ROOT, env=CLEAN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, pass_fds=[sock.fileno() for sock in sockets],
    )  # fmt: skip


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket that listens, as systemd has it before the service runs."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def test_it_takes_the_socket_that_it_is_given_and_who_has_waited(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as early:  # before the server is there
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        process = activated([listening], "--port", "1", "--host", "10.0.0.1")
        try:
            assert port_of(ready(process)) == port
            early.settimeout(PATIENCE)
            answer = b"".join(iter(lambda: early.recv(4096), b""))
            assert answer.startswith(b"HTTP/1.1 200 ")
            process.send_signal(signal.SIGTERM)
            code, out, err = ended(process)
            assert (code, out[-len(STOPPED) :], err) == (0, STOPPED, "")
            # The port is still open: who comes now waits for the next server.
            socket.create_connection(("127.0.0.1", port)).close()
        finally:
            process.kill()
            process.communicate()


def test_it_takes_a_socket_at_a_path(tmp_path: Path) -> None:
    path = str(tmp_path / "l.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        process = activated([sock])
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(f"livelog ready on ws+unix://{path}:")
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                client.sendall(b"GET /readyz HTTP/1.0\r\nHost: x\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            process.send_signal(signal.SIGTERM)
            assert ended(process)[0] == 0
        finally:
            process.kill()
            process.communicate()


def test_sockets_for_another_process_are_left_alone(listening: socket.socket) -> None:
    process = activated([listening], "--port", "0", other=1)
    try:
        assert port_of(ready(process)) != listening.getsockname()[1]
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("datagram", [], "LISTEN_FDS: the sockets must be streams"),
        ("two ports", [], "LISTEN_FDS: the sockets must all have the same port"),
        ("workers", ["--workers", "2", "--engine", "nats://127.0.0.1:1/x"], "exclude LISTEN_FDS"),
    ],
)
def test_sockets_that_will_not_do_are_refused(kind: str, options: list[str], said: str) -> None:
    one = (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if kind == "datagram"
        else socket.create_server(("127.0.0.1", 0))
    )
    with one, socket.create_server(("127.0.0.1", 0)) as other:
        process = activated([one, other] if kind == "two ports" else [one], *options)
        code, out, err = ended(process)
        assert (code, out) == (2, "")
        assert said in err
