"""Searches over a million messages: livelog's window beside FTS5 and tantivy, in one run.

The questions of a row are drawn once and put to every engine that has an answer, one
engine after the other, after some to warm up. Peers are asked for whole words where livelog,
which knows no other kind, finds parts of words too: its counts may be higher, never lower.
"""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import TypeVar

from bench.corpus import BEGIN, CHANNELS, STEP, USERS, Corpus, user_id
from bench.latency import Percentiles
from bench.report import Figures
from bench.searchengines import Answer, Engine, Fts5, Livelog, Question, Tantivy
from bench.server import Server
from livelog.auth.principal import PROGRAM
from livelog.engine.local import LocalEngine
from livelog.log.ingest import Ingest, convert
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.store.memory import open_memory
from livelog.wire.commands import Filters
from livelog.wire.record import Record, place
from livelog.wire.timestamps import timestamp

DEEP = 200_000
SEED = 7

Item = TypeVar("Item")


@dataclass(frozen=True)
class Kind:
    """A kind of question: `draw` makes one."""

    name: str
    draw: Callable[[Corpus, random.Random], Question]
    peers: bool = True


def questions(kind: Kind, corpus: Corpus, count: int) -> list[Question]:
    dice = random.Random(SEED)
    return [kind.draw(corpus, dice) for _ in range(count)]


