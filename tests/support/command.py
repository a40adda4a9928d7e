"""Commands of the client as processes, beside a server in the process of the test."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from subprocess import PIPE
from typing import IO, Any

from tests.support.forks import livelog
from tests.support.process import CLEAN
from tests.support.wire import PATIENCE, House, Json, until


class Command:
    """A command that runs beside a server in this process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    async def line(self) -> str:
        """The next line of stdout."""
        assert self.process.stdout is not None
        return await _line(self.process.stdout)

    async def note(self) -> str:
        """The next line of stderr."""
        assert self.process.stderr is not None
        return await _line(self.process.stderr)

    async def write(self, text: str) -> None:
        """Send something to stdin."""
        assert self.process.stdin is not None
        await asyncio.to_thread(self.process.stdin.write, text.encode())

    async def end(self, given: str = "") -> tuple[int, str, str]:
        """Let stdin end after `given`; exit code, stdout and stderr."""
        end = partial(self.process.communicate, given.encode(), PATIENCE)
        out, err = await asyncio.to_thread(end)
        return self.process.returncode, out.decode(), err.decode()


async def _line(stream: IO[bytes]) -> str:
    async with asyncio.timeout(PATIENCE):
        return (await asyncio.to_thread(stream.readline)).decode()


@asynccontextmanager
async def running(
    *arguments: str, stdin: int = PIPE, anew: bool = False, **variables: str
) -> AsyncIterator[Command]:
    """The command; killed at the end if it still runs."""
    env = {**CLEAN, **variables}
    pipes = {"stdin": stdin, "stdout": PIPE, "stderr": PIPE}
    # Without buffers: what was not read as a line is there for `communicate`.
    with livelog(*arguments, env=env, anew=anew, bufsize=0, **pipes) as process:
        try:
            yield Command(process)
        finally:
            process.kill()


async def done(*arguments: str, given: str = "", **how: Any) -> tuple[int, str, str]:
    """Run the command to its end; `how` is for `running`."""
    async with running(*arguments, **how) as command:
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
