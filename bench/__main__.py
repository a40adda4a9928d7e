"""The commands: `python -m bench slo | fanout | idle | handshakes | stall | table | floor |
search | ask | log | memory | viewer | privacy | restart | redact | wire | attack | nginx |
cluster | torture | pairs`.

Every command starts the server it measures. Some can be given the `--url` of one that runs instead;
the figures that need its process are then 0, and one that pings will disturb a run longer than its
ping interval. Exit code 1 says that a target was missed, or that `pairs` found something WORSE.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench import asking, comparison, layers, measurements, memorysearch, report
from bench.cluster import FULL, QUICK
from bench.load import Load
from bench.pairs import rows as pair_rows
from bench.report import Figures
from bench.rows import VERDICTS, Row, Target
from bench.server import COMMANDS, Launch, pin_load, pin_to_one_core
from bench.targets import (
    ASKED,
    ATTACK_ROWS,
    IN_FLIGHT,
    LOG_ROWS,
    MEMORY_ROWS,
    NGINX_ROWS,
    PRIVACY_ROWS,
    REDACT_ROWS,
    RESTART_ROWS,
    ROWS,
    SEARCHES,
    SLO,
    STALL_LOAD,
    STALL_SECONDS,
    VIEWER_ROWS,
    WIRE_ROWS,
    cluster_rows,
)

SLO_LOAD = Load(subscribers=1000, rate=100, seconds=10, warmup=2)
QUICK_LOAD = Load(subscribers=50, rate=20, seconds=2, warmup=0.5, sample=8)
SEED, QUICK_SEED = 20_000, 500
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
    """Measure every row `--times` times; show medians and ranges."""
    return print_rows(ROWS, options)


def floor(options: Options) -> int:
    """Where the CPU of a delivery goes, layer by layer, and what else could write."""
    pin_to_one_core()
    work = layers.Delivering(rounds=options.rounds)
    about = f"{work.connections} x {work.rate:g} msg/s, medians of {work.rounds} rounds"
    found = layers.tables(layers.measured(work))
    print_and_save([report.heading(f"python -m bench floor: {about}"), found], options.out)
    return 0


def log(options: Options) -> int:
    """Publishing, resuming, and searches on disk: measured as by `table`."""
    return print_rows(LOG_ROWS, options)


def memory(options: Options) -> int:
    """Passes of the garbage collector beside a full window: measured as by `table`."""
    return print_rows(MEMORY_ROWS, options)


def viewer(options: Options) -> int:
    """The viewer's page while messages arrive: measured as by `table`."""
    return print_rows(VIEWER_ROWS, options)


def privacy(options: Options) -> int:
    """Users who read their own direct messages: measured as by `table`."""
    return print_rows(PRIVACY_ROWS, options)


def restart(options: Options) -> int:
    """Clients that reconnect after a restart: measured as by `table`."""
    return print_rows(RESTART_ROWS, options)


def redact(options: Options) -> int:
    """Commands of moderators on a large log and among many clients: measured as by `table`."""
    return print_rows(REDACT_ROWS, options)


def nginx(options: Options) -> int:
    """Direct, through nginx, and through nginx with TLS: measured as by `table`."""
    return print_rows(NGINX_ROWS, options)


def wire(options: Options) -> int:
    """Bytes on the wire with compression and batches, and their cost: measured as by `table`."""
    return print_rows(WIRE_ROWS, options)


def attack(options: Options) -> int:
    """Well-behaved clients during attacks: measured as by `table`."""
    return print_rows(ATTACK_ROWS, options)


def cluster(options: Options) -> int:
    """Several nodes on one log, beside a server that is alone: measured as by `table`."""
    return print_rows(cluster_rows(QUICK if options.quick else FULL), options)


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


def print_rows(rows: Sequence[Row], options: Options) -> int:
    lines: list[list[str]] = []
    details: list[str] = []
    for row in (row for row in rows if options.row in row.name):
        print(f"... {row.name}", flush=True)
        runs = [row.measure(launch(options)) for _ in range(options.times)]
        lines += compared(row.name, row.targets, runs)
        details.append(f"{row.name}\n\n{report.listing(medians(runs))}")
    return print_result(f"medians of {options.times}", lines, details, options.out)


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
    lines = [line for name in found for line in compared(name, SEARCHES[name], [found[name]])]
    details = [f"{name}\n\n{report.listing(figures)}" for name, figures in found.items()]
    about = f"{count:,} messages, {asked} questions of each kind, one core"
    return print_result(about, lines, details, options.out)


def ask(options: Options) -> int:
    """Expressions and analyses beside SQLite, DuckDB and tantivy, and what they cost live."""
    size = asking.QUICK
    if not options.quick:
        size = asking.Size(options.messages, options.asked)
    found = asking.rows(launch(options), size, options.row, options.against)
    lines = list[list[str]]()
    for name, figures in found.items():
        targets = [target for target in ASKED[name] if target.figure in figures]
        lines += compared(name, targets, [figures])
    details = [f"{name}\n\n{report.listing(figures)}" for name, figures in found.items()]
    about = f"{size.messages:,} messages a day, {size.asked} questions of each kind"
    return print_result(about, lines, details, options.out)


def print_result(
    about: str, lines: Sequence[Sequence[str]], details: Sequence[str], out: str | None
) -> int:
    head = ("load", "target", "measured", "range", "verdict")
    parts = [report.heading(about), report.table(head, lines), "All figures", *details]
    print_and_save(parts, out)
    return 1 if any(line[-1] == VERDICTS[False] for line in lines) else 0


