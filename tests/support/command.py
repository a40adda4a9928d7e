"""Commands of the client as processes, beside a server in the process of the test."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.process import CLEAN, ROOT
from tests.support.wire import PATIENCE, House, Json, until


class Command:
    """A command that runs beside a server in this process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        """The next line of stdout."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self.process.stdout.readline()).decode()

    async def note(self) -> str:
        """The next line of stderr."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            return (await self.process.stderr.readline()).decode()

    async def write(self, text: str) -> None:
        """Send something to stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        await self.process.stdin.drain()

    async def end(self, given: str = "") -> tuple[int | None, str, str]:
        """Let stdin end after `given`; exit code, stdout and stderr."""
        async with asyncio.timeout(PATIENCE):
            out, err = await self.process.communicate(given.encode())
        return self.process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Command]:
    """The command; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livelog", *arguments),
        cwd=ROOT,
        env=CLEAN,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def done(*arguments: str, given: str = "") -> tuple[int | None, str, str]:
    """Run the command to its end."""
    async with running(*arguments) as command:
        return await command.end(given)


async def followed(house: House, count: int = 1) -> None:
    """Wait until so many listen."""
    await until(lambda: listening(house) == count, "somebody listens")


def listening(house: House) -> int:
    """How many connections are subscribed to something."""
    return house.inside.listening


def ndjson(*messages: Json) -> str:
    """One message a line."""
    return "".join(json.dumps(message) + "\n" for message in messages)


def seen(leader: int) -> str:
    """Read all that was written to a terminal whose writers are gone."""
    data = b""
    while select.select([leader], [], [], 1)[0]:
        try:
            data += os.read(leader, 65536)
        except OSError:  # Linux says so at the end
            break
    os.close(leader)
    return data.decode()
