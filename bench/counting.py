"""The share of the fan-out that goes into counting what was delivered.

The hub runs by itself, on sockets that are read between the rounds. A round's processor time is
measured as it is; then the calls that count are made again without the rest. So nothing of the
server has to be changed, and a share of one percent does not drown in the noise between two runs.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from time import process_time_ns
from typing import Any

import msgspec

from bench import report
from bench.report import Figures
from bench.traffic import publication, texts
from livelog.auth.principal import ANYBODY
from livelog.engine.local import LocalEngine
from livelog.fanout.audience import Reader
from livelog.fanout.hub import Hub
from livelog.index.plan import finish
from livelog.index.query import NOTHING, compile_query
from livelog.log.ingest import Ingest, decode
from livelog.wire.commands import Filters
from livelog.wire.record import Draft, place

MOST_PERCENT = 2.0
"""The target: counting takes no more of the fan-out."""


@dataclass(frozen=True)
class Counted:
    """Readers and rounds. In each round every reader gets one message."""

    readers: int = 400
    rounds: int = 500
    alike: bool = True
    """All have the same subscription; otherwise each has one of its own, which is the worst case:
    what the readers of one audience get is counted together."""


def counting(load: Counted) -> Figures:
    """Return the processor time of a delivery, and the part of it that is counting."""
    with ExitStack() as opened:
        pairs = [socket.socketpair() for _ in range(load.readers)]
        for sock in (sock for pair in pairs for sock in pair):
            opened.enter_context(sock)
        hub, seqs = Hub(0), count(1)
        for number, (sock, _) in enumerate(pairs):
            hub.join(reader(sock.send, 0 if load.alike else number))
        drafts = [draft(number) for number in range(1 if load.alike else load.readers)]
        calls = _calls(hub, drafts, seqs)
        _drain(pairs)
        whole = 0
        for _ in range(load.rounds):
            start = process_time_ns()
            _round(hub, drafts, seqs)
            whole += process_time_ns() - start
            _drain(pairs)
        start = process_time_ns()
        for _ in range(load.rounds):
            for call in calls:
                hub._count(*call)
            hub.waits.add(0.001)
        again = process_time_ns() - start
    return {
        "CPU us/delivery": whole / (load.readers * load.rounds) / 1000,
        "counts/delivery": len(calls) / load.readers,
        "counting %": 100 * again / whole,
    }


def reader(write: Callable[[bytes], object], channel: int) -> Reader:
    nobody: Any = None  # a reader that is never behind tells its party nothing
    reader = Reader(write, nobody)
    query = compile_query(ANYBODY, Filters(channel=f"c{channel}"), now=0)
    reader.subscription = NOTHING.with_types({"user": query})
    return reader


def draft(channel: int) -> Draft:
    message = publication(channel, texts(200, 1)[0])["message"]
    message["metadata"] = {"channel": f"c{channel}"}
    ingest = Ingest(LocalEngine(lambda: 0.0), lambda: 0.0, 1 << 16)
    return finish(ingest._drafting(decode(msgspec.json.encode(message))))


def _calls(hub: Hub, drafts: list[Draft], seqs: count[int]) -> list[tuple[Any, ...]]:
    """Return the calls that count, of one round."""
    calls: list[tuple[Any, ...]] = []
    hub._count = lambda *call: calls.append(call)  # type: ignore[method-assign]  # for a round
    _round(hub, drafts, seqs)
    del hub._count
    return calls


def _round(hub: Hub, drafts: list[Draft], seqs: count[int]) -> None:
    for draft in drafts:
        hub.publish(place(draft, next(seqs)))
    hub.begin()
    while hub.flush(1 << 30):
        pass
    hub.waits.add(0.001)


def _drain(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    for _, sock in pairs:
        assert sock.recv(1 << 16)


def main() -> int:
    """Measure both kinds of subscriptions; the exit code is 1 if the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.counting", description=__doc__)
    parser.add_argument("--rounds", type=int, default=Counted.rounds)
    parser.add_argument("--out", help="also write it to this file")
    options = parser.parse_args()
    rows, good = [], True
    for name, alike in (("one audience", True), ("an audience each", False)):
        found = counting(Counted(rounds=options.rounds, alike=alike))
        met = found["counting %"] <= MOST_PERCENT
        good = good and met
        rows.append([name, *map(report.number, found.values()), "met" if met else "MISSED"])
    head = ("400 readers", "CPU us/delivery", "counts/delivery", "counting %", "<= 2 %")
    text = report.table(head, rows)
    print(text)
    report.save(f"{report.heading('python -m bench.counting')}\n\n{text}", options.out)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