def deep_history(corpus: Corpus, dice: random.Random) -> Question:
    """Draw filters that leave enough messages for a page that deep."""
    filters = dice.choice(
        [
            Filters(),
            Filters(type="user"),
            Filters(type=["user", "dm"]),
            Filters(type=["user", "system", "raid"], **_dates(corpus, dice, 0.8)),
            Filters(server="main"),
            Filters(channel=dice.choice(CHANNELS)),
            Filters(user_id=user_id(dice.randrange(USERS)), type="user"),
            Filters(date_from=_moment(corpus, dice.uniform(0, 0.3))),
            Filters(severity="info"),
        ]
    )
    return Question(filters=filters, offset=DEEP * corpus.count // 1_000_000)


def common_word(corpus: Corpus, dice: random.Random) -> Question:
    return Question((dice.choice(corpus.words[:5]),), offset=dice.choice((0, 0, 100, 1000)))


def two_words_and_filters(corpus: Corpus, dice: random.Random) -> Question:
    words = dice.sample(corpus.words[:200], 2)
    user = user_id(dice.randrange(USERS))
    return Question(
        tuple(words), filters=Filters(type="user", user_id=user, **_dates(corpus, dice))
    )


def two_words(corpus: Corpus, dice: random.Random) -> Question:
    words = dice.choices(corpus.words, cum_weights=corpus.weights, k=2)
    return Question(tuple(dict.fromkeys(words)))


def part_of_a_word(corpus: Corpus, dice: random.Random) -> Question:
    return Question(part=_part(corpus, dice, dice.choice((3, 3, 4, 5))))


def two_letters(corpus: Corpus, dice: random.Random) -> Question:
    return Question(part=_part(corpus, dice, 2))


def _part(corpus: Corpus, dice: random.Random, length: int) -> str:
    """Letters of a word, of common words more often than of rare ones."""
    long_enough = ""
    while len(long_enough) < length:
        [long_enough] = dice.choices(corpus.words, cum_weights=corpus.weights)
    start = dice.randrange(len(long_enough) - length + 1)
    return long_enough[start : start + length]


def _dates(corpus: Corpus, dice: random.Random, share: float = 0.5) -> dict[str, str]:
    """A range that covers this share of all messages."""
    start = dice.uniform(0, 1 - share)
    return {"date_from": _moment(corpus, start), "date_to": _moment(corpus, start + share)}


def _moment(corpus: Corpus, part: float) -> str:
    return timestamp((BEGIN + part * corpus.count * STEP) / 1000)


KINDS = (
    Kind("history at depth 200 000", deep_history, peers=False),
    Kind("one common word", common_word),
    Kind("two words, type, user, dates", two_words_and_filters),
    Kind("two words", two_words),
    Kind("part of a word, 3 to 5 letters", part_of_a_word),
    Kind("two letters", two_letters),
)


def searched(count: int, asked: int) -> dict[str, Figures]:
    """Return figures by row: the cost of the window, and the time of each kind of question."""
    corpus = Corpus(count)
    livelog = Livelog(count)
    cost = _loaded(livelog, corpus)
    drawn = {kind.name: questions(kind, corpus, asked) for kind in KINDS}
    answers = {name: _asked(livelog, drawn[name]) for name in drawn}
    rows = {name: _figures(answers[name]) for name in drawn}
    for make in (Fts5, Tantivy):
        peer: Engine = make()
        peer.load(records(corpus))
        for kind in KINDS:
            if kind.peers:
                rows[kind.name] |= _compared(peer, kind, drawn[kind.name], answers[kind.name])
    return {"the window": cost, **rows}


def records(corpus: Corpus) -> Iterator[Record]:
    """Yield the messages as ingest encodes them."""
    engine = LocalEngine(time.time)
    engine.start(Log(Window(1, 1), open_memory()))
    ingest = Ingest(engine, time.time, 1 << 20)
    for seq, message in enumerate(corpus.messages(), 1):
        yield place(ingest.admit(PROGRAM, convert(message)), seq)


def _loaded(livelog: Livelog, corpus: Corpus) -> Figures:
    own = Server("", os.getpid())
    batches = batched(records(corpus), 1000)
    livelog.load(next(batches))  # code and pools are there before the memory is taken
    before, spent, known = own.memory(), 0.0, len(livelog.window)
    for batch in batches:
        began = time.thread_time()
        livelog.load(batch)
        spent += time.thread_time() - began
    count = len(livelog.window) - known
    gc.collect()  # the first pass finds out what need not be tracked
    began = time.thread_time()
    gc.collect()
    full_pass = time.thread_time() - began
    return {
        "full garbage collection ms": full_pass * 1000,
        "bytes per message": (own.memory() - before) / count,
        "indexed/s": count / spent,
        "messages": float(count + known),
    }


def batched(found: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items, the last one perhaps shorter."""
    while batch := list(islice(found, size)):
        yield batch


Answers = list[tuple[float, Answer]]
"""Seconds, and the answer."""


def _asked(engine: Engine, asked: Sequence[Question]) -> Answers:
    found = []
    for question in [*asked[:5], *asked]:  # the first ones twice, to warm up
        began = time.perf_counter()
        answer = engine.ask(question)
        found.append((time.perf_counter() - began, answer))
    return found[-len(asked) :]


def _figures(answers: Answers) -> Figures:
    spread = Percentiles.of(round(seconds * 1e9) for seconds, _ in answers)
    longest = max(answer.longest for _, answer in answers)
    return {**spread.figures(), "longest stretch ms": longest * 1000}


def _compared(peer: Engine, kind: Kind, asked: Sequence[Question], answers: Answers) -> Figures:
    """Ask a peer a tenth of the questions, because it is slower."""
    pairs = [pair for pair in zip(asked, answers, strict=True) if peer.can(pair[0])][::10]
    if not pairs:
        return {}
    theirs = _asked(peer, [question for question, _ in pairs])
    for (question, (_, ours)), (_, other) in zip(pairs, theirs, strict=True):
        assert ours.count >= other.count, (peer.name, question, ours.count, other.count)
    ratio = median(s for s, _ in theirs) / median(s for _, (s, _) in pairs)
    figures = _figures(theirs)
    return {
        f"{peer.name} p50 ms": figures["p50 ms"],
        f"{peer.name} p99 ms": figures["p99 ms"],
        f"{peer.name} / livelog": ratio,
    }
