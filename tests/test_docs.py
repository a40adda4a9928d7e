"""The tour and the recipes of `livelog/client/README.md`, run as a reader would run them."""

from __future__ import annotations

import asyncio
import functools
import http.client
import http.server
import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from livelog import NotRunningError, RefusedError, cli, connect, sync_connect
from tests.support.browser import chromium
from tests.support.identity import SECRET, token
from tests.support.ports import free_port
from tests.support.process import CLEAN, ROOT, Start, ended, ready
from tests.support.wire import PATIENCE, on_uvloop, serving, soon, user

PAGE = (ROOT / "livelog" / "client" / "README.md").read_text(encoding="utf-8")
OURS = "ws://localhost:8000/ws/live-log"
EVENT = {"type": "system", "event": "error"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def example(language: str, containing: str) -> str:
    [found] = [block for block in blocks(language) if containing in block]
    return found


def commands() -> list[str]:
    """The `livelog` commands of indented lines, without pipes."""
    lines = re.findall(r"^    (.*livelog .*)$", PAGE, re.MULTILINE)
    return [re.sub(r"^.*\| (?=livelog )", "", line).removeprefix("livelog ") for line in lines]


@pytest.mark.parametrize("command", commands())
def test_a_command_is_one(command: str, start: Start) -> None:
    name, *rest = shlex.split(command)
    code, _, err = ended(start(*([] if name.startswith("-") else [name]), *rest, "--help"))
    assert (code, err) == (0, "")
    assert name.startswith("-") or name in cli.COMMANDS


def test_the_tour_is_walked(start: Start) -> None:
    url = ready(start("--demo", "--demo-rate", "200", "--port", "0"))
    with sync_connect(url) as log:
        while not log.search("dragon").total:
            pass
    assert ended(start("search", "dragon", "--limit", "5", "--url", url))[1].count("\n") == 5
    assert "general" in ended(start("stats", "--by", "channel", "--url", url))[1]
    [line] = re.findall(r"echo '(.*)' \| livelog publish\n", PAGE)
    assert ended(start("publish", "--url", url), line)[0] == 0


@pytest.mark.parametrize("containing", ["log.subscribe(", "with sync_connect", "LogHandler("])
def test_a_python_recipe_runs(start: Start, containing: str) -> None:
    url = ready(start("--port", "0"))
    script = example("python", containing).replace(OURS, url)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, env=CLEAN, capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    with sync_connect(url) as log:
        page = log.history(filters={"type": "system"})
    assert page.total == 1
    if containing == "log.subscribe(":
        assert done.stdout == "raid_started\n"


def test_the_recipe_of_presence_runs(start: Start) -> None:
    url = ready(start("--port", "0", "--store", "memory", LIVELOG_JWT_SECRET=SECRET))
    script = example("python", "watch_presence").replace(OURS, url)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, env={**CLEAN, "LIVELOG_TOKEN": token("ann", "presence")},
        capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert done.stdout == "1 users are on line\nann\n"


def test_the_application_publishes_from_both_kinds_of_routes(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="FastAPI is not installed")
    ours, port = free_port(), free_port()
    recipe = example("python", "FastAPI(").replace("port=8001", f"port={ours}, store='memory'")
    (tmp_path / "application.py").write_text(recipe)
    command = [sys.executable, "-m", "uvicorn", "application:app", "--port", str(port)]
    environment = {**CLEAN, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stderr is not None
            while b"Uvicorn running" not in process.stderr.readline():
                assert process.poll() is None
            seqs = [_posted(port, path) for path in ("/orders", "/reports")]
            with sync_connect(f"ws://127.0.0.1:{ours}/ws/live-log") as log:
                assert [each.seq for each in log.history().messages] == seqs[::-1]
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


def _posted(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", path)
    found: int = json.loads(connection.getresponse().read())["seq"]
    connection.close()
    return found


@contextmanager
def _pages(folder: Path, port: int) -> Iterator[None]:
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def test_the_page_shows_what_is_published(start: Start, tmp_path: Path) -> None:
    port = free_port()
    url = ready(start("--port", "0", "--allowed-origins", f"http://localhost:{port}"))
    address = url.removeprefix("ws://").partition("/")[0]
    page = example("html", "livelog.js").replace("localhost:8000", address)
    (tmp_path / "index.html").write_text(page)
    with sync_connect(url) as log, _pages(tmp_path, port), chromium() as browser:
        log.publish(user("hello page"))
        opened = browser.new_page()
        opened.goto(f"http://localhost:{port}/")
        opened.get_by_text("hello page").wait_for(timeout=PATIENCE * 1000)
        log.publish(user("hello again"))
        opened.get_by_text("hello again").wait_for(timeout=PATIENCE * 1000)


# Publishing from threads.


@on_uvloop
async def test_a_thread_publishes_and_waits_for_the_disk() -> None:
    async with serving() as house:
        server = house.server
        receipts = await asyncio.gather(
            *(asyncio.to_thread(server.publish_threadsafe, user(str(n))) for n in range(20))
        )
        assert len({receipt.seq for receipt in receipts}) == 20
        async with connect(server.url) as log:
            assert (await log.history()).total == 20
        with pytest.raises(RefusedError, match="type"):
            await asyncio.to_thread(server.publish_threadsafe, {"type": "nothing"})
        with pytest.raises(NotRunningError, match="use `await"):
            server.publish_threadsafe(EVENT)
    with pytest.raises(NotRunningError, match="closed"):
        await soon(asyncio.to_thread(server.publish_threadsafe, EVENT))
