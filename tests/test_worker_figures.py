"""The figures of several workers on one port, while one of them stops, dies and comes back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from livelog import connect
from livelog.cli.figures import Workers
from livelog.net.totals import Totals
from tests.support.brokers import fresh_url
from tests.support.ports import free_port
from tests.support.process import Start, ended, port_of, ready
from tests.support.wire import Answer, Http, on_uvloop, soon, user
from tests.test_metrics import Figures, figures_in
from tests.test_workers import children, numbers

PAGE = """\
# HELP livelog_published_total Messages.
# TYPE livelog_published_total counter
livelog_published_total{{type="user"}} {count}
# HELP livelog_read_seconds Time.
# TYPE livelog_read_seconds histogram
livelog_read_seconds_bucket{{le="0.1",query="history"}} {count}
livelog_read_seconds_bucket{{le="+Inf",query="history"}} {count}
livelog_read_seconds_count{{query="history"}} {count}
livelog_read_seconds_sum{{query="history"}} 0.5
# HELP livelog_head_seq Seq.
# TYPE livelog_head_seq gauge
livelog_head_seq {seq}
"""


def merged(totals: Totals, pages: dict[int, str]) -> Figures:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in totals.merge(pages)
        for sample in family.samples
    }


class _Overloaded(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()
        self.wfile.write(b'{"action":"error","error_code":1011}')

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_worker_that_refuses_does_not_hide_the_others() -> None:
    with HTTPServer(("127.0.0.1", 0), _Overloaded) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            answer = Workers({1: ("127.0.0.1", server.server_port)}).metrics("")
        finally:
            server.shutdown()
            thread.join()
    assert answer.status == 200
    assert b'livelog_worker_up{worker="1"} 0.0' in answer.body


def test_counts_are_added_up_and_gauges_told_apart() -> None:
    pages = {1: PAGE.format(count=3, seq=7), 2: PAGE.format(count=4, seq=8)}
    found = merged(Totals([1, 2]), pages)
    assert found == {
        ("livelog_worker_up", "1"): 1,
        ("livelog_worker_up", "2"): 1,
        ("livelog_published_total", "user"): 7,
        ("livelog_read_seconds_bucket", "0.1", "history"): 7,
        ("livelog_read_seconds_bucket", "+Inf", "history"): 7,
        ("livelog_read_seconds_count", "history"): 7,
        ("livelog_read_seconds_sum", "history"): 1,
        ("livelog_head_seq", "1"): 7,
        ("livelog_head_seq", "2"): 8,
    }


@pytest.mark.parametrize("away", [False, True])
def test_no_sum_falls_when_a_worker_ends_and_begins_anew(away: bool) -> None:
    totals = Totals([1, 2])
    page = {1: PAGE.format(count=3, seq=7)}

    def published(count: float | None) -> float:
        second = {} if count is None else {2: PAGE.format(count=count, seq=8)}
        return merged(totals, page | second)["livelog_published_total", "user"]

    assert published(4) == 7
    if away:
        assert published(None) == 7
    assert published(1) == 8
    assert published(2) == 9
    assert published(0) == 9
    assert published(5) == 14


def test_without_any_page_only_that_is_told() -> None:
    totals = Totals([1])
    merged(totals, {1: PAGE.format(count=3, seq=7)})
    assert merged(totals, {}) == {("livelog_worker_up", "1"): 0}


# With workers.


def free_run(count: int) -> int:
    """A port that is free with those above it."""
    while True:
        first = free_port()
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except (OSError, OverflowError):
                continue
            return first


async def asked(port: int, path: str, **headers: str) -> Answer:
    http = await Http.connect(("127.0.0.1", port))
    with closing(http):
        return await http.ask("GET", path, **headers)


async def figures(port: int) -> Figures:
    answer = await asked(port, "/metrics")
    assert answer.status == 200, answer.body
    return figures_in(answer.body)


async def states(port: int) -> list[str]:
    return [each["status"] for each in (await asked(port, "/healthz")).json["workers"]]


async def all_are_well(port: int) -> None:
    while (await states(port)) != ["ok", "ok"]:
        pass


@on_uvloop
async def _look(process: subprocess.Popen[str], url: str, port: int) -> None:
    published = ("livelog_published_total", "websocket", "user")
    await numbers(port_of(url), 2)
    for _ in range(8):
        async with connect(url) as log:
            await log.publish(user("hello"))
    found = await figures(port)
    assert found[published] == 8
    assert found["livelog_acknowledgement_seconds_bucket", "+Inf"] == 8
    assert (found["livelog_worker_up", "1"], found["livelog_worker_up", "2"]) == (1, 1)
    for number in "12":  # each has a listener of its own, too
        own = await figures(port + int(number))
        assert own["livelog_head_seq",] == found["livelog_head_seq", number] > 0
    open_metrics = await asked(port, "/metrics", Accept="application/openmetrics-text")
    assert open_metrics.body.endswith(b"# EOF\n")
    assert (await asked(port, "/readyz")).json["status"] == "ready"
    assert (await asked(port, "/")).status == 404
    assert (await asked(port, "/metrics", Host="evil.example")).status == 421
    # One is stopped, and answers nothing: the others are told, and no counter falls.
    _, first, _ = children(process)
    os.kill(first, signal.SIGSTOP)
    found = await figures(port)
    assert (found["livelog_worker_up", "1"], found["livelog_worker_up", "2"]) == (0, 1)
    assert ("livelog_head_seq", "1") not in found
    assert found[published] == 8
    assert await states(port) == ["down", "ok"]
    os.kill(first, signal.SIGKILL)
    await soon(all_are_well(port), "another worker")
    found = await figures(port)
    assert (found["livelog_worker_up", "1"], found[published]) == (1, 8)


@on_uvloop
async def _lose_the_process(process: subprocess.Popen[str], port: int) -> None:
    own, *_ = children(process)
    os.kill(own, signal.SIGKILL)
    await soon(all_are_well(port), "another process")


def test_one_listener_tells_of_all_workers(start: Start) -> None:
    port = free_run(3)
    options = ("--workers", "2", "--engine", fresh_url(), "--metrics-port", str(port))
    process = start("--port", "0", *options)
    url = ready(process)
    _look(process, url, port)
    _lose_the_process(process, port)
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert code == 0
    assert "the process of the figures" in err


def test_a_port_of_the_figures_that_is_taken_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ("--workers", "2", "--engine", fresh_url(), "--metrics-port", str(port))
        code, out, err = ended(start("--port", "0", *options))
    assert (code, out) == (2, "")
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in err
