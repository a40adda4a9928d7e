"""`livelog engine`: how a log that many servers share is, and what an operator does to it."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec

from livelog.cli.exit import FAILED, WRONG_USAGE, Failure, outcome, say
from livelog.cli.format import counted, print_json
from livelog.cli.options import Parser
from livelog.cli.sanitize import sanitized
from livelog.config.address import SharedLog, shared_log
from livelog.errors import ConfigError, installing
from livelog.store.archive import Archive, open_archive
from livelog.store.database.key import read_key

if TYPE_CHECKING:
    from livelog.engine.nats.status import Status

_EXAMPLES = """\
examples:
  livelog engine status nats://n1,n2,n3/prod          the servers, the stream, and what is wrong
  livelog engine status nats://n1,n2,n3/prod --json | jq .wrong
  livelog engine heal nats://n1,n2,n3/prod --store node1.db
  livelog engine import livelog.db nats://n1,n2,n3/prod

status exits with 0 when all is well, and with 1 when something is wrong.
heal restores what the brokers had acknowledged and lost, from the store of the
server that has most of it. Stop that server first, and start it again
afterwards; the others go on by themselves. It needs the permission to change
the stream.
import makes the stream of a log that goes on behind the store of a single server,
whose messages keep their seqs: start the first server with that store.
"""


def main(arguments: Sequence[str]) -> int:
    """Carry out a command on a shared log, and return the exit code."""
    given = make_parser(arguments[0]).parse_args(arguments[1:])
    if find_spec("nats") is None:
        say(f"needs the extra: {installing('nats')}")
        return WRONG_USAGE
    from livelog.engine.nats.credentials import credentials

    try:
        credentials(given.engine_creds)
    except ConfigError as wrong:
        say(str(wrong))
        return WRONG_USAGE
    return outcome(lambda: given.act(given))


def _status(given: argparse.Namespace) -> int:
    from livelog.engine.nats.status import look

    status = asyncio.run(look(given.log, given.engine_creds))
    if given.json:
        nodes = [node._asdict() for node in status.nodes]
        print_json({**msgspec.structs.asdict(status), "nodes": nodes})
    else:
        for line in _lines(status):
            print(sanitized(line))
    return FAILED if status.wrong else 0


def _heal(given: argparse.Namespace) -> int:
    from livelog.engine.nats.heal import heal
    from livelog.engine.nats.stream import AwayError

    with _archive(given) as archive:
        try:
            healed = asyncio.run(heal(given.log, given.engine_creds, archive))
        except AwayError as error:
            raise Failure(f"{error}; run it again, it goes on where it was") from None
    if archive.damaged:
        say(f"{archive.damaged} messages in {given.store} are damaged, and were passed over")
    if healed.repeated is not None:
        print(f"{healed.repeated} acts of moderators were repeated, for servers that were away")
    if not healed.last:
        print(f"the stream has all that {given.store} has")
        return 0
    acts = f" and {counted(healed.acts, 'act')} of moderators" if healed.acts else ""
    what = f"{counted(healed.messages, 'message')}{acts}"
    print(f"{what} were restored, from seq {healed.first} to {healed.last}")
    print("start the server of this store again; the others go on by themselves")
    return 0


def _import(given: argparse.Namespace) -> int:
    from livelog.engine.nats.adopt import adopt
    from livelog.engine.nats.stream import AwayError

    with _archive(given) as archive:
        try:
            base = asyncio.run(adopt(given.log, given.engine_creds, archive, time.time()))
        except AwayError as error:
            raise Failure(str(error)) from None
    print(f"log {given.log.name} goes on behind {given.store}; new seqs are above {base}")
    print("start the first server with this store and --engine, others with new ones")
    return 0


def _archive(given: argparse.Namespace) -> AbstractContextManager[Archive]:
    key = read_key(given.store_key_file) if given.store_key_file else b""
    return open_archive(given.store, key)


def _lines(status: Status) -> Iterator[str]:
    """Return the status as lines for people."""
    stream = status.stream
    yield f"log {status.log}"
    if stream is not None:
        yield f"  stream   {stream.name}, {stream.entries} batches, {stream.bytes} bytes"
        yield f"  seqs     {stream.first_seq} to {stream.last_seq}"
        yield f"  leader   {stream.leader or 'none'}"
    for replica in () if stream is None else stream.replicas:
        state = "offline" if replica.offline else "current" if replica.current else "behind"
        yield f"  replica  {replica.name}, {state}, {replica.behind} entries behind"
    for node in status.nodes:
        yield (
            f"  node     {node.name}, version {node.version}, seq {node.seq}, lag {node.lag:.1f} s,"
            f" {counted(node.connections, 'connection')}, heard {node.age:.1f} s ago"
        )
    for note in status.notes:
        yield f"note: {note}"
    for issue in status.wrong:
        yield f"wrong: {issue}"
    if not status.wrong:
        yield "all is well"


def _log(text: str) -> SharedLog:
    try:
        return shared_log(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: {error}") from None


def make_parser(name: str) -> Parser:
    """Make the parser of `engine`."""
    parser = Parser(
        prog=f"livelog {name}",
        description="Look at a log that many servers share, and care for it.",
        epilog=_EXAMPLES,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="Print servers, stream, and what is wrong.")
    status.add_argument("--json", action="store_true", help="Print one line of JSON.")
    status.set_defaults(act=_status)
    heal = commands.add_parser("heal", help="Restore what the brokers have lost, from a store.")
    heal.add_argument(
        "--store", metavar="FILE", required=True, help="Store of a server that is not running."
    )
    heal.set_defaults(act=_heal)
    adopt = commands.add_parser("import", help="Let a log go on behind a single server's store.")
    adopt.add_argument("store", metavar="STORE", help="Store of the server, which is not running.")
    adopt.set_defaults(act=_import)
    for command in (status, heal, adopt):
        _add_log(command)
    for command in (heal, adopt):
        command.add_argument(
            "--store-key-file", metavar="FILE", help="File with the key, if the store is encrypted."
        )
    return parser


def _add_log(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "log", metavar="URL", type=_log, help="Brokers and name of the log: nats://HOST:PORT/NAME."
    )
    parser.add_argument(
        "--engine-creds",
        metavar="FILE",
        default="",
        help="Credentials for the brokers: a .creds file, or the seed of an nkey.",
    )
