"""Expressions and analyses over a day of messages, asked over HTTP; the peers in this process.

The server writes to disk and has the whole day in memory. The questions of a row are drawn once and
asked one after the other, after some to warm up; the time of an answer includes parsing the request
and encoding a page of 100 messages. Meanwhile a client pings all the time: the longest time to a
pong is that for which the event loop was held, and what the machine adds.

Then another day comes, for which the first one makes room in memory, so that half of all is on disk
only, and the same kinds of questions are asked beside live traffic.

Beside them stand the cost of live subscriptions with expressions, see `bench.livewhere`, that of
watchers, see `bench.watchers`, and that of ingest, where another checkout gets the same messages
alternately.

Peers get as many of the same questions as they answer in `PEER_SECONDS`. Where they look for the
same, their counts must be livelog's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench import loadprocess, peers
from bench.clients import SECOND, clock
from bench.days import Days
from bench.disksearch import search_everything, wait_for_index
from bench.http import Http, publication
from bench.latency import Percentiles
from bench.livewhere import Subscriptions, with_expressions
from bench.load import Load
from bench.memorysearch import batched
from bench.peers import Peer
from bench.pings import pinging
from bench.questions import KINDS, Answer, Kind, Question, answer, target
from bench.report import Figures
from bench.server import Launch, Server
from bench.watchers import Watchers, watched
from bench.websocket import Client

PER_BODY = 1000
UNLIMITED_BYTES = str(1 << 40)
PEER_SECONDS = 2.0
WARM_UP = 5
PING_PAUSE = 0.001
"""Seconds between a pong and the next ping."""
DISK_PER_SECOND = 3
INGESTS = 3
COMPLETE_SECONDS = 60
INCOMPLETE = b'"incomplete":true'
CHECKED = 10
"""Questions of each kind whose answers over both days are checked."""

Answers = list[tuple[int, Answer]]
"""Nanoseconds, and the answer."""


BESIDE_DISK = Load(subscribers=1000, rate=50, seconds=15, warmup=3)
SUBSCRIPTIONS, WATCHERS = Subscriptions(), Watchers()


@dataclass(frozen=True)
class Size:
    """Messages a day, questions of each kind, and the other loads."""

    messages: int = 1_000_000
    asked: int = 200
    live: Load = BESIDE_DISK
    """Traffic beside questions that go to disk."""
    subscriptions: Subscriptions = SUBSCRIPTIONS
    watchers: Watchers = WATCHERS
    ingested: int = 30_000
    """Messages that are published to measure ingest."""


QUICK = Size(
    20_000,
    20,
    Load(subscribers=50, rate=50, seconds=4, warmup=1),
    Subscriptions(many=200, seconds=1),
    Watchers(watchers=40, rate=200, seconds=2.5, warmup=1, pairs=1),
    5000,
)


WINDOW, ON_DISK = "the window", "the same, half of it on disk"
LIVE, WATCHED, INGEST = "live expressions", "watchers of live counts", "ingest"


def rows(launch: Launch, size: Size, wanted: str, against: Path | None) -> dict[str, Figures]:
    """Return the figures of each row whose name has `wanted`; ingest is compared with `against`."""
    days, found = Days(size.messages), dict[str, Figures]()
    kinds = [kind for kind in KINDS if wanted in kind.name or wanted in ON_DISK]
    if kinds or wanted in WINDOW:
        found |= _asked_by_kind(launch, size, days, kinds)
    if wanted in LIVE:
        found[LIVE] = with_expressions(launch, size.subscriptions)
    if wanted in WATCHED:
        found[WATCHED] = watched(launch, size.watchers)
    if wanted in INGEST:
        found[INGEST] = _ingested(launch, days, size.ingested, against)
    return found


def _asked_by_kind(
    launch: Launch, size: Size, days: Days, kinds: Sequence[Kind]
) -> dict[str, Figures]:
    drawn = {kind.name: kind.questions(days, size.asked) for kind in kinds}
    answers = dict[str, Answers]()
    with TemporaryDirectory() as folder:
        path = Path(folder, "live.db")
        window = ("--window-messages", str(size.messages), "--window-bytes", UNLIMITED_BYTES)
        with launch.server_on(path, *window) as server:
            found = {WINDOW: _published(server, path, days, 0)}
            for name in drawn:
                answers[name], found[name] = _asked(server, drawn[name])
            if drawn:
                with ThreadPoolExecutor() as pool:  # the server leaves much of a core to the peers
                    loading = pool.submit(_loaded, days)
                    _published(server, path, days, 1)
                    loaded = loading.result()
                for name in drawn:
                    _check_both_days(server, drawn[name], answers[name])
                found[ON_DISK] = _beside(server, drawn, size.live)
    if drawn:
        words = days.words()
        for peer in loaded:
            for name in drawn:
                found[name] |= _compared(peer, drawn[name], answers[name], words)
            peer.close()
    return found


def _loaded(days: Days) -> list[Peer]:
    """Return the peers with the first day."""
    loaded = [make() for make in peers.installed()]
    for peer in loaded:
        peer.load(days.rows(0))
    return loaded


def _published(server: Server, path: Path, days: Days, day: int) -> Figures:
    """Publish a day, and wait until all of it is indexed."""
    http, batches = Http(server.url), batched(days.messages(day), PER_BODY)
    http.send(publication(next(batches)))  # code and pools are there before the memory is taken
    before = server.memory()
    for batch in batches:
        http.send(publication(batch))
    search_everything(server)
    wait_for_index(path)
    http.close()
    return {"bytes per message": (server.memory() - before) / (days.count - PER_BODY)}


def _asked(server: Server, questions: Sequence[Question]) -> tuple[Answers, Figures]:
    http = Http(server.url)
    targets = [target(question) for question in questions]
    for each in targets[:WARM_UP]:
        http.ask(each)
    taken, bodies = list[int](), list[bytes]()
    with closing(Client(server.url)) as client, pinging(client, PING_PAUSE) as pings:
        for each in targets:
            began = clock()
            body = http.ask(each)
            taken.append(clock() - began)
            bodies.append(body)
    http.close()
    answers = [answer(question, body) for question, body in zip(questions, bodies, strict=True)]
    figures = Percentiles.of(taken).figures()
    return list(zip(taken, answers, strict=True)), {
        **figures,
        "longest hold ms": max(pings) / 1e6,
        "hold p99 ms": Percentiles.of(pings).p99,
        "matches p50": median(one.total for one in answers),
    }


def _check_both_days(server: Server, questions: Sequence[Question], answers: Answers) -> None:
    """Ask again: as the second day has the messages of the first, all is counted twice."""
    http = Http(server.url)
    for question, (_, once) in list(zip(questions, answers, strict=True))[:CHECKED]:
        if "timestamp" not in question.where:
            deadline = clock() + COMPLETE_SECONDS * SECOND
            # The oldest match, as the store has longer for a page that it is needed for.
            oldest = target(question, offset=max(0, 2 * once.total - 1))
            while INCOMPLETE in (body := http.ask(oldest)):
                assert clock() < deadline, ("the store does not answer", question)
            found = answer(question, body)
            assert found.agrees(once.twice(), question), (question, found, once)
    http.close()


def _beside(server: Server, drawn: dict[str, list[Question]], live: Load) -> Figures:
    """Ask all kinds in turn at a steady rate, beside live traffic; measure it without before."""
    without = loadprocess.figures(live, server)
    with loadprocess.running(live, server) as load:
        load.wait_for_stream()
        found = _steadily(server, drawn, round((live.seconds - 1) * DISK_PER_SECOND))
        beside = load.figures()
    return {
        **found,
        "delivery p95 ms": beside["p95 ms"],
        "delivery p95 without ms": without["p95 ms"],
        "delivery p95 / without": beside["p95 ms"] / without["p95 ms"],
        "missing": beside["missing"],
    }


def _steadily(server: Server, drawn: dict[str, list[Question]], count: int) -> Figures:
    http, due, incomplete = Http(server.url), clock(), 0
    taken: dict[str, list[int]] = {name: [] for name in drawn}
    turns = ((name, some[at]) for at in range(count) for name, some in drawn.items())
    for name, question in islice(turns, count):
        time.sleep(max(0, due - clock()) / SECOND)
        incomplete += INCOMPLETE in http.ask(target(question.over_two_days()))
        taken[name].append(clock() - due)
        due += SECOND // DISK_PER_SECOND
    http.close()
    everything = Percentiles.of(ns for some in taken.values() for ns in some)
    slowest = {f"{name}: max ms": max(some) / 1e6 for name, some in taken.items()}
    return {**everything.figures(), "incomplete": float(incomplete), **slowest}


def _compared(
    peer: Peer, questions: Sequence[Question], answers: Answers, words: set[str]
) -> Figures:
    """Ask a peer for some seconds; its counts must be livelog's where both look for the same."""
    ours, theirs, agreed = list[int](), list[int](), 0
    until = clock() + round(PEER_SECONDS * SECOND)
    pairs = [(q, a) for q, a in zip(questions, answers, strict=True) if peer.can(q)]
    for question, (own, wanted) in pairs:
        began = clock()
        found = peer.ask(question)
        theirs.append(clock() - began)
        ours.append(own)
        if peer.agrees_on(question, words):
            assert found.agrees(wanted, question), (peer.name, question, found, wanted)
            agreed += 1
        if clock() > until:
            break
    if not theirs:
        return {}
    return {
        f"{peer.name} p50 ms": median(theirs) / 1e6,
        f"{peer.name} / livelog": median(theirs) / median(ours),
        f"{peer.name}: counts that agree": float(agreed),
    }


def _ingested(launch: Launch, days: Days, count: int, against: Path | None) -> Figures:
    """Publish to a server on disk, and to one of the other checkout before, `INGESTS` times."""
    bodies = [publication(batch) for batch in batched(islice(days.messages(0), count), PER_BODY)]
    before, cost = list[float](), list[float]()
    for _ in range(INGESTS):
        if against is not None:
            before.append(_ingest(Launch(checkout=against), bodies, count))
        cost.append(_ingest(launch, bodies, count))
    found = {"CPU us/message": median(cost)}
    if before:
        ratios = [now / then for then, now in zip(before, cost, strict=True)]
        found |= {"CPU us/message before": median(before), "CPU / before": median(ratios)}
    return found


def _ingest(launch: Launch, bodies: Sequence[bytes], count: int) -> float:
    with launch.server_on_disk() as server:
        http, began = Http(server.url), server.cpu_ns()
        for body in bodies:
            http.send(body)
        http.ask("/api/history?limit=1")
        spent = server.cpu_ns() - began
        http.close()
    return spent / 1000 / count
