"""`livelog keys`: create, list and revoke API keys. A running server notices within a second."""

from __future__ import annotations

import argparse
import os
import secrets
import time
from collections.abc import Callable, Sequence

from livelog.auth import apikeys, keyfile
from livelog.auth.principal import SCOPES
from livelog.cli.exit import Failure, outcome, say
from livelog.cli.options import Parser
from livelog.wire.timestamps import timestamp

_EXAMPLES = """\
examples:
  livelog keys create --api-keys keys.json --owner bot_1 --scopes 'read publish'
  livelog keys list --api-keys keys.json
  livelog keys revoke --api-keys keys.json 3f9a01c2
  livelog serve --api-keys keys.json

A key is shown once, when it is created; the file contains only its hash. The
variable LIVELOG_API_KEYS can name the file, too.
"""
_DAY = 86_400


def main(arguments: Sequence[str]) -> int:
    """Carry out a command on the file of keys, and return the exit code."""
    given = make_parser(arguments[0]).parse_args(arguments[1:])
    act: Callable[[argparse.Namespace], None] = given.act

    def run() -> int:
        try:
            act(given)
        except (ValueError, OSError) as error:
            raise Failure(str(error)) from None
        return 0

    return outcome(run)


def _create(given: argparse.Namespace) -> None:
    now = time.time()
    expires = now + given.days * _DAY if given.days else None
    words = given.scopes.replace(",", " ").split(" ")  # a no-break space is a part of its word
    scopes = list(dict.fromkeys(filter(None, words)))
    with keyfile.changing(given.api_keys) as keys:
        taken = True
        while taken:  # ids are short, and a key must not replace another one
            random = secrets.token_bytes(apikeys.RANDOM_BYTES)
            secret, kept = apikeys.make(random, given.owner, scopes, timestamp(now), expires)
            taken = kept.id in keys
        keys[kept.id] = kept
    print(secret, flush=True)
    say(f"key {kept.id} of {kept.owner}: {' '.join(kept.scopes)}; it is not shown again")


def _known(file: str) -> None:
    """Raise `Failure` for a file that is not there: its name is likely mistyped."""
    if not os.path.exists(file):
        raise Failure(f"{file}: there is no such file; `livelog keys create` makes it")


def _list(given: argparse.Namespace) -> None:
    _known(given.api_keys)
    keys = keyfile.read(given.api_keys)
    print(f"{'id':8}  {'created':24}  {'expires':24}  owner: scopes")
    for key in keys.values():
        ends = timestamp(key.expires) if key.expires is not None else "never"
        print(f"{key.id:8}  {key.created:24}  {ends:24}  {key.owner}: {' '.join(key.scopes)}")


def _revoke(given: argparse.Namespace) -> None:
    _known(given.api_keys)
    with keyfile.changing(given.api_keys) as keys:
        if keys.pop(given.id, None) is None:
            raise Failure(f"unknown key {given.id} in {given.api_keys}")
    say(f"key {given.id} is revoked")


def make_parser(name: str) -> Parser:
    """Make the parser of `keys`."""
    made = Parser(
        prog=f"livelog {name}",
        description="Create, list and revoke API keys.",
        epilog=_EXAMPLES,
    )
    actions = made.add_subparsers(required=True, metavar="COMMAND")
    create = _action(actions, "create", _create, "Create a key.")
    create.add_argument(
        "--owner", required=True, metavar="USER", help="Id of the user the key authenticates."
    )
    create.add_argument(
        "--scopes",
        required=True,
        metavar="SCOPES",
        help=f"Scopes of the key, separated by spaces: {', '.join(SCOPES)}.",
    )
    create.add_argument(
        "--days",
        type=_days,
        default=0,
        metavar="DAYS",
        help="Days until the key expires (default: it does not expire).",
    )
    _action(actions, "list", _list, "List all keys, without the secrets.")
    revoke = _action(actions, "revoke", _revoke, "Revoke a key.")
    revoke.add_argument("id", metavar="ID", help="Id of the key, the first column of the list.")
    return made


def _action(
    actions: argparse._SubParsersAction[Parser],
    name: str,
    act: Callable[[argparse.Namespace], None],
    description: str,
) -> Parser:
    parser = actions.add_parser(name, help=description, description=description)
    file = os.environ.get("LIVELOG_API_KEYS", "").strip()
    parser.add_argument(
        "--api-keys",
        metavar="FILE",
        default=file or None,
        required=not file,
        help="File of API keys.",
    )
    parser.set_defaults(act=act)
    return parser


def _days(text: str) -> float:
    days = float(text)
    if not 0 < days <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is invalid: must be above 0, up to 100000")
    return days
