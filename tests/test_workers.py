"""Several processes on one port: their start, their deaths and their end, with clients at work."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from livelog import Config, ConfigError, Gap, Server, connect
from tests.support.brokers import fresh_url
from tests.support.following import IMPATIENT, take
from tests.support.ports import free_port
from tests.support.process import CLEAN, ROOT, STOPPED, Start, ended, port_of, ready
from tests.support.tls import make_certificate
from tests.support.wire import Http, Json, on_uvloop, soon, until, user


async def health(port: int) -> Json:
    """The health of the worker that takes the connection."""
    http = await Http.connect(("127.0.0.1", port))
    with closing(http):
        return (await http.ask("GET", "/healthz")).json


async def numbers(port: int, count: int) -> None:
    """Wait until so many workers answer."""
    found: set[int] = set()
    while len(found) < count:
        found.add((await soon(health(port)))["worker"])
    assert found == set(range(1, count + 1))


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes of the workers."""
    tasks = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in tasks.read_text().split()]


def is_there(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


# Start and end.


def test_they_share_a_port_and_a_log_and_have_stores_of_their_own(
    start: Start, tmp_path: Path
) -> None:
    store = str(tmp_path / "live.db")
    process = start("--port", "0", "--workers", "3", "--engine", fresh_url(), "--store", store)
    url = ready(process)

    @on_uvloop
    async def use() -> None:
        async with connect(url) as log, log.subscribe("user", since=0) as messages:
            for _ in range(5):
                async with connect(url) as other:
                    await other.publish(user("hello"))
            assert len(await take(aiter(messages), 5)) == 5
        await numbers(port_of(url), 3)

    use()
    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process)
    assert (code, out[-len(STOPPED) :], out.count("ready")) == (0, STOPPED, 0)
    assert all(re.search(r" worker [123] (INFO|WARNING) ", line) for line in err.splitlines()), err
    stores = sorted(file.name for file in tmp_path.glob("*.db"))
    assert stores == [f"live-{number}.db" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("options", "issue"),
    [
        ([], "--workers: more than one need --engine, to share a log"),
        (["--engine", "nats://127.0.0.1:1/x", "--uds", "s"], "share a TCP port, and exclude --uds"),
    ],
)
def test_what_they_need_is_said(start: Start, options: list[str], issue: str) -> None:
    code, out, err = ended(start("--workers", "2", *options))
    assert (code, out) == (2, "")
    assert issue in err


def test_one_is_as_without_the_option(start: Start) -> None:
    process = start("--port", "0", "--workers", "1")
    ready(process)
    assert len(children(process)) <= 1  # the reading process, and no worker
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0


@on_uvloop
async def test_a_program_starts_no_workers() -> None:
    server = Server(Config(port=0, store="memory", workers=2, engine="nats://127.0.0.1:1/x"))
    with pytest.raises(ConfigError, match="`livelog serve` starts"):
        await server.start()


def test_a_wrong_option_is_said_once_and_ends_them(start: Start, tmp_path: Path) -> None:
    (tmp_path / "live-1.db").mkdir()
    store = str(tmp_path / "live.db")
    process = start("--port", "0", "--workers", "3", "--engine", fresh_url(), "--store", store)
    code, out, err = ended(process)
    assert (code, out) == (2, "")
    assert err.count("live-1.db") == 1
    assert re.search(r"worker 1 \(process \d+\) ended \(2\); all stop\n$", err)


def test_a_port_of_other_workers_is_taken(start: Start) -> None:
    options = ("--workers", "2", "--engine", fresh_url(), "--port")
    url = ready(start(*options, "0"))
    code, _, err = ended(start(*options, str(port_of(url))))
    assert code == 2
    assert f"cannot listen on 127.0.0.1:{port_of(url)}: Address already in use" in err


def test_a_signal_before_they_are_ready_ends_them(start: Start) -> None:
    engine = f"nats://127.0.0.1:{free_port()}/x"
    process = start("--port", "0", "--workers", "2", "--engine", engine)
    while not children(process):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    code, out, _ = ended(process)
    assert (code, out) == (0, STOPPED)


def test_they_stop_when_their_supervisor_is_killed(start: Start) -> None:
    process = start("--port", "0", "--workers", "2", "--engine", fresh_url())
    ready(process)
    workers = children(process)
    assert len(workers) == 2
    process.kill()

    @on_uvloop
    async def gone() -> None:
        await until(lambda: not any(map(is_there, workers)), "the end of the workers")

    gone()


def test_all_serve_a_new_certificate_after_a_signal(start: Start, tmp_path: Path) -> None:
    old, new = make_certificate(tmp_path, "old"), make_certificate(tmp_path, "new")
    served = [tmp_path / "served.pem", tmp_path / "served.key"]

    def serve_with(files: tuple[Path, Path]) -> None:
        for source, target in zip(files, served, strict=True):
            shutil.copy(source, target)

    serve_with((old.cert, old.key))
    tls = ("--tls-cert", str(served[0]), "--tls-key", str(served[1]))
    process = start("--port", "0", "--workers", "2", "--engine", fresh_url(), *tls)
    port = int(ready(process, "wss").split(":")[2].split("/")[0])
    serve_with((new.cert, new.key))
    process.send_signal(signal.SIGHUP)
    expected = ssl.PEM_cert_to_DER_cert(new.cert.read_text())

    @on_uvloop
    async def check() -> None:
        in_a_row = 0
        while in_a_row < 20:  # so both have answered, but once in a million times
            pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
            in_a_row = in_a_row + 1 if ssl.PEM_cert_to_DER_cert(pem) == expected else 0

    check()


# Under load.


