"""livelog.js in Node, led by a test; and a door before the server that can be slammed.

What the client says is kept in the order in which it said it.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.wire import Json, soon

NODE = shutil.which("node")
CLIENT = Path(__file__).parents[2] / "livelog" / "web" / "livelog.js"
FLAG = "--experimental-websocket"
"""Gives Node 20.10 to 21 a WebSocket of its own; later ones have it anyway."""
DRIVER = Path(__file__).parent / "js" / "follower.mjs"


def find_node_modules(place: Path) -> Path:
    """Where Node finds a WebSocket; the test is skipped if there is none to be had."""
    if NODE is None:
        pytest.skip("Node is not installed")
    probe = "process.exit(globalThis.WebSocket ? 0 : 1)"
    if subprocess.run([NODE, FLAG, "-e", probe], check=False).returncode == 0:
        return place
    return npm_install(place, "ws") / "node_modules"


def npm_install(place: Path, package: str) -> Path:
    """Fetch a package into `place`; the test is skipped if it cannot be had."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"there is no npm to get `{package}`")
    install = [npm, "install", "--prefix", str(place), "--no-audit", "--no-fund", package]
    try:
        subprocess.run(install, check=True, capture_output=True, timeout=60)
    except (subprocess.SubprocessError, OSError):
        pytest.skip(f"`npm install {package}` failed")
    return place


class Follower:
    """One LiveLog in the Node process of the tests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.events: list[Json] = []
        self._reader, self._writer = reader, writer
        self._calls = 0
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for line in self._reader:
            async with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until what the client has said fulfils `condition`."""

        async def waiting() -> Any:
            async with self._news:
                await self._news.wait_for(condition)
                return condition()

        try:
            return await soon(waiting(), what)
        except AssertionError as error:
            told = f"the client said {self.events[-5:]} and refused {self.said('failed')}"
            raise AssertionError(f"{error}; {told}") from None

    async def call(self, act: str, **details: Any) -> Any:
        """Have it do something and return the answer; a refusal comes as a dict with `error`."""
        call = await self.tell(act, **details)
        event = await self.until(lambda: self._answer(call), f"an answer to {act}")
        return event["answer"] if event["event"] == "done" else {"error": event["error"]}

    async def tell(self, act: str, **details: Any) -> int:
        """Have it do something."""
        self._calls += 1
        await self.write({"act": act, "call": self._calls, **details})
        return self._calls

    async def write(self, given: Json) -> None:
        """Send a line."""
        self._writer.write(json.dumps(given).encode() + b"\n")
        await self._writer.drain()

    def _answer(self, call: int) -> Json | None:
        return next((event for event in self.said("done", "failed") if event["call"] == call), None)

    def said(self, *names: str) -> list[Json]:
        """The events of these names."""
        return [event for event in self.events if event["event"] in names]

    def messages(self, name: str = "all") -> list[Json]:
        """The messages that the listener of this name was handed."""
        return [event["message"] for event in self.said("message") if event["name"] == name]

    def contents(self, name: str = "all") -> list[str]:
        """The contents of these messages."""
        return [message["content"] for message in self.messages(name)]

    async def state(self, name: str, times: int = 1) -> Json:
        """Wait until it has been in this state so many times."""

        def seen() -> Json | None:
            states = [event for event in self.said("state") if event["name"] == name]
            return states[times - 1] if len(states) >= times else None

        state: Json = await self.until(seen, f"the state {name}")
        return state

    async def close(self) -> None:
        """Have it closed, and wait for that."""
        self._writer.write_eof()
        try:
            await soon(self._reading, "the end of the client")
        finally:
            self._writer.close()


@dataclass
class _Node:
    """The Node process; it ends with this one. What it cannot handle ends it, and is on stderr."""

    process: subprocess.Popen[str]
    port: int


_nodes: list[_Node] = []
"""Those that were started; the last one may be alive."""


def _node(modules: Path) -> _Node:
    if not _nodes or _nodes[-1].process.poll() is not None:
        assert NODE is not None
        process = subprocess.Popen(
            [NODE, FLAG, str(DRIVER), str(CLIENT), str(modules)],
            env={**os.environ, "NODE_NO_WARNINGS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(process.communicate)
        assert process.stdout is not None
        _nodes.append(_Node(process, int(process.stdout.readline())))
    return _nodes[-1]


@asynccontextmanager
async def following(
    url: str | list[str], modules: Path, **settings: Any
) -> AsyncIterator[Follower]:
    """A client that follows `url`, or one of several; the settings are the options of LiveLog."""
    node = _node(modules)
    follower = Follower(*await asyncio.open_connection("127.0.0.1", node.port, limit=2**24))
    await follower.write({"url": url, **settings})
    try:
        yield follower
    finally:
        await follower.close()
        assert node.process.poll() is None, "Node has ended; see stderr"


class Door:
    """A TCP proxy. It can cut its connections while the server lives, and it can stand still."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.passed = 0
        """Bytes that went from the server to the client since the last cut."""
        self.cuts = 0
        self._cut_after: list[int] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._pairs: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server

    async def open(self) -> None:
        """Listen on a free port."""
        self._listener = await asyncio.start_server(self._enter, "127.0.0.1", 0)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://127.0.0.1:{self.port}/ws/live-log"

    def cut_after(self, *sizes: int) -> None:
        """Cut the connection after so many bytes, the next one after the next size, and so on."""
        self._cut_after = list(sizes)
        self.passed = 0

    def hold(self) -> None:
        """Let nothing through, in either direction, without closing anything."""
        self._flowing.clear()

    def release(self) -> None:
        """Let it flow again."""
        self._flowing.set()

    def cut(self) -> None:
        """Cut all connections, without a close frame."""
        self.passed = 0
        self.cuts += 1
        for pair in list(self._pairs):
            pair.cancel()

    async def close(self) -> None:
        """Be gone."""
        self._listener.close()
        self.cut()
        await asyncio.gather(*self._pairs, return_exceptions=True)

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self.upstream)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, there, counted=False))
                group.create_task(self._carry(back, writer, counted=True))
        except (asyncio.CancelledError, OSError, ExceptionGroup):
            pass  # cut, refused or reset: it ends, and both sides are dropped
        finally:
            self._pairs.discard(task)
            for side in (writer, there):
                if side is not None:
                    side.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        while data := await reader.read(1 << 12):
            await self._flowing.wait()
            allowed = self._count(data) if counted else data
            writer.write(allowed)
            await writer.drain()
            if len(allowed) < len(data):
                self.cut()
                break
        raise ConnectionResetError("one side has ended, so has the other")

    def _count(self, data: bytes) -> bytes:
        """Return what may pass before the next cut."""
        if self._cut_after and self.passed + len(data) > self._cut_after[0]:
            return data[: max(0, self._cut_after.pop(0) - self.passed)]
        self.passed += len(data)
        return data


@asynccontextmanager
async def door(upstream: int) -> AsyncIterator[Door]:
    """A proxy before the port `upstream`."""
    proxy = Door(upstream)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