def print_and_save(parts: Sequence[str], out: str | None) -> None:
    text = "\n\n".join(parts)
    print(text)
    report.save(text, out)


def medians(runs: Sequence[Figures]) -> Figures:
    return {name: median(run[name] for run in runs) for name in runs[0]}


def compared(name: str, targets: Sequence[Target], runs: Sequence[Figures]) -> list[list[str]]:
    lines = []
    for target in targets:
        values = [run[target.figure] for run in runs]
        span = f"{report.number(min(values))} .. {report.number(max(values))}"
        verdict = VERDICTS[target.is_met(median(values))]
        lines.append([name, str(target), report.number(median(values)), span, verdict])
    return lines


ANYWHERE = (slo, fanout, handshakes)  # these do not need the server's memory or its policy


def add_load(parser: argparse.ArgumentParser, default: Load) -> None:
    for field in fields(Load):
        flag, value = f"--{field.name.replace('_', '-')}", getattr(default, field.name)
        kind = int if field.type == "int" else float
        parser.add_argument(flag, type=kind, default=value, help=f"default {value:g}")


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = main.add_subparsers(required=True, metavar="command")

    def command(do: Callable[[Options], int], about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(do.__name__, help=about, description=do.__doc__ or about)
        made.set_defaults(do=do, server="livelog", url=None)
        made.add_argument("--store", default="memory", help="livelog's --store")
        if do in ANYWHERE:
            made.add_argument("--server", choices=COMMANDS, default="livelog")
            made.add_argument("--url", help="measure a server that runs already")
        return made

    checked = command(slo, "the specification's latencies under load")
    checked.add_argument("--quick", action="store_true", help="a small load for two seconds")
    checked.add_argument("--seed", type=int, default=SEED, help="messages to search")
    checked.add_argument("--out", help="also write it to this file")
    add_load(checked, SLO_LOAD)
    add_load(command(fanout, "latency, CPU and memory of a fan-out"), Load())
    command(idle, "memory per connection").add_argument("--connections", type=int, default=9000)
    storm = command(handshakes, "connections opened while messages are delivered")
    storm.add_argument("--connections", type=int, default=2000)
    storm.add_argument("--in-flight", type=int, default=IN_FLIGHT)
    stalled = command(stall, "a fan-out of which some subscribers stop reading")
    stalled.add_argument("--stall-seconds", type=float, default=STALL_SECONDS)
    add_load(stalled, STALL_LOAD)
    for do, about in (
        (table, "every row of the fan-out"),
        (log, "every row of the log"),
        (memory, "passes of the garbage collector beside a full window"),
        (viewer, "frames and memory of the viewer's page"),
        (nginx, "what nginx in front costs, without TLS and with it"),
        (wire, "bytes on the wire, with compression and batches"),
        (attack, "the fan-out under attack, and what a token costs"),
        (restart, "clients through a restart"),
        (redact, "redacting, listing clients, and the memory of presence"),
        (privacy, "users with direct messages of their own, beside an open server"),
        (cluster, "several nodes on one log, and what brokers' faults cost"),
    ):
        everything = command(do, about)
        everything.add_argument("--times", type=int, default=3)
        everything.add_argument("--row", default="", help="only rows whose name contains this")
        everything.add_argument("--out", help="also write it to this file")
        if do is cluster:
            everything.add_argument("--quick", action="store_true", help="small loads")
    split = command(floor, "where the CPU of a delivery goes, layer by layer")
    split.add_argument("--rounds", type=int, default=layers.Delivering.rounds)
    split.add_argument("--out", help="also write it to this file")
    tortures = command(torture, "three brokers and three nodes under random faults")
    tortures.add_argument("--minutes", type=float, default=10)
    tortures.add_argument(
        "--namespaces", action="store_true", help="cut with network namespaces, which takes root"
    )
    tortures.add_argument("--seed", type=int, default=0, help="of the faults and their order")
    tortures.add_argument("--out", help="also write it to this file")
    searches = command(search, "searches in memory, beside FTS5 and tantivy")
    searches.add_argument("--quick", action="store_true", help="few messages, no meaning")
    searches.add_argument("--messages", type=int, default=1_000_000)
    searches.add_argument("--asked", type=int, default=300, help="questions of each kind")
    searches.add_argument("--out", help="also write it to this file")
    questions = command(ask, "expressions and analyses, beside SQLite, DuckDB and tantivy")
    questions.add_argument("--quick", action="store_true", help="few messages, no meaning")
    questions.add_argument("--messages", type=int, default=asking.Size.messages, help="a day")
    questions.add_argument("--asked", type=int, default=asking.Size.asked, help="of each kind")
    questions.add_argument("--row", default="", help="only rows whose name contains this")
    questions.add_argument("--against", type=checkout, help="ingest is compared with this checkout")
    questions.add_argument("--out", help="also write it to this file")
    both = command(pairs, "this checkout and another one, measured alternately")
    both.add_argument("--against", type=checkout, required=True, help="folder of the other one")
    both.add_argument("--pairs", type=int, default=FEWEST_PAIRS, help="default 5")
    both.add_argument("--seconds", type=float, default=5, help="length of a load (5)")
    both.add_argument("--row", default="", help="only rows whose name contains this")
    both.add_argument("--out", help="also write it to this file")
    return main


def checkout(folder: str) -> Path:
    """Check that a folder holds livelog."""
    path = Path(folder).resolve()
    if not (path / "livelog" / "__main__.py").is_file():
        raise argparse.ArgumentTypeError(f"there is no livelog in {folder}")
    return path


def main() -> int:
    options = parser().parse_args()
    pin_load()
    code: int = options.do(options)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
