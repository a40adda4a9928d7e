"""The commands: each takes the options of the command line, and returns the exit code."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import asking, comparison, layers, measurements, memorysearch, report
from bench.load import Load
from bench.pairs import rows as pair_rows
from bench.report import Figures
from bench.rows import VERDICTS
from bench.server import Launch, pin_to_one_core
from bench.tables import print_and_save, print_found, print_rows
from bench.targets import ASKED, SEARCHES, SLO, TABLES

QUICK_LOAD = Load(subscribers=50, rate=20, seconds=2, warmup=0.5, sample=8)
QUICK_SEED = 500
QUICK_MESSAGES = 20_000
FEWEST_PAIRS = 5

Options = argparse.Namespace


def launch(options: Options) -> Launch:
    return Launch(options.server, options.store, options.url)


def load(options: Options) -> Load:
    return Load(**{field.name: getattr(options, field.name) for field in fields(Load)})


def print_figures(figures: Figures) -> int:
    print(report.listing(figures))
    return 0


def slo(options: Options) -> int:
    work, seed = (QUICK_LOAD, QUICK_SEED) if options.quick else (load(options), options.seed)
    found = measurements.slo(launch(options), work, seed)
    verdicts = {name: target.is_met(found[name][target.figure]) for name, target in SLO.items()}
    columns = ("p50 ms", "p95 ms", "p99 ms", "max ms")
    rows = []
    for name, target in SLO.items():
        values = [report.number(found[name][column]) for column in columns]
        rows.append([name, str(target), *values, VERDICTS[verdicts[name]]])
    text = (
        f"{work.subscribers} subscribers x {work.rate:g} msg/s, {seed} messages seeded\n"
        + report.table(("latency", "target", *columns, "verdict"), rows)
    )
    print(text)
    report.save(f"{report.heading('python -m bench slo')}\n\n{text}", options.out)
    return 0 if all(verdicts.values()) else 1


def fanout(options: Options) -> int:
    return print_figures(measurements.fanout(launch(options), load(options)))


def idle(options: Options) -> int:
    return print_figures(measurements.idle(launch(options), options.connections))


def handshakes(options: Options) -> int:
    found = measurements.handshakes(launch(options), options.connections, options.in_flight)
    return print_figures(found)


def stall(options: Options) -> int:
    return print_figures(measurements.stall(launch(options), load(options), options.stall_seconds))


def table(options: Options) -> int:
    """Measure every row of a table `--times` times; show medians and ranges."""
    which = TABLES[options.command]
    rows = which.quick if which.quick and options.quick else which.rows
    return print_rows(rows, lambda: launch(options), options.times, options.row, options.out)


def floor(options: Options) -> int:
    """Show where the CPU of a delivery goes, layer by layer, and what else could write."""
    pin_to_one_core()
    work = layers.Delivering(rounds=options.rounds)
    about = f"{work.connections} x {work.rate:g} msg/s, medians of {work.rounds} rounds"
    found = layers.tables(layers.measured(work))
    print_and_save([report.heading(f"python -m bench floor: {about}"), found], options.out)
    return 0


def torture(options: Options) -> int:
    """Kill, stop, cut off and fill up brokers and nodes at random; check that all promises hold."""
    from bench.namespaces import missing
    from bench.torture.promises import BrokenError
    from bench.torture.run import tortured

    if options.namespaces and (issue := missing()):
        print(issue)
        return 2
    with TemporaryDirectory() as folder:
        try:
            seconds = 60 * options.minutes
            how = {"namespaces": options.namespaces}
            found = asyncio.run(tortured(Path(folder), seconds, options.seed, **how))
        except BrokenError as broken:
            print(f"BROKEN with --seed {options.seed}: {broken}")
            return 1
    about = f"torture of {options.minutes:g} minutes, --seed {options.seed}: every promise held"
    print_and_save([report.heading(about), report.listing(found)], options.out)
    return 0


def pairs(options: Options) -> int:
    """Compare this checkout (B) with another one (A): measure both alternately, row by row.

    Exit code 1 says that a figure of B is WORSE: the median ratio B/A is beyond 3 % plus the spread
    of A.
    """
    a, b = Launch(checkout=options.against), Launch()
    commits = f"A: commit {report.commit(a.checkout)}, B: commit {report.commit(b.checkout)}"
    for each in (a, b):
        with each.server():
            pass  # the modules are compiled, and in the page cache, before anything is timed
    about = f"{options.pairs} pairs A B A B ..., loads of {options.seconds:g} s"
    if options.pairs < FEWEST_PAIRS:
        about += f"; fewer than {FEWEST_PAIRS}: the verdicts mean nothing"
    lines: list[list[str]] = []
    details: list[str] = []
    for row in (row for row in pair_rows(options.seconds) if options.row in row.name):
        print(f"... {row.name}", flush=True)
        found = comparison.measured(row, a, b, options.pairs)
        lines += comparison.lines(row, *found)
        details.append(f"{row.name}\n\n{comparison.runs(row, *found)}")
    heading = report.heading(about, commits)
    print_and_save(
        [heading, report.table(comparison.HEAD, lines), "All runs", *details], options.out
    )
    return 1 if any(line[-1] == comparison.WORSE for line in lines) else 0


def search(options: Options) -> int:
    """Searches in memory, beside FTS5 and tantivy on the same messages."""
    count, asked = (QUICK_MESSAGES, 20) if options.quick else (options.messages, options.asked)
    pin_to_one_core()
    found = memorysearch.searched(count, asked)
    about = f"{count:,} messages, {asked} questions of each kind, one core"
    return print_found(about, found, SEARCHES, options.out)


def ask(options: Options) -> int:
    """Expressions and analyses beside SQLite, DuckDB and tantivy, and what they cost live."""
    size = asking.QUICK
    if not options.quick:
        size = asking.Size(options.messages, options.asked)
    found = asking.rows(launch(options), size, options.row, options.against)
    # Figures of peers, or of another checkout, are not there without them.
    targets = {
        name: [target for target in ASKED[name] if target.figure in figures]
        for name, figures in found.items()
    }
    about = f"{size.messages:,} messages a day, {size.asked} questions of each kind"
    return print_found(about, found, targets, options.out)
