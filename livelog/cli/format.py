"""Messages as lines of text, one each, in colour on a terminal, or as JSON.

The text of a message comes from a table: type → a function of its fields. Colour needs the `cli`
extra (rich) and a terminal; without either the same lines are plain. Times are local, with their
distance from UTC. JSON is UTF-8 whatever the locale, since a program reads it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import msgspec

from livelog.cli.sanitize import sanitized
from livelog.errors import RefusedError
from livelog.wire.stubs import Received, Stub
from livelog.wire.timestamps import parse_moment

STYLES = {
    "user": "green",
    "system": "yellow",
    "dm": "magenta",
    "raid": "red",
    "party": "cyan",
    "guild": "blue",
}
"""Type → colour."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Printer = Callable[[Received], None]


def printer(*, as_json: bool, with_seq: bool = False) -> Printer:
    """Return a function that prints a message to stdout."""
    if as_json:
        return print_json
    coloured = _coloured() if sys.stdout.isatty() else None

    def print_line(message: Received) -> None:
        seq = f"{message.seq:<16}  " if with_seq else ""
        kind = str(message.__struct_config__.tag)
        parts = (f"{seq}{time_of(message.timestamp)}  ", f"{kind:<6}", f"  {text(message)}")
        if coloured is None:
            print(*parts, sep="", flush=True)
        else:
            coloured(parts, STYLES[kind])

    return print_line


def print_header() -> None:
    """Print the names of the columns that `with_seq` makes, on a terminal only."""
    if sys.stdout.isatty():
        print(f"{'SEQ':<16}  {'TIME':<25}  {'TYPE':<6}  TEXT")


def counted(count: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "message"), counted(2, "message")
    ('1 message', '2 messages')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def print_json(item: object) -> None:
    """Print a message, an event or counts as one line of JSON, in UTF-8."""
    sys.stdout.buffer.write(sanitized(msgspec.json.encode(item).decode()).encode() + b"\n")
    sys.stdout.buffer.flush()


def text(message: Received) -> str:
    """Return the text of a message, on one line and sanitized."""
    if isinstance(message, Stub):
        return sanitized(f"[redacted: {message.reason}]" if message.reason else "[redacted]")
    return sanitized(_TEXTS[str(message.__struct_config__.tag)](message))


def _coloured() -> Callable[[tuple[str, str, str], str], None] | None:
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:  # without the extra
        return None
    console = Console(highlight=False)

    def print_coloured(parts: tuple[str, str, str], style: str) -> None:
        before, kind, after = parts
        # Assembled of parts, because the text of a message could contain rich's own markup.
        line = Text.assemble((before, "dim"), (kind, style), after)
        console.print(line, soft_wrap=True)

    return print_coloured


def time_of(timestamp: str, zone: tzinfo | None = None) -> str:
    """Format a timestamp in a time zone, by default the local one, to the second."""
    try:
        since = timedelta(microseconds=parse_moment(timestamp, "timestamp"))
        moment = (_EPOCH + since).astimezone(zone)
    except (RefusedError, OverflowError, OSError):  # a server in error, or a year beyond Python's
        return sanitized(timestamp)
    return moment.isoformat(" ", "seconds")


def _user(message: Any) -> str:
    channel = message.metadata.get("channel")
    place = f"[{channel}] " if isinstance(channel, str) else ""
    return f"{place}{message.username}: {message.content}"


def _system(message: Any) -> str:
    return f"{message.event} ({message.severity}){_free(message.data)}"


def _direct(message: Any) -> str:
    return f"{message.from_username} → {message.to_user_id}: {message.content}"


def _raid(message: Any) -> str:
    health = message.health_percentage
    left = "" if health is None else f", {health:g} % left"
    where = f"{message.raid_name} ({message.difficulty})"
    return f"{where}: {message.status} against {message.boss_name}{left}"


def _party(message: Any) -> str:
    who = f"{message.leader_name}'s party of {message.member_count}"
    return f"{who}: {message.event}{_free(message.event_data)}"


def _guild(message: Any) -> str:
    return f"{message.guild_name}: {message.event}{_free(message.event_data)}"


def _free(data: dict[str, Any]) -> str:
    """Format a free object; an empty one is left out."""
    return f" {msgspec.json.encode(data).decode()}" if data else ""


_TEXTS: dict[str, Callable[[Any], str]] = {
    "user": _user,
    "system": _system,
    "dm": _direct,
    "raid": _raid,
    "party": _party,
    "guild": _guild,
}
