"""`livelog store`: keys and encryption of a store. It works on files that no server uses."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from livelog.cli.exit import WRONG_USAGE, say
from livelog.cli.options import Parser
from livelog.errors import ConfigError
from livelog.store.database.key import make_key, read_key
from livelog.store.rekey import change_key

_EXAMPLES = """\
examples:
  livelog store newkey live.key                   create a key that only you can read
  livelog --store-key-file live.key               serve from an encrypted store
  livelog store encrypt livelog.db --store-key-file live.key
  livelog store rekey livelog.db --store-key-file live.key --new-key-file new.key

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


def make_parser(name: str) -> Parser:
    """Make the parser of `store`."""
    parser = Parser(
        prog=f"livelog {name}",
        description="Create encryption keys, encrypt a store or change its key.",
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
    rekey.add_argument(
        "--new-key-file", metavar="FILE", required=True, help="File with the new key of the store."
    )
    return parser
