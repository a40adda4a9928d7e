"""`livelog store`: the check, backup and copy of a store, its keys and its encryption."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import count

from livelog.cli import options
from livelog.cli.exit import FAILED, WRONG_USAGE, Failure, explained, say
from livelog.cli.format import counted
from livelog.cli.options import Parser
from livelog.cli.sanitize import sanitized
from livelog.client.errors import Lost
from livelog.client.http import Unavailable
from livelog.client.httpreader import HttpReader
from livelog.client.url import shown
from livelog.errors import ConfigError, RefusedError
from livelog.store.backup import back_up, left_over, restore
from livelog.store.check import Check
from livelog.store.copy import copy_log
from livelog.store.database.key import make_key, read_key
from livelog.store.rekey import change_key

_EXAMPLES = """\
examples:
  livelog store newkey live.key                   create a key that only you can read
  livelog --store-key-file live.key               serve from an encrypted store
  livelog store encrypt livelog.db --store-key-file live.key
  livelog store rekey livelog.db --store-key-file live.key --new-key-file new.key
  livelog store check livelog.db                  read everything, and list what is damaged
  livelog store backup livelog.db monday.db       copy a store, also one in use
  livelog store restore monday.db livelog.db      make a store of a backup
  livelog store copy ws://n1:8000 node2.db        give a new server of a shared log the past

check and backup only read, also beside a running server; they exit with 1 for a
damaged store. A restored store tells clients of a gap behind its backup.
copy needs a key with the scope replicate; interrupted, it goes on when run again.
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
    check, damage = Check(given.path, _key(given)), 0
    for finding in check.findings():
        damage += 1
        print(sanitized(finding))
    for note in check.notes:
        print(note)
    counts = f"{counted(check.messages, 'message')} checked"
    if check.unchecked:
        counts += f", {check.unchecked} of them without a checksum (from an earlier version)"
    if damage:
        raise Failure(f"{given.path} is damaged, see above: {counts}")
    return f"{given.path} is good: {counts}"


def _backup(given: argparse.Namespace) -> str:
    copied = back_up(given.path, given.target, _key(given))
    for path in left_over(given.target):
        say(f"{path}: is what a killed backup has left; remove it")
    upto = f"{counted(copied.messages, 'message')} up to seq {copied.last_seq}"
    if copied.damaged:
        issue = f"{copied.damaged} of them are damaged and stay so; see `livelog store check`"
        raise Failure(f"{given.target} has {upto}: {issue}")
    return f"{given.target} has {upto}"


def _restore(given: argparse.Namespace) -> str:
    restored = restore(given.backup, given.path, _key(given), time.time())
    upto = f"{counted(restored.messages, 'message')} up to seq {restored.last_seq}"
    return f"{given.path} has {upto}; clients are told of a gap behind them"


def _copy(given: argparse.Namespace) -> str:
    reader = HttpReader(given.url, given.token)

    def get(path: str) -> bytes:
        """Ask, again where the server is busy or limits requests."""
        for tried in count():
            try:
                return reader.get(path)
            except Lost as lost:
                if tried >= _TRIES or not isinstance(lost, Unavailable):
                    again = "run it again, it goes on from there"
                    raise Failure(f"{shown(given.url)}: {lost}; {again}") from None
                time.sleep(_PAUSE if lost.loss.wait is None else lost.loss.wait)
        raise AssertionError

    with closing(reader):
        try:
            copied = copy_log(get, given.target, _key(given))
        except RefusedError as refused:
            raise Failure(f"{shown(given.url)}: {explained(refused)}") from None
    return f"{given.target} has {counted(copied.messages, 'message')} up to seq {copied.last_seq}"


_TRIES, _PAUSE = 20, 1.0
"""Requests that are repeated, and the seconds before that unless the server names others."""


def _key(given: argparse.Namespace) -> bytes:
    return read_key(given.store_key_file) if given.store_key_file else b""


def make_parser(name: str) -> Parser:
    """Make the parser of `store`."""
    parser = Parser(
        prog=f"livelog {name}",
        description="Check, back up, copy or encrypt a store; create or change its key.",
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
    for command, act, text, files in _ON_WHOLE_STORES:
        made = commands.add_parser(command, help=text)
        for name, metavar, meaning in files:
            kind = options.url if name == "url" else str
            made.add_argument(name, metavar=metavar, help=meaning, type=kind)
        if command == "copy":
            options.add_token(made)
        made.add_argument(
            "--store-key-file", metavar="FILE", help="File with the key, if the store is encrypted."
        )
        made.set_defaults(act=act)
    return parser


_STORE = ("path", "STORE", "File of the store, as given to `serve --store`.")
_ON_WHOLE_STORES = (
    ("check", _check, "Read everything in a store; list what is damaged.", (_STORE,)),
    (
        "backup",
        _backup,
        "Copy a store, also one in use, to a file of its own.",
        (_STORE, ("target", "TARGET", "File to create; it must not exist.")),
    ),
    (
        "restore",
        _restore,
        "Make a store of a backup.",
        (
            ("backup", "BACKUP", "File that `backup` has made."),
            ("path", "STORE", "File of the store to create; it must not exist."),
        ),
    ),
    (
        "copy",
        _copy,
        "Copy the log of a running server, over its HTTP door.",
        (
            ("url", "URL", "Address of the server, such as ws://n1:8000/ws/live-log."),
            ("target", "TARGET", "File to create; it must not exist."),
        ),
    ),
)
"""Command, its function, its help, and its files: name, metavar and help of each."""
