"""The server under test: started in its own process on its own core, and measured from outside.

Every figure about the server comes from the kernel, none from the server. CPU is the
process's CPU clock, which is utime + stime of /proc/PID/stat without its rounding to 10 ms; work
that loopback does in softirq on the server's behalf is in it. Memory is Rss of
/proc/PID/smaps_rollup, its peak VmHWM of /proc/PID/status, and what the kernel holds in send
queues for the server is in /proc/net/tcp.
"""

from __future__ import annotations

import os
import re
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

TOP = Path(__file__).parent.parent
COMMANDS = {
    # Without keep-alive pings, the stream is messages and nothing else, however long the run.
    "livelog": ("-m", "livelog", "--port", "0", "--no-limits", "--ping-interval", "86400"),
    "floor": ("-m", "bench.floor"),
}
START_SECONDS = STOP_SECONDS = 20

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES = CORES[:1]
LOAD_CORES = CORES[1:] or CORES


@dataclass(frozen=True)
class Server:
    """Server under test; its CPU and memory are 0 if its process is not known."""

    url: str
    pid: int | None = None
    entry: str = ""
    """URL of the node to which a load publishes, when it is not this one."""

    def cpu_ns(self) -> int:
        return 0 if self.pid is None else process_cpu_ns(self.pid)

    def children_cpu_ns(self) -> int:
        """Return the CPU time of the processes that it has started."""
        if self.pid is None:
            return 0
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sum(process_cpu_ns(int(pid)) for pid in children)

    def memory(self) -> int:
        return self._kilobytes("smaps_rollup", "Rss") * 1024

    def peak_memory(self) -> int:
        return self._kilobytes("status", "VmHWM") * 1024

    def _kilobytes(self, file: str, field: str) -> int:
        if self.pid is None:
            return 0
        text = Path(f"/proc/{self.pid}/{file}").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None
        return int(found[1])

    def send_queues(self) -> int:
        """Bytes the kernel holds that the server has sent and its clients have not taken."""
        port = f":{int(self.url.rsplit(':', 1)[1].split('/')[0]):04X}"
        rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return sum(int(row[4].split(":")[0], 16) for row in rows if row[1].endswith(port))


def process_cpu_ns(pid: int) -> int:
    """CPU time of a process."""
    # The kernel's name for the CPU clock of another process: see clock_getcpuclockid(3).
    return time.clock_gettime_ns((~pid << 3) | 2)


def machine_cpu_ns() -> int:
    """CPU time of all processes on this machine, with the time that its host took away."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0]
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, first.split()[1:9])
    busy = user + nice + system + irq + softirq + steal
    return busy * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def pin_load() -> None:
    """Keep this process and its children off the server's core, and let them open many sockets."""
    os.sched_setaffinity(0, LOAD_CORES)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pin_to_one_core() -> None:
    """Keep this process on one core, for measurements without a server."""
    os.sched_setaffinity(0, SERVER_CORES)


@dataclass(frozen=True)
class Launch:
    """Server to measure: its kind, store and checkout, or the URL of one that runs already."""

    kind: str = "livelog"
    store: str = "memory"
    url: str | None = None
    checkout: Path = TOP

    @contextmanager
    def server(self, *options: str) -> Iterator[Server]:
        if self.url is not None:
            yield Server(self.url)
            return
        store = ("--store", self.store) if self.kind == "livelog" else ()
        with started(self.kind, *store, *options, checkout=self.checkout) as server:
            yield server

    @contextmanager
    def server_on_disk(self, *options: str) -> Iterator[Server]:
        """Start a server that writes to a new file and may use all cores for it."""
        with (
            TemporaryDirectory() as folder,
            self.server_on(Path(folder, "live.db"), *options) as server,
        ):
            yield server

    @contextmanager
    def server_on(self, file: Path, *options: str) -> Iterator[Server]:
        """Start a server on a file, with all cores."""
        store = ("--store", str(file))
        with started(self.kind, *store, *options, cores=CORES, checkout=self.checkout) as server:
            yield server


@contextmanager
def started(
    kind: str,
    *options: str,
    cores: Sequence[int] = SERVER_CORES,
    checkout: Path = TOP,
    patience: float = START_SECONDS,
) -> Iterator[Server]:
    with subprocess.Popen(
        (sys.executable, *COMMANDS[kind], *options),
        cwd=checkout,  # `python -m` imports from there before anywhere else
        stdout=subprocess.PIPE,
        text=True,
        # Before exec, so that the threads the server makes are pinned with it.
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    ) as process:
        try:
            yield Server(_ready_url(process, patience), process.pid)
        finally:
            stop(process)


def _ready_url(process: subprocess.Popen[str], patience: float) -> str:
    assert process.stdout is not None
    line = _line(process.stdout, patience)
    if line.startswith("livelog open on "):  # it has yet to catch up with the shared log
        line = _line(process.stdout, patience)
    found = re.search(r"wss?://\S+", line)
    if found is None:
        raise SystemExit(f"the server did not say where it listens: {line!r}")
    return found[0]


def _line(output: IO[str], patience: float) -> str:
    readable, _, _ = select.select([output], [], [], patience)
    return output.readline() if readable else ""


def stop(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if code:
        print(f"the server ended with {code}", file=sys.stderr)
