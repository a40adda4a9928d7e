"""A real Chromium, and servers for its pages, which can be killed: what tests of the viewer share.

Tests look at the page as its reader does: by what is in sight, and wait for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import uvloop

from livelog import Config, Server
from livelog.cli.serve import make_parser
from livelog.config import load
from tests.support.identity import SECRET
from tests.support.inside import Inside
from tests.support.ports import free_port
from tests.support.wire import PATIENCE, Json, user

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

Result = TypeVar("Result")

ROOT = Path(__file__).parents[2]
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-precise-memory-info",
    "--process-per-site",
]
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 720}}


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """A browser; the test is skipped if there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGUMENTS, *arguments], timeout=PATIENCE * 1000
        )
        try:
            yield browser
        finally:
            browser.close()


class Host:
    """A server as its own process, which can be killed and started again at the same address."""

    def __init__(self, *arguments: str) -> None:
        self.port = free_port()
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LIVELOG_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "livelog", "--port", str(self.port), *self._arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._process = process
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], PATIENCE)
        assert readable, "the server did not get ready"
        assert process.stdout.readline().startswith("livelog ready on ")

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    @property
    def url(self) -> str:
        """The viewer's address."""
        return f"http://127.0.0.1:{self.port}/"

    def publish(self, *messages: Json | str) -> list[int]:
        """Publish messages, or user messages with this content; returns their seqs."""
        lines = [user(m) if isinstance(m, str) else m for m in messages]
        return [message["seq"] for message in self.post("api/messages", lines)["messages"]]

    def post(self, path: str, body: object, bearer: str = "") -> Json:
        """Send a request as a program does, with a token if one is given, and return the answer."""
        credential = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        headers = {"Content-Type": "application/json", **credential}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            found: Json = json.load(answer)
            return found


