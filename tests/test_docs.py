"""The documentation, and the recipes of `livelog/client/README.md`, run as by a reader."""

from __future__ import annotations

import argparse
import asyncio
import functools
import http.client
import http.server
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from livelog import NotRunningError, RefusedError, cli, connect, sync_connect
from livelog.config import OPTIONS
from tests.support import walk
from tests.support.browser import chromium
from tests.support.identity import SECRET, token
from tests.support.ports import free_port
from tests.support.process import CLEAN, ROOT, Start, ready
from tests.support.wire import PATIENCE, on_uvloop, serving, soon, user

PAGE = (ROOT / "livelog" / "client" / "README.md").read_text(encoding="utf-8")
OURS = "ws://localhost:8000/ws/live-log"
EVENT = {"type": "system", "event": "error"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def example(language: str, containing: str) -> str:
    [found] = [block for block in blocks(language) if containing in block]
    return found


# The pages of the documentation.

NEEDS = {
    "build-log.md": ("jq", "make", "curl"),
    "chat.md": ("jq",),
    "console.md": ("curl",),
    "page.md": ("npm", "node"),
    "server.md": ("curl",),
    "troubleshooting.md": ("curl",),
    "tutorial.md": ("curl",),
}
"""Page → programs that it uses besides livelog."""
LIBRARIES = {"django.md": ("django", "celery")}
SHOWN = {
    "build-log.md": ["[builds] build 7: warning: unused variable", "build 8: all tests passed"],
    "chat.md": ["cheap gold at my shop", "Ann → u2: psst", "redacted: 1", "user_id: u1"],
    "console.md": ["queue is full", "billing", '"action":"counts"', "draining: true"],
    "django.md": ["{'order': 17}", "order 17 was placed", '{"report":"monthly"}'],
    "kubernetes.md": [
        "kubectl apply -f livelog.yaml",
        "docker push registry.example.com/livelog:1",
    ],
    "page.md": ["hello page"],
    "server.md": ["api_keys = ", 'livelog_state{state="writable"} 1.0', "monday.db"],
    "troubleshooting.md": ["ok  health: ok", '"status":"ok"'],
    "tutorial.md": ["raid_started", "hello from curl", "ok  authentication: you are anna"],
}
"""Page → texts that its commands print: the walk has got there."""


@pytest.mark.parametrize("page", sorted(SHOWN))
def test_a_page_is_walked(page: str, tmp_path: Path) -> None:
    for program in NEEDS.get(page, ()):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}")
    for library in LIBRARIES.get(page, ()):
        pytest.importorskip(library)
    printed = walk.Walk(tmp_path).run(page)
    for text in SHOWN[page]:
        assert text in printed, printed[-3000:]


def test_every_page_with_commands_is_walked() -> None:
    with_commands = {
        page for page in walk.PAGES if any(each.language == "sh" for each in walk.blocks(page))
    }
    assert with_commands == SHOWN.keys()


def test_every_page_is_listed() -> None:
    index = (walk.DOCS / "README.md").read_text(encoding="utf-8")
    assert {*walk.PAGES} - {"README.md"} <= {*re.findall(r"\]\(([^)#]+)", index)}


def test_a_walk_notices_a_command_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "bad.md").write_text("1. Do:\n\n   ```sh\n   livelog tial\n   ```\n")
    monkeypatch.setattr(walk, "DOCS", tmp_path / "docs")
    with pytest.raises(AssertionError, match="did you mean 'tail'"):
        walk.Walk(tmp_path).run("bad.md")


def inline() -> list[tuple[str, str]]:
    """Page and command for each `livelog …` inside of a sentence."""
    found = []
    for page in walk.PAGES:
        text = (walk.DOCS / page).read_text(encoding="utf-8")
        prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for words in re.findall(r"`(livelog\s[^`]+)`", prose):
            found.append((page, " ".join(words.split())))
    return found


