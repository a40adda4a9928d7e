"""The commands: `python -m bench slo | fanout | idle | handshakes | stall | table | floor |
search | ask | log | memory | viewer | privacy | restart | redact | wire | attack | nginx |
cluster | torture | pairs`.

Every command starts the server it measures. Some can be given the `--url` of one that runs instead;
the figures that need its process are then 0, and one that pings will disturb a run longer than its
ping interval. Exit code 1 says that a target was missed, or that `pairs` found something WORSE.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from bench import asking, commands, layers
from bench.commands import FEWEST_PAIRS
from bench.load import Load
from bench.server import COMMANDS as SERVERS
from bench.server import pin_load
from bench.targets import IN_FLIGHT, STALL_LOAD, STALL_SECONDS, TABLES

SLO_LOAD = Load(subscribers=1000, rate=100, seconds=10, warmup=2)
SEED = 20_000


class Option(NamedTuple):
    """An option of the command line, as `argparse` takes it."""

    flag: str
    settings: dict[str, Any]


class Command(NamedTuple):
    """A command, its line of `--help`, and its options."""

    do: Callable[[argparse.Namespace], int]
    about: str
    options: tuple[Option, ...] = ()


def option(flag: str, **settings: Any) -> Option:
    return Option(flag, settings)


def number(flag: str, default: float, help: str | None = None) -> Option:
    return option(flag, type=type(default), default=default, help=help)


def switch(flag: str, help: str) -> Option:
    return option(flag, action="store_true", help=help)


def load_options(default: Load) -> tuple[Option, ...]:
    """Return an option for each field of a load."""
    return tuple(
        option(
            f"--{field.name.replace('_', '-')}",
            type=int if field.type == "int" else float,
            default=getattr(default, field.name),
            help=f"default {getattr(default, field.name):g}",
        )
        for field in fields(Load)
    )


def checkout(folder: str) -> Path:
    """Check that a folder holds livelog."""
    path = Path(folder).resolve()
    if not (path / "livelog" / "__main__.py").is_file():
        raise argparse.ArgumentTypeError(f"there is no livelog in {folder}")
    return path


STORE = option("--store", default="memory", help="livelog's --store")
OUT = option("--out", help="also write it to this file")
ROW = option("--row", default="", help="only rows whose name contains this")
QUICK = switch("--quick", "small loads")
FEW = switch("--quick", "few messages, no meaning")
ANYWHERE = (  # for commands that need neither the server's memory nor its policy
    option("--server", choices=SERVERS, default="livelog"),
    option("--url", help="measure a server that runs already"),
)

COMMANDS = {
    "slo": Command(
        commands.slo,
        "the specification's latencies under load",
        (
            *ANYWHERE,
            switch("--quick", "a small load for two seconds"),
            number("--seed", SEED, "messages to search"),
            OUT,
            *load_options(SLO_LOAD),
        ),
    ),
    "fanout": Command(
        commands.fanout,
        "latency, CPU and memory of a fan-out",
        (*ANYWHERE, *load_options(Load())),
    ),
    "idle": Command(commands.idle, "memory per connection", (number("--connections", 9000),)),
    "handshakes": Command(
        commands.handshakes,
        "connections opened while messages are delivered",
        (*ANYWHERE, number("--connections", 2000), number("--in-flight", IN_FLIGHT)),
    ),
    "stall": Command(
        commands.stall,
        "a fan-out of which some subscribers stop reading",
        (number("--stall-seconds", STALL_SECONDS), *load_options(STALL_LOAD)),
    ),
    **{
        name: Command(
            commands.table,
            table.about,
            (number("--times", 3), ROW, OUT, *([QUICK] if table.quick else [])),
        )
        for name, table in TABLES.items()
    },
    "floor": Command(
        commands.floor,
        "where the CPU of a delivery goes, layer by layer",
        (number("--rounds", layers.Delivering.rounds), OUT),
    ),
    "torture": Command(
        commands.torture,
        "three brokers and three nodes under random faults",
        (
            number("--minutes", 10.0),
            switch("--namespaces", "cut with network namespaces, which takes root"),
            number("--seed", 0, "of the faults and their order"),
            OUT,
        ),
    ),
    "search": Command(
        commands.search,
        "searches in memory, beside FTS5 and tantivy",
        (
            FEW,
            number("--messages", 1_000_000),
            number("--asked", 300, "questions of each kind"),
            OUT,
        ),
    ),
    "ask": Command(
        commands.ask,
        "expressions and analyses, beside SQLite, DuckDB and tantivy",
        (
            FEW,
            number("--messages", asking.Size.messages, "a day"),
            number("--asked", asking.Size.asked, "of each kind"),
            ROW,
            option("--against", type=checkout, help="ingest is compared with this checkout"),
            OUT,
        ),
    ),
    "pairs": Command(
        commands.pairs,
        "this checkout and another one, measured alternately",
        (
            option("--against", type=checkout, required=True, help="folder of the other one"),
            number("--pairs", FEWEST_PAIRS, "default 5"),
            number("--seconds", 5.0, "length of a load (5)"),
            ROW,
            OUT,
        ),
    ),
}


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    adding = main.add_subparsers(required=True, metavar="command", dest="command")
    for name, command in COMMANDS.items():
        description = command.do.__doc__ or command.about
        made = adding.add_parser(name, help=command.about, description=description)
        made.set_defaults(do=command.do, server="livelog", url=None)
        for flag, settings in (STORE, *command.options):
            made.add_argument(flag, **settings)
    return main


def main() -> int:
    options = parser().parse_args()
    pin_load()
    code: int = options.do(options)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
