"""`livelog store`: the key of an encrypted store. It works on files that no server uses."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from livelog.errors import ConfigError
from livelog.store.database.key import make_key, read_key
from livelog.store.rekey import change_key

_EXAMPLES = """\
examples:
  livelog store newkey live.key                   a random key, readable by you only
  livelog --store-key-file live.key               a server whose store is encrypted
  livelog store encrypt livelog.db --store-key-file live.key
  livelog store rekey livelog.db --store-key-file live.key --new-key-file new.key

encrypt and rekey write the store anew, which takes as much room again, while no
server uses it. Without its key a store cannot be read by anybody: keep a copy.
"""

_WRONG_USAGE = 2


def main(arguments: Sequence[str]) -> int:
    """Make a key, or use one; returns the exit code."""
    given = _parser().parse_args(arguments[1:])
    try:
        print(given.act(given))
    except ConfigError as wrong:
        print(f"livelog: {wrong}", file=sys.stderr)
        return _WRONG_USAGE
    return 0


def _make(given: argparse.Namespace) -> str:
    make_key(given.file)
    return f"{given.file} holds a new key; keep a copy of it where the store is not"


def _encrypt(given: argparse.Namespace) -> str:
    change_key(given.path, b"", read_key(given.store_key_file))
    return (
        f"{given.path} is encrypted; what was copied of it before is not,"
        " and the disk may still hold what has been replaced"
    )


def _rekey(given: argparse.Namespace) -> str:
    key = read_key(given.store_key_file)
    new_key = read_key(given.new_key_file, "--new-key-file")
    if new_key == key:
        raise ConfigError(f"--new-key-file {given.new_key_file}: is the key it has already")
    change_key(given.path, key, new_key)
    return f"{given.path} has the key of {given.new_key_file}; its old copies have the old one"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="livelog store",
        description="The key of an encrypted store.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="newkey | encrypt | rekey")
    make = commands.add_parser("newkey", help="make a key file")
    make.add_argument("file", metavar="FILE", help="where to put it; must not exist")
    make.set_defaults(act=_make)
    encrypt = commands.add_parser("encrypt", help="encrypt a store that is not")
    rekey = commands.add_parser("rekey", help="change the key of an encrypted store")
    for made, act in ((encrypt, _encrypt), (rekey, _rekey)):
        made.add_argument("path", metavar="PATH", help="the store, as a server's --store names it")
        made.add_argument("--store-key-file", metavar="FILE", required=True, help="the key")
        made.set_defaults(act=act)
    rekey.add_argument("--new-key-file", metavar="FILE", required=True, help="the one it gets")
    return parser
