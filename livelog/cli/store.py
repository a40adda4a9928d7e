"""`livelog store`: the check of a store, its keys and its encryption."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from livelog.cli.exit import FAILED, WRONG_USAGE, Failure, say
from livelog.cli.options import Parser
from livelog.cli.sanitize import sanitized
from livelog.errors import ConfigError
from livelog.store.check import Check
from livelog.store.database.key import make_key, read_key
from livelog.store.rekey import change_key

_EXAMPLES = """\
examples:
  livelog store newkey live.key                   create a key that only you can read
  livelog --store-key-file live.key               serve from an encrypted store
  livelog store encrypt livelog.db --store-key-file live.key
  livelog store rekey livelog.db --store-key-file live.key --new-key-file new.key
  livelog store check livelog.db                  read everything, and list what is damaged

check only reads, also beside a running server; it exits with 1 for a damaged store.
encrypt and rekey write a new copy of the store, which needs as much space again,
while no server uses it. Without its key a store is lost: keep a copy of the key.
"""


def main(arguments: Sequence[str]) -> int:
    """Carry out a command on a store or a key, and return the exit code."""
    given = make_parser(arguments[0]).parse_args(arguments[1:])
    try:
        print(given.act(given))
    except ConfigError as wrong:
        say(str(wrong))
        return WRONG_USAGE
    except Failure as failed:
        say(str(failed))
        return FAILED
    return 0


def _make(given: argparse.Namespace) -> str:
    make_key(given.file)
    return f"{given.file} holds a new key; keep a copy of it away from the store"


def _encrypt(given: argparse.Namespace) -> str:
    change_key(given.path, b"", read_key(given.store_key_file))
    return (
        f"{given.path} is encrypted; earlier copies of it are not,"
        " and the disk may still hold the data that was replaced"
    )


def _rekey(given: argparse.Namespace) -> str:
    key = read_key(given.store_key_file)
    new_key = read_key(given.new_key_file, "--new-key-file")
    if new_key == key:
        raise ConfigError(f"--new-key-file {given.new_key_file}: is the present key of the store")
    change_key(given.path, key, new_key)
    return f"{given.path} has the key of {given.new_key_file}; earlier copies have the old key"


def _check(given: argparse.Namespace) -> str:
    key = read_key(given.store_key_file) if given.store_key_file else b""
    check, damage = Check(given.path, key), 0
    for finding in check.findings():
        damage += 1
        print(sanitized(finding))
    for note in check.notes:
        print(note)
    counts = f"{check.messages} messages checked"
    if check.unchecked:
        counts += f", {check.unchecked} of them without a checksum (from an earlier version)"
    if damage:
        raise Failure(f"{given.path} is damaged, see above: {counts}")
    return f"{given.path} is good: {counts}"


def make_parser(name: str) -> Parser:
    """Make the parser of `store`."""
    parser = Parser(
        prog=f"livelog {name}",
        description="Check a store; create encryption keys, encrypt a store or change its key.",
        epilog=_EXAMPLES,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    make = commands.add_parser("newkey", help="Create a key file.")
    make.add_argument("file", metavar="FILE", help="File to create; it must not exist.")
    make.set_defaults(act=_make)
    encrypt = commands.add_parser("encrypt", help="Encrypt a store that is not encrypted.")
    rekey = commands.add_parser("rekey", help="Change the key of an encrypted store.")
    for made, act, key in (
        (encrypt, _encrypt, "File with the key to encrypt the store with."),
        (rekey, _rekey, "File with the present key of the store."),
    ):
        made.add_argument(
            "path", metavar="STORE", help="File of the store, as given to `serve --store`."
        )
        made.add_argument("--store-key-file", metavar="FILE", required=True, help=key)
        made.set_defaults(act=act)
    check = commands.add_parser("check", help="Read everything in a store; list what is damaged.")
    check.add_argument(
        "path", metavar="STORE", help="File of the store, as given to `serve --store`."
    )
    check.add_argument(
        "--store-key-file", metavar="FILE", help="File with the key, if the store is encrypted."
    )
    check.set_defaults(act=_check)
    rekey.add_argument(
        "--new-key-file", metavar="FILE", required=True, help="File with the new key of the store."
    )
    return parser
