"""`livelog config`: check a file of settings, show what is in force, write a commented example."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from livelog.cli import serve
from livelog.cli.exit import WRONG_USAGE, printed, say
from livelog.cli.options import Parser
from livelog.config import OPTIONS, Config, environment, flag, load
from livelog.config.live import shown
from livelog.config.sources import read_file
from livelog.errors import ConfigError

_EXAMPLES = """\
examples:
  livelog config example > livelog.toml        every option, commented out, with its meaning
  livelog config check livelog.toml            tell what is wrong in it
  livelog config print --config livelog.toml   what is in force, and where it comes from
  livelog config print --port 9000             with the options that serve would get

print shows no secrets. check and print exit with 2 for settings that a server would refuse; files
that they name, such as certificates and keys, are read by the server only.
"""
_WIDTH = 98


def main(arguments: Sequence[str]) -> int:
    """Carry out the command, and return the exit code."""
    rest = [*arguments[1:]]
    try:
        if rest[:1] == ["print"]:
            return printed(_in_force(serve.make_parser("config print"), rest[1:]))
        given = make_parser(arguments[0]).parse_args(rest)
        text: str = given.act(given)
        return printed(text)
    except ConfigError as wrong:
        say(str(wrong))
        return WRONG_USAGE


def _in_force(parser: Parser, arguments: Sequence[str]) -> str:
    """Return the settings of a server with these options, each with its source."""
    flags = vars(parser.parse_args(arguments))
    file = flags.pop("config", None) or environment.config_file(os.environ)
    config = load(flags, os.environ, file)
    sources = {
        **dict.fromkeys(read_file(file) if file else (), str(file)),
        **environment.sources(os.environ, flags),
        **{name: flag(name) for name in flags},
    }
    return "".join(f"{line}\n" for line in _settings(config, sources))


def _settings(config: Config, sources: Mapping[str, str]) -> Iterator[str]:
    given = config.given
    lines = {name: f"{name} = {shown(each, given.get(name))}" for name, each in OPTIONS.items()}
    width = max(map(len, lines.values()), default=0)
    for name, line in lines.items():
        # A setting may follow from another, as the store does from the sample traffic.
        source = sources.get(name, "follows from others" if name in given else "default")
        yield f"{line:{min(width, 40)}}  # {source}"


def _check(given: argparse.Namespace) -> str:
    load({}, {}, given.file)
    return f"{given.file} is good: {len(read_file(given.file))} settings\n"


def _example(given: argparse.Namespace) -> str:
    lines = ["# Settings of livelog: `livelog --config livelog.toml`. Every line is its default."]
    group = ""
    for name, option in OPTIONS.items():
        if option.group != group:
            group = option.group
            lines += ["", f"# {serve.TITLES[group]}"]
        meaning = textwrap.wrap(option.description, _WIDTH)
        lines += ["", *(f"# {line}" for line in meaning), f"#{name} = {shown(option, None)}"]
    return "\n".join([*lines, ""])


def make_parser(name: str) -> Parser:
    """Make the parser of `config`."""
    parser = Parser(
        prog=f"livelog {name}",
        description="Check, show or begin a configuration of the server.",
        epilog=_EXAMPLES,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("print", help="Show the settings in force, and where each comes from.")
    check = commands.add_parser("check", help="Check a TOML file of settings.")
    check.add_argument("file", metavar="FILE", help="The file.")
    check.set_defaults(act=_check)
    example = commands.add_parser("example", help="Write a commented TOML file.")
    example.set_defaults(act=_example)
    return parser
