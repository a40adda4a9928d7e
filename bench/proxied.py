"""Batches and compression behind nginx with TLS: what nginx works for a message, and its bytes.

nginx runs with the configuration that comes with livelog, on the server's core (`nginx.py`); its
CPU is that of its one process, from the kernel. Readers and messages are those of `wire.py`. Those
who only count bytes count them as they are on the wire, with the heads of TLS's records and their
checksums; a few decrypt and decode them. The publisher does not go through nginx.
"""

from __future__ import annotations

from dataclasses import replace

from bench.nginx import before
from bench.report import Figures
from bench.server import Launch
from bench.wire import Wire, brought

LOAD = Wire(readers=20, rate=200)
"""With many more, single messages take a whole core for TLS, and several go in one write."""
WAYS = {
    "single": ("off", 0),
    "batches": ("off", 1),
    "compressed": ("shared", 0),
    "compressed batches": ("shared", 1),
}
"""Compression and milliseconds of a batch by name; 1 stands for as many as clients ask for."""
SHOWN = ("CPU us/delivery", "bytes a message and reader", "p95 ms")


def compared(launch: Launch, load: Wire = LOAD) -> Figures:
    """Return what each way costs nginx, and how batches compare with single messages."""
    found: Figures = {}
    for name, way in WAYS.items():
        figures = behind(launch, load, *way)
        found |= {f"{name}: {figure}": figures[figure] for figure in SHOWN}
        found[f"{name}: missing or wrong"] = figures["missing or wrong"]
        found[f"{name}: compressed frames"] = figures["compressed frames"]
    for many, one in (("batches", "single"), ("compressed batches", "compressed")):
        found[f"{many}: CPU / {one}"] = (
            found[f"{many}: CPU us/delivery"] / found[f"{one}: CPU us/delivery"]
        )
    return found


def behind(launch: Launch, load: Wire, compression: str, batch: int) -> Figures:
    """Return the figures of one way; the CPU is that of nginx."""
    with (
        launch.server("--compression", compression, "--trusted-proxies", "127.0.0.1") as server,
        before(server.url, "wss") as front,
    ):
        return brought(replace(front, entry=server.url), replace(load, batch=batch))
