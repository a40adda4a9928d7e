"""Three brokers, three servers and one nginx, as the files of `livelog/web/deploy` start them.

Everything is killed once, and then restarted in the gentle way, while clients publish and follow
behind nginx and at the servers themselves: nothing acknowledged is lost or doubled, and no follower
sees a gap.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop

from livelog import Client, Gap, RefusedError, connect
from livelog.config import load
from tests.support.brokers import brokers
from tests.support.ports import free_port
from tests.support.process import CLEAN, ROOT
from tests.support.wire import soon, until, user

DEPLOY = ROOT / "livelog" / "web" / "deploy"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
BROKERS, NODES = ["n1", "n2", "n3"], ["node1", "node2", "node3"]
STEPS = [*NODES, *BROKERS]
"""The order of an upgrade."""
SECONDS = 300
"""Seconds after which the whole is held to hang."""

needs_nginx = pytest.mark.skipif(not Path(NGINX).exists(), reason="there is no nginx")


# The files, without starting them all.


@needs_nginx
@pytest.mark.parametrize("upstream", ["livelog", "livelog_sticky"])
def test_nginx_takes_both_ways_of_balancing(upstream: str, tmp_path: Path) -> None:
    nodes = (DEPLOY / "nginx-nodes.conf").read_text()
    assert nodes.count("proxy_pass         http://livelog;") == 1
    nodes = nodes.replace("http://livelog;", f"http://{upstream};").replace("node", "127.0.0.")
    (tmp_path / "nginx.conf").write_text(f"pid pid; events {{}} http {{ {nodes} }}")
    command = [NGINX, "-t", "-p", str(tmp_path), "-c", "nginx.conf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_livelog_takes_the_variables_of_the_compose_file() -> None:
    found = re.findall(r"^    (LIVELOG_\w+): (.*?)(?:\s+#.*)?$", compose(), re.MULTILINE)
    config = load({}, {name: value.strip('"') for name, value in found})
    assert config.cluster.address is not None
    assert config.cluster.address.servers == tuple(f"nats://{name}:4222" for name in BROKERS)
    assert config.net.hosts == ("::",)
    for name in BROKERS + NODES:
        assert re.search(rf"^  {name}:$", compose(), re.MULTILINE)


def test_a_broker_takes_the_configuration_of_the_compose_file(tmp_path: Path) -> None:
    with brokers(tmp_path):  # or skip
        pass
    _, _, text = compose().partition("    content: |\n")
    text = text.partition("\n\n")[0].replace("$$", "$")
    (tmp_path / "nats.conf").write_text(text)
    binary = str(Path(sys.executable).parent / "nats-server")
    command = [binary if Path(binary).exists() else "nats-server", "-t", "-c", "nats.conf"]
    environment = {**os.environ, "NAME": "n1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def compose() -> str:
    return (DEPLOY / "compose.yaml").read_text()


# All of them.


class Seven:
    """The processes that `three-nodes.sh` has started."""

    def __init__(self, folder: Path, said: dict[str, str]) -> None:
        self._folder = folder
        self.nginx = said["nginx"]
        self.servers = said["servers"]
        self._ports = dict(zip(NODES, re.findall(r":(\d+)/", self.servers), strict=True))
        self._ports |= zip(BROKERS, re.findall(r":(\d+)", said["brokers"]), strict=True)
        self._ports["nginx"] = re.findall(r":(\d+)/", self.nginx)[0]

    def pid(self, name: str) -> int:
        """The process of this name; 0 while it is being written down."""
        return int((self._folder / f"{name}.pid").read_text() or 0)

    async def replaced(self, name: str, old: int) -> None:
        """Wait until another process of this name serves."""
        await until(lambda: self.pid(name) not in (0, old) and self._listens(name), name)

    def _listens(self, name: str) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", int(self._ports[name]))) == 0


@asynccontextmanager
async def seven(folder: Path) -> AsyncIterator[Seven]:
    """Start them, wait until the script has said where they are, and stop them as Ctrl-C does."""
    with brokers(folder):  # or skip
        pass
    script = await asyncio.create_subprocess_exec(
        *("bash", str(DEPLOY / "three-nodes.sh"), str(folder / "seven")),
        env={
            **CLEAN,
            "LIVELOG_LIMITS": "off",
            "PORT": str(free_port()),
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
        },
        stdout=subprocess.PIPE,
    )
    assert script.stdout is not None
    try:
        said: dict[str, str] = {}
        while "Ctrl-C" not in said:
            async with asyncio.timeout(100):
                line = (await script.stdout.readline()).decode()
            assert line, "the script has ended"
            name, _, rest = line.strip().partition(" ")
            said[name] = rest.strip()
        yield Seven(folder / "seven", said)
    finally:
        with suppress(ProcessLookupError):
            script.send_signal(signal.SIGINT)
        await soon(script.communicate(), "the end of the script")
        assert script.returncode == 130
        left = [file.read_text().strip() for file in (folder / "seven").glob("*.pid")]
        assert not {*left} & {*os.listdir("/proc")}


class Load:
    """A publisher and followers: behind nginx, and with the list of the servers."""

    def __init__(self, at: Seven) -> None:
        self.acknowledged: dict[str, int] = {}
        self.followed: list[list[int]] = [[], []]
        self.pauses = [[0.0, 0.0]]
        """The longest time without a message at each follower, in seconds, by step."""
        self._urls = (at.nginx, at.servers)

    async def run(self, act: Callable[[], Awaitable[None]]) -> None:
        """Publish and follow during `act`; then compare."""
        behind, direct = self._urls
        async with connect(behind) as one, connect(direct) as other, asyncio.TaskGroup() as group:
            following = [
                group.create_task(self._follow(client, at))
                for at, client in enumerate((one, other))
            ]
            publishing = [
                group.create_task(self._publish(name, client))
                for name, client in (("a", one), ("b", other))
            ]
            await act()
            for task in publishing:
                task.cancel()
            await asyncio.wait(publishing)
            after = await one.publish(user("the last"))
            await self._reached(after.seq)
            for task in following:
                task.cancel()
            found: dict[str, int] = {}
            while len(found) < (page := await other.history(limit=1000, offset=len(found))).total:
                found |= {message.id: message.seq for message in page.messages}
        assert self.acknowledged.items() <= found.items()
        for seqs in self.followed:
            assert seqs == sorted(found.values())

    async def _publish(self, name: str, client: Client) -> None:
        number = 0
        while True:
            number += 1
            message = user(str(number), id=f"{name}-{number}")
            while message["id"] not in self.acknowledged:
                with suppress(
                    RefusedError
                ):  # its server has no broker now; it may be another's turn
                    self.acknowledged[message["id"]] = (await client.publish(message)).seq
                await asyncio.sleep(0.01)

    async def _follow(self, client: Client, at: int) -> None:
        last = time.monotonic()
        async for item in client.subscribe("user", since=0):
            assert not isinstance(item, Gap)
            self.followed[at].append(item.seq)
            now = time.monotonic()
            longest = self.pauses[-1]
            longest[at], last = max(longest[at], now - last), now

    async def some_more(self) -> None:
        """Wait until more is acknowledged and followed everywhere."""
        goal = len(self.acknowledged) + 30
        await until(lambda: len(self.acknowledged) >= goal, "acknowledgements")
        await self._reached(max(self.acknowledged.values()))

    async def _reached(self, seq: int) -> None:
        await until(lambda: all(seqs and seqs[-1] >= seq for seqs in self.followed), "deliveries")


@needs_nginx
@pytest.mark.slow
def test_each_of_the_seven_may_be_killed(tmp_path: Path) -> None:
    uvloop.run(_kill_each(tmp_path))


async def _kill_each(folder: Path) -> None:
    async with asyncio.timeout(SECONDS), seven(folder) as all_of_them:
        load = Load(all_of_them)

        async def kill() -> None:
            for name in (*NODES, *BROKERS, "nginx"):
                await load.some_more()
                old = all_of_them.pid(name)
                os.kill(old, signal.SIGKILL)
                await all_of_them.replaced(name, old)
            await load.some_more()

        await load.run(kill)


@needs_nginx
@pytest.mark.slow
def test_all_may_be_upgraded_one_after_the_other(tmp_path: Path) -> None:
    """As an operator does: a signal to the servers, and the lame duck mode of the brokers."""
    uvloop.run(_upgrade_each(tmp_path))


async def _upgrade_each(folder: Path) -> None:
    async with asyncio.timeout(SECONDS), seven(folder) as all_of_them:
        load = Load(all_of_them)

        async def upgrade() -> None:
            for name in STEPS:
                await load.some_more()
                load.pauses.append([0.0, 0.0])
                old = all_of_them.pid(name)
                os.kill(old, signal.SIGTERM if name in NODES else signal.SIGUSR2)
                await all_of_them.replaced(name, old)
            await load.some_more()

        await load.run(upgrade)
        print("longest pauses of delivery in seconds, behind nginx and with a list of addresses:")
        for name, (behind, direct) in zip(STEPS, load.pauses[1:], strict=True):
            print(f"{name} {behind:.2f} {direct:.2f}")
