"""The viewer's page under load: its frame times and its memory.

The page is measured as it is, in a Chromium without a window and without a graphics card,
while another process publishes. A frame's time is the distance between two callbacks of
`requestAnimationFrame`, so what the page does and what the browser does for it are both in it. The
heap is what is left after a collection of garbage; the half of the run in which the page has
already reached its bound tells whether it grows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import loadprocess
from bench.load import MB, Load
from bench.report import Figures
from bench.server import CORES, Launch, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Page, ViewportSize

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
SCREEN: ViewportSize = {"width": 1280, "height": 800}
LONG_FRAME_MS = 50
CATCH_UP_SECONDS = 20
SECONDS, WARMUP = 20.0, 3.0

START = """() => {
  window.frameTimes = [];
  let last = performance.now();
  const frame = (now) => {
    window.frameTimes.push(now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""
FRAME_TIMES = "() => window.frameTimes.splice(0)"
SHOWN = "() => Number(document.getElementById('total').textContent.replace(/\\D/g, ''))"
ELEMENTS = "() => document.querySelectorAll('*').length"


class ViewerPage:
    """The viewer's page in a browser."""

    def __init__(self, page: Page, tools: CDPSession) -> None:
        self.page = page
        self._tools = tools
        page.evaluate(START)

    def wait(self, seconds: float) -> None:
        self.page.wait_for_timeout(seconds * 1000)

    def frame_times(self) -> list[float]:
        """Return the milliseconds of each frame since the last call."""
        times: list[float] = self.page.evaluate(FRAME_TIMES)
        return times

    def heap(self) -> float:
        """Megabytes in use after a collection."""
        self._tools.send("HeapProfiler.collectGarbage")
        used: dict[str, Any] = self._tools.send("Runtime.getHeapUsage")
        return float(used["usedSize"]) / MB

    def held(self) -> Figures:
        """Memory, nodes of its documents and listeners after a collection."""
        heap = self.heap()
        counted = self._tools.send("Memory.getDOMCounters")
        return {
            "heap MB": heap,
            "nodes": counted["nodes"],
            "listeners": counted["jsEventListeners"],
        }

    def elements(self) -> int:
        return int(self.page.evaluate(ELEMENTS))

    def seconds_until(self, messages: int) -> float:
        """Return the seconds until the page has taken `messages`."""
        start = time.monotonic()
        while self.page.evaluate(SHOWN) < messages:
            if time.monotonic() - start > CATCH_UP_SECONDS:
                raise SystemExit("the page did not catch up")
            self.wait(0.02)
        return time.monotonic() - start


@contextmanager
def chromium(*more: str) -> Iterator[Browser]:
    """Run a browser on all cores, with `more` arguments."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise SystemExit("Playwright is needed: install the extra `test`") from None
    if not Path(CHROMIUM).exists():
        raise SystemExit(f"Chromium is needed at {CHROMIUM}")
    with ExitStack() as stack:
        with all_cores():
            driver = stack.enter_context(sync_playwright())
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *more])
        stack.callback(browser.close)
        yield browser


def page_of(server: Server) -> str:
    """Return the address of the viewer's page."""
    return server.url.replace("ws", "http", 1).removesuffix("ws/live-log")


@contextmanager
def opened(server: Server, zone: str | None = None) -> Iterator[ViewerPage]:
    """Open the viewer of a server in a browser of its own, in a time zone."""
    with chromium() as browser:
        page = browser.new_page(viewport=SCREEN, timezone_id=zone)
        page.goto(page_of(server))
        page.wait_for_selector("#light[data-state=connected]")
        yield ViewerPage(page, page.context.new_cdp_session(page))


@contextmanager
def all_cores() -> Iterator[None]:
    """Let processes started in the block use all cores.

    A browser draws with several threads; on the load's core alone, the wait for that core would
    be measured.
    """
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def follow(launch: Launch, rate: float) -> Figures:
    """Measure the page while `rate` messages a second are published."""
    work = Load(1, rate, SECONDS, WARMUP, sample=1)
    with launch.server() as server, opened(server) as page:
        with loadprocess.running(work, server) as load:
            load.wait_for_stream()
            page.wait(WARMUP)
            page.frame_times()
            page.wait(SECONDS / 2)
            half = page.heap()
            # The collection itself stops the page for a moment: its frames are not counted.
            first = page.frame_times()[:-2]
            page.wait(SECONDS / 2)
            times = first + page.frame_times()
            load.figures()
        behind = page.seconds_until(work.messages)
        return frame_figures(times) | {
            "heap MB": page.heap(),
            "heap grown MB": page.heap() - half,
            "elements": page.elements(),
            "behind s": behind,
        }


def frame_figures(times: list[float]) -> Figures:
    ordered = sorted(times)

    def part(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    return {
        "frame p50 ms": part(0.50),
        "frame p95 ms": part(0.95),
        "frame p99 ms": part(0.99),
        "frame max ms": ordered[-1],
        "long frames %": 100 * sum(t > LONG_FRAME_MS for t in ordered) / len(ordered),
    }
