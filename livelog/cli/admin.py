"""`livelog admin`: commands of operators and moderators, over HTTP.

The options of each command are made from the struct of its fields, so they cannot disagree with
what the server takes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import getdoc
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from livelog.cli import options
from livelog.cli.exit import FAILED, Failure, outcome, say
from livelog.cli.format import print_json
from livelog.cli.sanitize import sanitized
from livelog.client.errors import Lost, unreachable
from livelog.client.httpreader import HttpReader
from livelog.client.url import listed
from livelog.wire import validation
from livelog.wire.admin import ADMIN, AdminCommand
from livelog.wire.events import AdminResult

_EXAMPLES = """\
  livelog admin connections --user-id u1
  livelog admin disconnect --user-id u1 --reason 'please calm down' --no-reconnect
  livelog admin connections --sort behind --json | jq .result
  livelog admin redact --where 'gold -channel:trade' --reason spam

The server needs authentication; the key or token needs the scope moderate or admin.
Fields of a command: livelog admin COMMAND --help.
"""


class _Asked(NamedTuple):
    """A command that cannot be taken back, and is asked about: a dry run goes before it."""

    about: str
    """Field that says what is meant; without it nothing is asked."""
    yes: str
    """Help of the option that answers."""
    question: str
    undone: str
    needs_numbers: bool
    """The command itself has to name what the dry run has told."""


_ASKED: dict[str, _Asked] = {
    "redact": _Asked(
        about="where",
        yes="Redact what --where finds without a question.",
        question="messages that match: {count}; redact them for good? [y/N] ",
        undone="nothing was redacted",
        needs_numbers=True,
    ),
    # Without numbers: what the user writes while the question stands is erased as well.
    "erase": _Asked(
        about="user_id",
        yes="Erase without a question.",
        question="messages that name the user: {count}; erase the user for good? [y/N] ",
        undone="nothing was erased",
        needs_numbers=False,
    ),
}

_WIDEST = 41
"""Characters of the widest column of a table: as many as an id of a connection has, which other
commands take."""


def main(arguments: Sequence[str]) -> int:
    """Carry out a command and return the exit code."""
    given = make_parser(arguments[0]).parse_args(arguments[1:])
    return outcome(lambda: _carry_out(given))


def make_parser(name: str) -> options.Parser:
    """Make the parser of `admin`, with one of each command in it."""
    made = options.ClientParser(
        prog=f"livelog {name}",
        description="Carry out a command of an operator or a moderator.",
        epilog=f"examples:\n{_EXAMPLES}",
    )
    actions = made.add_subparsers(required=True, metavar="COMMAND")
    for command, shape in ADMIN.items():
        summary = (getdoc(shape) or "").partition("\n")[0]
        one: options.Parser = actions.add_parser(command, help=summary, description=summary)
        options.add_url(one)
        one.add_argument("--json", action="store_true", help="Print the answer as JSON.")
        for field in _fields(shape):
            _add_option(one, field)
        if command in _ASKED:
            one.add_argument("--yes", action="store_true", help=_ASKED[command].yes)
        one.set_defaults(command=command)
    return made


def _fields(shape: type[AdminCommand]) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(shape)
    assert isinstance(info, inspect.StructType)
    return info.fields


def _add_option(parser: options.Parser, field: inspect.Field) -> None:
    kind, help = _plain(field.type)
    name = field.encode_name.replace("_", "-")
    if isinstance(kind, inspect.BoolType):
        default = field.default is True
        flag = f"--no-{name}" if default else f"--{name}"
        shown = f"Do not {help[0].lower()}{help[1:]}" if default else help
        action = "store_false" if default else "store_true"
        parser.add_argument(flag, dest=field.encode_name, action=action, help=shown)
        return
    parser.add_argument(
        f"--{name}",
        action=_Once,
        dest=field.encode_name,
        type=_TYPES.get(type(kind), str),
        default=argparse.SUPPRESS,
        required=field.required,
        metavar=name.rpartition("-")[2].upper(),
        choices=kind.values if isinstance(kind, inspect.LiteralType) else None,
        help=help.replace("%", "%%"),
    )


class _Once(argparse.Action):
    """Takes one value: of two users in a command the first would be left out in silence."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Keep the value."""
        if hasattr(namespace, self.dest):
            raise argparse.ArgumentError(self, "is given twice; a command takes one")
        setattr(namespace, self.dest, values)


