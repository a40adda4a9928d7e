"""The worth of an acknowledgement in a power cut: whatever the disk may have kept, nothing is lost.

A server runs under a journal of its writes and syncs. Images of its files after a cut anywhere are
made from that (`support/powercut`), and a server is started from each. It must have all that was
acknowledged before the cut, once, in order and unchanged.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop

from livelog import Config, LivelogError, Page, RefusedError, Server
from tests.support import powercut
from tests.support.disk import key_file
from tests.support.process import CLEAN, ROOT
from tests.support.wire import PATIENCE, Http, soon, user

IMAGES = {"plain": 40, "encrypted": 20}
"""Images of each kind of store; both write and sync the same way."""
AT_ONCE = 4
BATCHES, PER_BATCH = 120, 15
TEXT = "a power cut loses nothing " * 150
"""Long enough for two checkpoints of SQLite, which come every 4 MB."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is missing"),
]


class Acknowledged(NamedTuple):
    """Messages that were acknowledged at some point of the journal."""

    upto: int
    """Bytes of the journal that had been written by then."""
    seqs: dict[str, int]


@pytest.mark.parametrize("kind", IMAGES)
def test_no_image_of_a_power_cut_lacks_what_was_acknowledged(tmp_path: Path, kind: str) -> None:
    settings = {}
    if kind == "encrypted":
        pytest.importorskip("apsw", reason="the extra `encryption` is missing")
        settings = {"store_key_file": key_file(tmp_path / "key")}
    uvloop.run(_cut(tmp_path, settings, IMAGES[kind]))


async def _cut(tmp_path: Path, settings: dict[str, str], count: int) -> None:
    folder, journal = tmp_path / "original", tmp_path / "journal"
    folder.mkdir()
    acknowledged = await _written(tmp_path, folder, journal, settings)
    chance = random.Random(525)
    cuts = sorted(chance.randrange(_size(journal)) for _ in range(count))
    images = asyncio.Semaphore(AT_ONCE)

    async def check(number: int, cut: int) -> None:
        async with images:
            survival = powercut.SURVIVALS[number % len(powercut.SURVIVALS)]
            changes = [*powercut.read(journal, cut)]
            left = powercut.image(changes, survival, random.Random(number))
            target = tmp_path / f"image-{number}"
            target.mkdir()
            for path, contents in left.items():
                (target / Path(path).name).write_bytes(contents)
            promised = [each for each in acknowledged if each.upto <= cut]
            try:
                await _check(target / "live.db", settings, promised)
            except (AssertionError, LivelogError) as error:
                error.add_note(f"image {number}: {survival} of the writes at byte {cut}")
                raise
            shutil.rmtree(target)

    async with asyncio.TaskGroup() as group:
        for number, cut in enumerate(cuts):
            group.create_task(check(number, cut))


async def _written(
    tmp_path: Path, folder: Path, journal: Path, settings: dict[str, str]
) -> list[Acknowledged]:
    """Publish to a server under the journal, and kill it."""
    library = powercut.build(tmp_path)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    store = ["--store", str(folder / "live.db"), "--no-limits", "--port", "0", *options]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livelog", *store),
        cwd=ROOT,
        env={
            **CLEAN,
            "LD_PRELOAD": str(library),
            "POWERCUT_FOLDER": f"{folder}/",
            "POWERCUT_JOURNAL": str(journal),
        },
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await soon(process.stdout.readline(), "a start")).decode()
        port = int(line.split(":")[2].partition("/")[0])
        numbers = iter(range(BATCHES))
        acknowledged: list[Acknowledged] = []

        async def publish() -> None:
            http = await Http.connect(("127.0.0.1", port))
            with http.sock:
                for number in numbers:
                    seqs = await _publish(http, number)
                    acknowledged.append(Acknowledged(_size(journal), seqs))

        await asyncio.gather(publish(), publish(), publish())
    finally:
        process.kill()
        await process.wait()
    return acknowledged


def _size(journal: Path) -> int:
    return journal.stat().st_size


async def _publish(http: Http, number: int) -> dict[str, int]:
    """Publish one batch; return the seq of each id."""
    ids = [f"{number}-{place}" for place in range(PER_BATCH)]
    body = json.dumps([user(_text(id), id=id) for id in ids])
    answer = await http.ask("POST", "/api/messages", body)
    assert answer.status == 201, answer
    return {one["id"]: one["seq"] for one in answer.json["messages"]}


def _text(id: str) -> str:
    return f"{id} {TEXT}"


async def _page(server: Server, offset: int) -> Page:
    """A page of history, asked for again as long as the store is too busy to be read."""
    async with asyncio.timeout(4 * PATIENCE):
        while True:
            try:
                return await server.history(limit=1000, offset=offset)
            except RefusedError as refused:
                if refused.retry_after is None:
                    raise
                await asyncio.sleep(refused.retry_after)


async def _check(path: Path, settings: dict[str, str], promised: list[Acknowledged]) -> None:
    """Start a server from an image, and read all it has."""
    config = Config(store=str(path), port=0, window_messages=1000, **settings)
    async with Server(config) as server:
        found: list[Any] = []
        while len(found) < (page := await _page(server, len(found))).total:
            found += page.messages
    seqs = [message.seq for message in found]
    assert all(newer > older for newer, older in pairwise(seqs))
    place = {message.id: message.seq for message in found}
    assert len(place) == len(found)
    assert all(message.content == _text(message.id) for message in found)
    for each in promised:
        assert each.seqs.items() <= place.items(), "an acknowledged message is missing"
