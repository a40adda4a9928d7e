"""Chromium's CPU for a page: with batches and compression, and without.

The CPU is that of all of Chromium's processes, from the kernel, so what the network, the page's
thread and the drawing take is all in it. Two pages are measured on a screen as small as a phone's.
`client` has no more than `livelog.js` and a listener that counts; `viewer` is the viewer's page,
which also draws, on the processor, as there is no graphics card here. Both ask for batches by
themselves; where they are to have none, that word is taken out of their command. The viewer draws
four times a second at this rate, however the messages come: that share is the same in each way.

Other readers have the same subscription, so that the page is one of an audience that is compressed;
that there is a single audience says that it has been asked for as meant. Some of them decode all
they get, and the page counts what it gets: each has to get every message.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.http import Http
from bench.proxied import WAYS
from bench.report import Figures
from bench.server import Launch, Server, process_cpu_ns
from bench.viewer import SHOWN, chromium, page_of
from bench.wire import TYPES, Run, Wire

if TYPE_CHECKING:
    from playwright.sync_api import Page, ViewportSize

SCREEN: ViewportSize = {"width": 412, "height": 915}
LOAD = Wire(readers=9, rate=500, types=(*TYPES, "dm"))
PARTS = ("browser", "renderer", "gpu", "network")
"""Kinds of Chromium's processes that are told one by one; the others do next to nothing."""
REST_SECONDS = 3.0
CATCH_UP_SECONDS = 20.0

SINGLE = """
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) {
  send.call(this, text.replace(',"batch":true', ""));
};
"""
"""Makes a page of one that gets single messages."""
LISTEN = """async () => {
  const { LiveLog } = await import("/livelog.js");
  window.count = 0;
  await new LiveLog().listen({}, () => { window.count += 1; }).ready;
}"""


class Process(NamedTuple):
    """One of Chromium's processes, and its part in it, as in `PARTS`."""

    pid: int
    kind: str


@dataclass(frozen=True)
class Kind:
    """A page: its path, how it begins to listen, and how many messages it has got."""

    path: str
    begin: Callable[[Page], object]
    counted: str


PAGES = {
    "client": Kind("healthz", lambda page: page.evaluate(LISTEN), "() => window.count"),
    "viewer": Kind("", lambda page: page.wait_for_selector("#light[data-state=connected]"), SHOWN),
}


def compared(launch: Launch, kind: str, load: Wire = LOAD) -> Figures:
    """Return what a page takes in each way, and how batches compare with single messages."""
    found: Figures = {}
    for name, (compression, batch) in WAYS.items():
        figures = shown(launch, kind, replace(load, batch=batch), compression)
        found |= {f"{name}: {figure}": value for figure, value in figures.items()}
    for many, one in (("batches", "single"), ("compressed batches", "compressed")):
        found[f"{many}: core % / {one}"] = found[f"{many}: core %"] / found[f"{one}: core %"]
    return found


def shown(launch: Launch, kind: str, load: Wire, compression: str) -> Figures:
    """Show one page a load, and return what it took."""
    which = PAGES[kind]
    with launch.server("--compression", compression) as server, chromium() as browser:
        page = browser.new_page(viewport=SCREEN)
        if not load.batch:
            page.add_init_script(SINGLE)
        page.goto(page_of(server) + which.path)
        which.begin(page)
        here = Run(server, load)
        here.drive(load.warmup)
        before, begun = _chromium_ns(), time.monotonic()
        here.drive(load.seconds)
        cores = _cores(before, begun)
        audiences = _audiences(server)
        here.drain()
        behind = here.published - _counted(page, which.counted, here.published)
        missing = sum(here.published - one.found.messages for one in here.sampled)
        compressed = sum(one.found.compressed for one in here.sampled)
        here.close()
        before, begun = _chromium_ns(), time.monotonic()
        time.sleep(REST_SECONDS)
        rest = _cores(before, begun)["core %"]
    return {
        **cores,
        "at rest %": rest,
        "missing": behind + missing,
        "audiences": audiences,
        "compressed frames": compressed,
    }


def _counted(page: Page, script: str, published: int) -> int:
    """Return the messages that the page has counted, once it has all or a while has passed."""
    end = time.monotonic() + CATCH_UP_SECONDS
    while (counted := int(page.evaluate(script))) < published and time.monotonic() < end:
        page.wait_for_timeout(50)
    return counted


def _audiences(server: Server) -> int:
    http = Http(server.url)
    found = re.search(rb"^livelog_audiences (\d+)", http.ask("/metrics"), re.MULTILINE)
    http.close()
    assert found is not None
    return int(found[1])


def _cores(before: dict[Process, int], begun: float) -> Figures:
    """Return the percentage of a core that Chromium has used since `begun`, all and by process."""
    passed = time.monotonic() - begun
    found = {"core %": 0.0} | {f"{kind} %": 0.0 for kind in PARTS}
    for process, ns in _chromium_ns().items():
        percent = (ns - before.get(process, 0)) / passed / 1e7
        found["core %"] += percent
        if process.kind in PARTS:
            found[f"{process.kind} %"] += percent
    return found


def _chromium_ns() -> dict[Process, int]:
    """Return the CPU time of each of Chromium's processes."""
    found = dict[Process, int]()
    for pid in _descendants(os.getpid()):
        with suppress(OSError):  # it has ended meanwhile
            if Path(f"/proc/{pid}/comm").read_text().startswith("chrom"):
                words = Path(f"/proc/{pid}/cmdline").read_text()
                kind = re.findall(r"--(?:utility-sub-)?type=(\w+)", words)
                found[Process(pid, kind[-1] if kind else "browser")] = process_cpu_ns(pid)
    return found


def _descendants(pid: int) -> set[int]:
    """Return the processes that a process has started, and those that they have."""
    parents = dict[int, int]()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            # The name, in parentheses, may hold anything; the state and the parent follow it.
            _, _, rest = (folder / "stat").read_text().rpartition(")")
            parents[int(folder.name)] = int(rest.split()[1])
    found, fresh = set[int](), {pid}
    while fresh := {child for child, parent in parents.items() if parent in fresh}:
        found |= fresh
    return found