def _plain(kind: inspect.Type) -> tuple[inspect.Type, str]:
    """Return a type without its description, and the description."""
    if isinstance(kind, inspect.Metadata):
        return kind.type, str((kind.extra_json_schema or {}).get("description", ""))
    return kind, ""


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is invalid: must be a number") from None


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is invalid: must be a whole number") from None


_TYPES: dict[type[inspect.Type], Callable[[str], Any]] = {
    inspect.ListType: _listed,
    inspect.FloatType: _number,
    inspect.IntType: _whole_number,
}
"""Type of a field → how its option is read; all others are texts."""


def _carry_out(given: argparse.Namespace) -> int:
    shape = ADMIN[given.command]
    names = [field.encode_name for field in _fields(shape)]
    fields = {name: vars(given)[name] for name in names if name in vars(given)}
    if _must_be_seen(given, fields):
        fields |= _seen(given, fields)
    answer = ask(given.url, given.token, given.command, _body(shape, fields))
    if given.json:
        print_json(answer)
    else:
        _print(answer)
    # A reload that could not read something has kept the old settings.
    return FAILED if answer.result.get("failed") else 0


def _print(answer: AdminResult) -> None:
    for line in _lines(answer.result):
        print(line)
    for node, state in answer.nodes.items():
        if state != "ok":
            say(f"{node}: {state}")


def _body(shape: type[AdminCommand], fields: Mapping[str, Any]) -> bytes:
    """Return the fields as JSON. Raises `RefusedError`."""
    try:
        return msgspec.json.encode(msgspec.convert(fields, shape, strict=False))
    except msgspec.ValidationError as error:
        raise validation.refusal(error, shape, {**fields}) from None


def _must_be_seen(given: argparse.Namespace, fields: Mapping[str, Any]) -> bool:
    """Return whether to make the dry run that goes before what cannot be taken back.

    Raises `Failure` where nobody could be asked about it.
    """
    asked = _ASKED.get(given.command)
    if asked is None or asked.about not in fields or fields["dry_run"] or "count" in fields:
        return False
    if given.yes:
        return asked.needs_numbers
    if not sys.stdin.isatty():
        raise Failure(
            f"{given.command} asks on a terminal only: --yes answers, or --dry-run shows the count"
            " and upto_seq to give"
        )
    return True


def _seen(given: argparse.Namespace, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the command has to tell of its dry run, once the reader of that agrees.

    Raises `Failure` otherwise.
    """
    asked = _ASKED[given.command]
    body = _body(ADMIN[given.command], {**fields, "dry_run": True})
    seen = ask(given.url, given.token, given.command, body).result
    # Where no message is found there is nothing to redact, but acts may name a user.
    if not given.yes and (seen["count"] or not asked.needs_numbers):
        print(asked.question.format(count=seen["count"]), end="", file=sys.stderr)
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Failure(asked.undone)
    return {name: seen[name] for name in ("count", "upto_seq") if asked.needs_numbers}


def ask(url: str, token: str | None, command: str, body: bytes) -> AdminResult:
    """Give a command to the first server of a list that answers.

    Raises `RefusedError` and `UnreachableError`.
    """
    missed: list[str] = []
    answered = False
    for each in listed(url) or [url]:
        reader = HttpReader(each, token)
        try:
            return msgspec.json.decode(reader.post(f"/api/admin/{command}", body), type=AdminResult)
        except Lost as lost:
            missed.append(f"{each}: {lost}")
            answered = answered or lost.loss.answered
        except msgspec.DecodeError:
            raise Failure("the answer is not that of a livelog server") from None
        finally:
            reader.close()
    raise unreachable(missed, answered=answered)


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Return a result as text: its lists of objects as tables, all else one field a line."""
    for name, value in result.items():
        if isinstance(value, list) and all(isinstance(each, dict) for each in value):
            yield from _table(value)
        else:
            yield f"{name}: {_cell(value)}"


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_cut(_cell(row.get(name))) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells if rows else []:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield line.rstrip()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return sanitized(text)


def _cut(text: str) -> str:
    encoding = sys.stdout.encoding or "ascii"
    end = "…" if encoding.lower().startswith("utf") else "~"
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}{end}"
