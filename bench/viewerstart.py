"""The start of the viewer's page over a slow link: the time until its first line is in sight.

The link is made in two ways. Chromium's own emulation delays every request by a round trip and
bounds the rate, but opens connections for nothing. So a proxy with the same round trip and rate
stands between as well: there a connection costs a round trip, and TLS another. Neither starts
slowly, as TCP does where a connection is new.

The server has an hour of sample traffic. Each start is that of a new profile, with nothing in its
cache; `again` is the same page loaded once more.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench.certificate import make_certificate
from bench.report import Figures
from bench.server import Launch
from bench.viewer import SCREEN, chromium, page_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROUND_TRIP = 0.15
BYTES = 1_600_000 / 8
"""A second, in each direction."""
STARTS = 5
PATIENCE_MS = 30_000
CHUNK = 4096
TRUSTING = "--ignore-certificate-errors"
"""Playwright's own way makes every connection twice."""

EMULATED: dict[str, Any] = {
    "offline": False,
    "latency": ROUND_TRIP * 1000,
    "downloadThroughput": BYTES,
    "uploadThroughput": BYTES,
}
WATCH = """
new MutationObserver((_, observer) => {
  if (!document.querySelector('.row .summary')) return;
  observer.disconnect();
  requestAnimationFrame(() => { window.firstLine = performance.now(); });
}).observe(document, { childList: true, subtree: true });
"""
"""Takes the time from the beginning of the navigation to the frame with the first line."""
TRANSFERRED = """() => ['navigation', 'resource']
  .flatMap((kind) => performance.getEntriesByType(kind))
  .reduce((sum, { transferSize }) => sum + transferSize, 0)"""


def first_line(launch: Launch, *, tls: bool) -> Figures:
    """Measure the start over both kinds of link."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        options = _certificate(folder) if tls else ()
        server = stack.enter_context(launch.server("--demo", *options))
        browser = stack.enter_context(chromium(TRUSTING))
        url = page_of(server)
        port = stack.enter_context(_slow_link(urlsplit(url).port or 0))
        behind = f"{urlsplit(url).scheme}://127.0.0.1:{port}/"
        return {
            **_starts(browser, url, EMULATED),
            **{
                f"with handshakes: {name}": value
                for name, value in _starts(browser, behind).items()
            },
        }


def _starts(browser: Browser, url: str, link: dict[str, Any] | None = None) -> Figures:
    starts = [_start(browser, url, link) for _ in range(STARTS)]
    return {name: median(start[name] for start in starts) for name in starts[0]}


def _start(browser: Browser, url: str, link: dict[str, Any] | None) -> Figures:
    context = browser.new_context(viewport=SCREEN)
    try:
        page = context.new_page()
        page.add_init_script(WATCH)
        if link is not None:
            tools = context.new_cdp_session(page)
            tools.send("Network.enable")
            tools.send("Network.emulateNetworkConditions", link)
        page.goto(url, wait_until="commit")
        first = _seconds(page)
        kilobytes = page.evaluate(TRANSFERRED) / 1000
        page.wait_for_load_state("networkidle")  # what it loads beyond the screen is not in the way
        page.reload(wait_until="commit")
        return {"first line s": first, "kB": kilobytes, "again s": _seconds(page)}
    finally:
        context.close()


def _seconds(page: Page) -> float:
    # Playwright's own way to wait evaluates strings in the page; the page's policy forbids it.
    for _ in range(PATIENCE_MS // 50):
        if found := page.evaluate("() => window.firstLine"):
            return float(found) / 1000
        page.wait_for_timeout(50)
    raise SystemExit("the page has shown no line")


def _certificate(folder: Path) -> Sequence[str]:
    """Make a certificate, and return the options of a server with it."""
    cert, key = make_certificate(folder)
    return ("--tls-cert", str(cert), "--tls-key", str(key))


class _Direction:
    """One direction of the link, which all connections share."""

    def __init__(self) -> None:
        self._free = 0.0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes, half a round trip later, as fast as the link is."""
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arrival = loop.create_task(_arrive(under_way, writer))
        try:
            while data := await reader.read(CHUNK):
                self._free = max(self._free, loop.time()) + len(data) / BYTES
                under_way.put_nowait((self._free + ROUND_TRIP / 2, data))
            await under_way.join()
        except OSError:
            pass  # one end has gone
        finally:
            arrival.cancel()
            writer.close()


async def _arrive(
    under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due, data = await under_way.get()
        await asyncio.sleep(due - loop.time())
        if not writer.is_closing():
            writer.write(data)
        under_way.task_done()


async def _link(port: int, ready: threading.Event, told: list[Any]) -> None:
    """Run the link to a port of this machine until the event in `told` is set."""
    up, down = _Direction(), _Direction()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(ROUND_TRIP)  # of TCP's handshake, which was made on this machine
        there, back = await asyncio.open_connection("127.0.0.1", port)
        # Cancelled when the link ends, which asyncio would report for every connection.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(up.carry(reader, back), down.carry(there, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    end = asyncio.Event()
    told += [server.sockets[0].getsockname()[1], asyncio.get_running_loop(), end]
    ready.set()
    await end.wait()
    server.close()


@contextmanager
def _slow_link(port: int) -> Iterator[int]:
    """Run a slow link to a port of this machine in a thread; yield the port of its near end."""
    ready = threading.Event()
    told: list[Any] = []
    thread = threading.Thread(target=lambda: asyncio.run(_link(port, ready, told)), daemon=True)
    thread.start()
    if not ready.wait(10):
        raise SystemExit("the slow link did not start")
    near, loop, end = told
    try:
        yield near
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