@pytest.mark.parametrize(("page", "command"), inline())
def test_a_command_inside_of_a_sentence_is_one(page: str, command: str) -> None:
    name, *rest = shlex.split(command)[1:]
    if name.startswith("-"):
        name, rest = "serve", [name, *rest]
    module = import_module(f"livelog.cli.{cli.COMMANDS[name]}")
    known = set(re.findall(r"--[a-z][a-z-]*", help_of(module.make_parser(name), rest)))
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known


def help_of(parser: argparse.ArgumentParser, rest: list[str]) -> str:
    """The help of a command, or of the one of its own commands that is named."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and rest:
            return str(action.choices[rest[0]].format_help())
    return parser.format_help()


def test_every_option_in_the_documentation_exists() -> None:
    options = {f"--{name.replace('_', '-')}" for name in OPTIONS}
    for page in walk.PAGES:
        text = (walk.DOCS / page).read_text(encoding="utf-8")
        for name in re.findall(r"`(--[a-z][a-z-]*)[^`]*`", text):
            assert name in options | {"--no-follow", "--duration-seconds", "--yes", "--name"}, page


FROM_ELSEWHERE = {
    "certificate verify failed",
    "Address already in use",
    "Too many open files",
    "the store cannot be written to: database or disk is full",
}
"""Errors of the system, of SQLite and of OpenSSL."""


def test_errors_that_are_quoted_are_those_of_the_code() -> None:
    text = (walk.DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    heads = " ".join(re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE | re.DOTALL))
    quoted = {" ".join(each.split()) for each in re.findall(r'"([^"]+)"', heads)}
    sources = "".join(path.read_text() for path in (ROOT / "livelog").rglob("*.py"))
    assert len(quoted) > 12
    assert {each for each in quoted - FROM_ELSEWHERE if each not in sources} <= {"connecting"}
    assert quoted >= FROM_ELSEWHERE


def test_alerts_that_are_named_are_those_of_the_rules() -> None:
    text = (walk.DOCS / "console.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(Livelog\w+)`", text))
    rules = (ROOT / "livelog/web/deploy/prometheus-rules.yml").read_text(encoding="utf-8")
    assert len(named) > 4
    assert named <= {*re.findall(r"alert: (\w+)", rules)}


def test_the_page_of_the_documentation_follows_the_log(start: Start, tmp_path: Path) -> None:
    port = free_port()
    url = ready(start("--port", "0", "--allowed-origins", f"http://localhost:{port}"))
    address = url.removeprefix("ws://").partition("/")[0]
    [page] = [each.text for each in walk.blocks("page.md") if each.language == "html"]
    assert len(page.splitlines()) <= 36
    (tmp_path / "index.html").write_text(page.replace("localhost:8000", address))
    with sync_connect(url) as log, _pages(tmp_path, port), chromium() as browser:
        log.publish(user("hello <b>page</b>"))
        log.publish(user("another", metadata={"channel": "trade"}))
        opened = browser.new_page()
        opened.goto(f"http://localhost:{port}/")
        lines = opened.get_by_role("listitem")
        opened.get_by_text("another").wait_for(timeout=PATIENCE * 1000)
        assert lines.all_inner_texts() == ["hello <b>page</b>", "another"]
        opened.get_by_role("textbox").fill("channel:trade")
        opened.get_by_role("textbox").press("Enter")
        opened.get_by_text("hello").wait_for(state="detached", timeout=PATIENCE * 1000)
        opened.get_by_text("another").wait_for(timeout=PATIENCE * 1000)
        opened.get_by_role("textbox").fill("chanel:trade")
        opened.get_by_role("textbox").press("Enter")
        opened.get_by_text("did you mean").wait_for(timeout=PATIENCE * 1000)


# The recipes of the Python client.


@pytest.mark.parametrize("containing", ["with sync_connect", "LogHandler("])
def test_a_python_recipe_runs(start: Start, containing: str) -> None:
    url = ready(start("--port", "0"))
    script = example("python", containing).replace(OURS, url)
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, env=CLEAN, capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    with sync_connect(url) as log:
        page = log.history(filters={"type": "system"})
    assert page.total == 1


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