@on_uvloop
async def _lose_workers(process: subprocess.Popen[str], url: str) -> None:
    async with (
        connect(url, clock=IMPATIENT) as log,
        log.subscribe("user") as messages,
        log.subscribe("user", since=0) as own,
        connect(url, clock=IMPATIENT) as other,
    ):
        reading = [asyncio.ensure_future(take(aiter(each), 600)) for each in (messages, own)]
        receipts = []
        for worker in children(process):
            sending = [
                asyncio.ensure_future(client.publish(user(str(number))))
                for number in range(150)
                for client in (log, other)
            ]
            await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
            os.kill(worker, signal.SIGKILL)
            receipts += await soon(asyncio.gather(*sending))
            await until(lambda: len(children(process)) == 2, "another worker")
        seqs = sorted(receipt.seq for receipt in receipts)
        assert len(set(seqs)) == 600
        for each in reading:
            got = await soon(each)
            assert [item.seq for item in got if not isinstance(item, Gap)] == seqs
    await numbers(port_of(url), 2)


def test_a_killed_worker_is_replaced_and_nothing_is_lost(start: Start, tmp_path: Path) -> None:
    store = str(tmp_path / "live.db")
    options = ("--port", "0", "--workers", "2", "--engine", fresh_url(), "--no-limits")
    process = start(*options, "--store", store)
    _lose_workers(process, ready(process))
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert code == 0
    # At once, if it had lasted: on a busy machine it may have.
    said = re.findall(
        r"worker (\d) \(process \d+\) was killed by signal 9; started again in [01] s", err
    )
    assert sorted(said) == ["1", "2"]


def test_what_is_acknowledged_as_they_stop_is_in_the_log(start: Start) -> None:
    engine = fresh_url()
    process = start("--port", "0", "--workers", "2", "--engine", engine, "--no-limits")
    url = ready(process)
    acknowledged: set[str] = set()

    async def publish(name: str) -> None:
        number = 0
        while True:
            http = await Http.connect(("127.0.0.1", port_of(url)))
            with closing(http):
                while True:
                    number += 1
                    body = json.dumps(user(id=f"{name}{number}"))
                    answer = await http.ask("POST", "/api/messages", body)
                    if answer.status == 201:
                        acknowledged.add(f"{name}{number}")

    @on_uvloop
    async def load() -> None:
        publishing = [asyncio.create_task(publish(name)) for name in "abcdefgh"]
        await until(lambda: len(acknowledged) > 200, "messages")
        process.send_signal(signal.SIGTERM)
        done = await soon(asyncio.gather(*publishing, return_exceptions=True))
        assert all(isinstance(each, AssertionError | OSError) for each in done), done

    load()
    assert ended(process)[0] == 0
    after = ready(start("--port", "0", "--engine", engine, "--no-limits"))

    @on_uvloop
    async def compare() -> None:
        async with connect(after) as log:
            found: list[str] = []
            while len(found) < (page := await log.history(limit=1000, offset=len(found))).total:
                found += [message.id for message in page.messages]
        assert len(found) == len(set(found))
        assert acknowledged <= {*found}

    compare()


# The supervisor, with workers that do one thing only.

SCRIPT = """
import ctypes, os, signal, sys
from livelog import Config
from livelog.cli.workers import supervise, supervisor

def run(config, worker):
{work}

ctypes.CDLL(None).prctl(36, 1)  # orphans come to it (PR_SET_CHILD_SUBREAPER)
supervisor.DELAYS = (0.0, 0.01, 0.02, 0.03)
config = Config(port=0, store="memory", workers=3, engine="nats://127.0.0.1:1/x")
sys.exit(supervise(config, run, lambda text: print(text, flush=True)))
"""


UNTIL_AN_ORDER = "worker._channel.recv(1)\nreturn 0"


def supervised(work: str) -> subprocess.Popen[str]:
    """A supervisor of workers that do `work`."""
    code = SCRIPT.format(work=textwrap.indent(work, "    "))
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=CLEAN,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("death", "how", "code"),
    [
        ("return 3", r"ended \(3\)", 3),
        ("return 0", r"ended \(0\)", 1),
        ("raise ValueError('no')", r"ended \(1\)", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by signal 9", 137),
    ],
)
def test_a_worker_that_dies_again_and_again_ends_all(death: str, how: str, code: int) -> None:
    work = (
        f"worker.ready('ready')\nif worker.number == 2: {death}\nworker._channel.recv(1)\nreturn 0"
    )
    result, _, err = ended(supervised(work))
    assert result == code
    assert len(re.findall(rf"worker 2 \(process \d+\) {how}; started again in 0.0\d s\n", err)) == 3
    assert re.search(rf"worker 2 \(process \d+\) {how} again and again; all stop\n", err)


def test_processes_that_lose_their_parent_are_reaped() -> None:
    """As the first process of a container has to."""
    work = """
if not os.fork():
    if not os.fork():
        os._exit(0)
    os._exit(0)
os.wait()
worker.ready('ready')
worker._channel.recv(1)
return 0
"""
    process = supervised(work)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    @on_uvloop
    async def reaped() -> None:
        await until(lambda: len(children(process)) == 3, "three workers and no zombie")

    reaped()
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0


def test_a_second_signal_is_passed_on_as_another_order() -> None:
    work = """
worker.ready('ready')
os.write(1, b'%d' % worker.number + worker._channel.recv(1) + b'\\n')
os.write(1, b'%d' % worker.number + worker._channel.recv(1) + b'\\n')
return 0
"""
    process = supervised(work)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for order in "sh":
        process.send_signal(signal.SIGTERM)
        assert sorted(process.stdout.readline() for _ in range(3)) == [
            f"{n}{order}\n" for n in "123"
        ]
    assert ended(process)[0] == 0
