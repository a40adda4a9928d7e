"""Parts of the tests of redaction and of erasure: a word that is to be found nowhere afterwards."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from livelog import Config, Server
from livelog.errors import RefusedError
from livelog.wire.acts import Act
from tests.support.inside import Inside
from tests.support.wire import Json, soon, until

SECRET = "xyzzyplugh"
"""A word that is in nothing but what is taken away."""

NOW = "2026-01-01T12:00:00.000Z"


@asynccontextmanager
async def serving(store: Path | str, **settings: Any) -> AsyncIterator[Server]:
    async with Server(Config(port=0, store=str(store), limits=False, **settings)) as server:
        yield server


async def published(server: Server, messages: list[Json]) -> list[int]:
    return [one.seq for one in await asyncio.gather(*map(server.publish, messages))]


async def enact(server: Server, act: Act) -> int:
    """Have an act applied; returns its seq."""
    done: asyncio.Future[int | RefusedError] = asyncio.get_running_loop().create_future()
    Inside(server).engine.act(act, done.set_result)
    seq = await soon(done)
    assert isinstance(seq, int), seq
    return seq


async def found_by_none(
    server: Server, queries: Iterable[Json], fields: Iterable[str], *hidden: str
) -> None:
    """Ask all queries, none of which may find anything; no count of a field may show a word."""
    for filters in queries:
        page = await server.history(filters=filters)
        assert (page.total, page.messages) == (0, []), filters
        assert (await server.analyze(filters=filters)).total == 0, filters
    for field in fields:
        counted = await server.analyze(group_by=field, limit=100)
        values = [one.value.lower() for one in counted.groups]
        assert not [value for value in values if any(word in value for word in hidden)], field


async def resumed(server: Server, total: int) -> list[Any]:
    """All messages as a reader gets them that begins at the beginning."""
    found: list[Any] = []
    async with server.subscribe(since=0) as stream:
        async for item in stream:
            found.append(item)
            if len(found) >= total:
                break
    return found


async def window_filled(server: Server) -> None:
    """Wait until the window has been filled from the store."""
    inside = Inside(server)
    await until(lambda: inside.filling is not None and inside.filling.done(), "the window")


def files_with(folder: Path, text: str = SECRET) -> list[str]:
    """The files in which a text stands.

    Another process reads them: to close a file here would drop the locks that SQLite has on it, and
    the next process to open the store would cut the index of the write-ahead log (fcntl(2)).
    """
    every = [str(path) for path in folder.rglob("live*") if path.is_file()]
    done = subprocess.run(["grep", "-lF", text, *every], capture_output=True, text=True)
    assert done.returncode < 2 or "No such file" in done.stderr, done.stderr
    return [Path(name).name for name in done.stdout.splitlines()]


async def clean(folder: Path, text: str = SECRET) -> None:
    """Wait until no file has the text."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and files_with(folder, text):  # noqa: ASYNC110 - of files
        await asyncio.sleep(0.05)
    assert files_with(folder, text) == []