class MemoryHost(Host):
    """A server without a file, in a thread of this process: another Python takes long to start."""

    def start(self) -> None:
        """Start it, and wait until it listens."""
        given = ["--port", str(self.port), *self._arguments]
        config = load(vars(make_parser("serve").parse_args(given)), {})
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: Server | None = self._done(self._started(config))

    def kill(self) -> None:
        """End it as a crash would: the connections are cut, without a close frame."""
        if self._server is not None:
            self._done(self._cut(self._server))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._server = None

    def _done(self, act: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(PATIENCE)

    @staticmethod
    async def _started(config: Config) -> Server:
        server = Server(config)
        await server.start()
        return server

    @staticmethod
    async def _cut(server: Server) -> None:
        for connection in Inside(server).connections:
            connection.abort()
        await server.close()


@contextmanager
def hosting(*arguments: str) -> Iterator[Host]:
    """A server for one test."""
    host = MemoryHost(*arguments) if "memory" in arguments else Host(*arguments)
    try:
        yield host
    finally:
        host.kill()


AWAY = """(({ scrollTop, clientHeight, scrollHeight }) =>
    scrollTop + clientHeight < scrollHeight - 100)(document.getElementById('rows'))"""

AT_REST = """(async () => {
  const frame = () => new Promise(requestAnimationFrame);
  const places = () => JSON.stringify([
    ...[...document.querySelectorAll('.row')].map((row) => row.getBoundingClientRect()),
    ...[...document.querySelectorAll('#rows, .scrolled')].map((list) => list.scrollTop),
  ]);
  let still = 0, before = places();
  for (let frames = 0; still < 10 && frames < 200; frames += 1) {
    await frame();
    const now = places();
    still = now === before ? still + 1 : 0;
    before = now;
  }
  return still === 10;
})()"""
"""Whether the lists stood still for ten frames, within a while: the wheel and keys scroll smoothly,
and rows whose heights are measured move others.
"""


class Viewer:
    """The page, and what its reader sees and does."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE * 1000)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._note)

    def _note(self, message: Any) -> None:
        # A browser complains about every connection that is refused; the page tells it better.
        if message.type in ("error", "warning") and "ERR_" not in message.text:
            self.faults.append(message.text)

    def open(self, url: str) -> None:
        """Open it and wait until it is connected and has loaded."""
        self.page.goto(url)
        self.until_connection("Connected")
        self.until("!document.getElementById('total').textContent.includes('loading')")

    def open_anew(self, url: str) -> None:
        """Open it as in a browser that has kept nothing for the page."""
        self.page.evaluate("localStorage.clear()")
        self.open(url)

    def until(self, condition: str, argument: Any = None) -> Any:
        """Wait until an expression is true in the page; with an `argument` it is a function."""
        # Playwright's own way to wait evaluates strings in the page; the page's policy forbids it.
        deadline = time.monotonic() + PATIENCE
        function = condition if argument is not None else f"() => ({condition})"
        while not (value := self.page.evaluate(function, argument)):
            assert time.monotonic() < deadline, f"still not: {condition} {argument or ''}"
            self.page.wait_for_timeout(20)
        return value

    def until_at_rest(self) -> None:
        """Wait until nothing in the lists moves any more."""
        self.until(AT_REST)

    def again_until(self, act: Callable[[], None], condition: Callable[[], bool]) -> None:
        """Do something again and again, each time until nothing moves, as long as it takes."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            act()
            self.until_at_rest()

    def until_connection(self, words: str) -> None:
        """Wait until the state of the connection is told with these words."""
        self.until("w => document.getElementById('connection').textContent.includes(w)", words)

    def reconnect(self) -> None:
        """Connect again now, as the reader can: the page's own attempt may be a minute away."""
        button = "document.getElementById('reconnect').click()"
        self.until(f"({button}, document.getElementById('light').dataset.state === 'connected')")

    def until_row(self, words: str) -> None:
        """Wait until a row with these words is in the document."""
        self.until(
            "w => [...document.querySelectorAll('.row')].some(l => l.textContent.includes(w))",
            words,
        )

    def rows(self) -> list[str]:
        """The summaries of the rows in sight, from top to bottom."""
        found: list[str] = self.page.evaluate(
            """() => {
              const box = document.getElementById('rows').getBoundingClientRect();
              return [...document.querySelectorAll('.row')]
                .map((row) => [row.getBoundingClientRect(), row])
                .filter(([at]) => at.bottom > box.top + 1 && at.top < box.bottom - 1)
                .sort(([one], [other]) => one.top - other.top)
                .map(([, row]) => row.querySelector('.summary')?.textContent ?? '');
            }"""
        )
        return found

    def until_rows(self, rows: list[str]) -> None:
        """Wait until these are the summaries of the rows in sight."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.rows()) != rows:
            assert time.monotonic() < deadline, f"{found} are in sight, not {rows}"
            self.page.wait_for_timeout(20)

    def text(self, selector: str) -> str:
        """Return the visible text of the element."""
        return self.page.locator(selector).inner_text()

    def scroll(self, pixels: int) -> None:
        """Turn the wheel over the rows."""
        self.page.locator("#rows").hover()
        self.page.mouse.wheel(0, pixels)

    def scroll_away(self) -> None:
        """Turn the wheel up until the newest row is out of sight."""
        self.again_until(lambda: self.scroll(-2000), lambda: bool(self.page.evaluate(AWAY)))


Look = Callable[..., Viewer]
BLANK = "http://127.0.0.1/blank"
KEEP_TOKEN = "location.protocol === 'http:' && (sessionStorage['livelog.token'] ??= %s)"
"""The token that the page keeps after a login."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests; each has its own profile in it."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """A profile with the usual settings. A blank page of the viewers' site stays open in it, which
    keeps the site's process: to start one for each page takes as long as the page itself.
    """
    context = browser.new_context(**DESK)
    context.route(BLANK, lambda route: route.fulfill(body=""))
    context.new_page().goto(BLANK)
    yield context
    context.close()


@pytest.fixture
def host() -> Iterator[Host]:
    """A server without limits that keeps messages in memory only."""
    with hosting("--store", "memory", "--no-limits") as host:
        yield host


@pytest.fixture
def guarded() -> Iterator[Host]:
    """A server as `host` that takes tokens."""
    with hosting("--store", "memory", "--no-limits", "--jwt-secret", SECRET) as host:
        yield host


@pytest.fixture
def look(browser: Browser, profile: BrowserContext) -> Iterator[Look]:
    """Opens the viewer, logged in with a `token` if one is given; at the end nothing may have gone
    wrong in it. The first one with the usual settings is in the profile of all tests, in which
    nothing is kept for its server; each other one has a profile of its own.
    """
    with ExitStack() as stack:
        viewers: list[Viewer] = []

        def new_page(host: Host, settings: dict[str, Any]) -> Page:
            if settings or viewers:
                context = browser.new_context(**{**DESK, **settings})
                stack.callback(context.close)
                return context.new_page()
            page = profile.new_page()
            stack.callback(page.close)
            kept = {"origin": host.url, "storageTypes": "all"}
            profile.new_cdp_session(page).send("Storage.clearDataForOrigin", kept)
            return page

        def open_viewer(
            host: Host, address: str = "", token: str | None = None, **settings: Any
        ) -> Viewer:
            viewer = Viewer(new_page(host, settings))
            viewers.append(viewer)
            if token is not None:
                viewer.page.add_init_script(KEEP_TOKEN % json.dumps(token))
            viewer.open(host.url + address)
            return viewer

        yield open_viewer
        assert [fault for viewer in viewers for fault in viewer.faults] == []
