"""`livelog completion`: the words that a shell completes, made from the parsers of all commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import NamedTuple

from livelog.cli.exit import printed
from livelog.cli.options import Parser

_EXAMPLES = """\
examples:
  source <(livelog completion bash)                    in ~/.bashrc
  source <(livelog completion zsh)                     in ~/.zshrc, behind compinit
  livelog completion fish > ~/.config/fish/completions/livelog.fish
"""
_BASH = """\
_livelog() {
    local word=${COMP_WORDS[COMP_CWORD]} words= place="${COMP_WORDS[*]:1:COMP_CWORD-1}"
    case "$place " in
%s
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    [ ${#COMPREPLY[@]} -gt 0 ] || compopt -o default 2>/dev/null
}
complete -F _livelog livelog
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


class Command(NamedTuple):
    """The words of a command, and those that can stand behind it."""

    path: tuple[str, ...]
    """The words of the command: ("store", "check"); none for the first word of all."""
    words: dict[str, str]
    """Command or option → what it is."""


def main(arguments: Sequence[str]) -> int:
    """Print the script of a shell, and return the exit code."""
    given = make_parser(arguments[0]).parse_args(arguments[1:])
    return printed(_SCRIPTS[given.shell](list(commands())))


def make_parser(name: str) -> Parser:
    """Make the parser of `completion`."""
    made = Parser(
        prog=f"livelog {name}",
        description="Print a script that lets a shell complete commands and options.",
        epilog=_EXAMPLES,
    )
    made.add_argument(
        "shell", choices=tuple(_SCRIPTS), metavar="SHELL", help="One of bash, zsh and fish."
    )
    return made


def commands() -> Iterator[Command]:
    """Yield every command with what can stand behind it, the longest paths first."""
    from livelog.cli import COMMANDS

    yield from (
        command
        for name, module in COMMANDS.items()
        for command in _below((name,), import_module(f"livelog.cli.{module}").make_parser(name))
    )
    yield Command((), dict.fromkeys(COMMANDS, "") | {"--help": "", "--version": ""})


def _below(path: tuple[str, ...], parser: argparse.ArgumentParser) -> Iterator[Command]:
    words = {}
    for action in parser._actions:  # argparse has no other list of them
        if isinstance(action, argparse._SubParsersAction):
            for name, made in action.choices.items():
                yield from _below((*path, name), made)
                words[name] = ""
        for option in action.option_strings:
            if option.startswith("--"):
                words[option] = action.help or ""
    yield Command(path, words)


def _bash(found: list[Command]) -> str:
    cases = "\n".join(
        f"        {_pattern(path)}) words='{' '.join(words)}' ;;" for path, words in found
    )
    return _BASH % cases


def _pattern(path: tuple[str, ...]) -> str:
    """Return the pattern of a command line that begins with these words."""
    return f'"{" ".join(path)} "*' if path else "*"


def _zsh(found: list[Command]) -> str:
    return _ZSH + _bash(found)


def _fish(found: list[Command]) -> str:
    return "".join(_fish_lines(found))


def _fish_lines(found: list[Command]) -> Iterator[str]:
    for path, words in found:
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in path)
        when = seen or "__fish_use_subcommand"
        for word, text in words.items():
            kind = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
            said = text.replace("\\", "\\\\").replace("'", "\\'")
            yield f"complete -c livelog -n '{when}' {kind} -d '{said}'\n"


_SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
