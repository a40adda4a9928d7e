"""The settings of the stream: what the first node asks for, and what no node can do without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livelog.engine.nats import batch
from livelog.wire.seqclock import LATEST_BEGIN

VERSION = "1"
"""Of the rules by which a stream becomes a log."""

SPAN_SECONDS = 900
"""Seconds within which an id that comes again is a repetition: clients send again for ten minutes.
"""

_DAYS = 7
_NANOSECONDS = 10**9
_PREFIX = "livelog."
"""Of the keys in the stream's metadata."""

_LEAST_DUPLICATES = 30 * _NANOSECONDS
"""Time for which the broker has to know an entry's id: three times that for which it is sent again.
"""

HEAD_BYTES = 4096
"""Bytes that the broker needs for the headers of an entry, and more."""


def stream_of(name: str) -> str:
    """Return the name of the stream of the log called `name`."""
    return f"LIVELOG_{name}"


def subject_of(name: str) -> str:
    """Return the subject to which batches are published."""
    return f"livelog.{name}.log"


def live_of(name: str) -> str:
    """Return the subject on which committed batches come."""
    return f"livelog.{name}.live"


def nodes_of(name: str) -> str:
    """Return the subject on which nodes say how they are."""
    return f"livelog.{name}.nodes"


def inbox_of(name: str) -> str:
    """Return the prefix of the subjects on which a node is answered."""
    return f"livelog.{name}.inbox"


def wanted(name: str, now: float, replicas: int) -> dict[str, Any]:
    """Return the configuration of a new stream, made at `now` in Unix seconds."""
    base = min(int(now * 1_000_000), LATEST_BEGIN)
    return {
        "name": stream_of(name),
        "num_replicas": replicas,
        "max_age": _DAYS * 86_400 * _NANOSECONDS,
        "duplicate_window": 120 * _NANOSECONDS,
        "metadata": {
            f"{_PREFIX}version": VERSION,
            f"{_PREFIX}base": str(base),
            f"{_PREFIX}span": str(SPAN_SECONDS),
        },
        **_fixed(name),
    }


def _fixed(name: str) -> dict[str, Any]:
    """Return the settings that are as they are; the others may be changed by an operator."""
    return {
        "subjects": [subject_of(name)],
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "allow_direct": True,
        "deny_purge": True,
        "allow_rollup_hdrs": False,
        "republish": {"src": subject_of(name), "dest": live_of(name)},
    }


def unfit(name: str, config: Mapping[str, Any]) -> str:
    """Return what a stream with this configuration lacks, empty if it is one for the log `name`."""
    for setting, value in _fixed(name).items():
        if config.get(setting, False) != value:
            return f"{setting} is {config.get(setting)!r}, not {value!r}"
    least = batch.MAX_BYTES + HEAD_BYTES
    if -1 < config.get("max_msg_size", -1) < least:
        return f"max_msg_size is below {least}"
    if config.get("duplicate_window", 0) < _LEAST_DUPLICATES:
        return f"duplicate_window is below {_LEAST_DUPLICATES // _NANOSECONDS} s"
    if _metadata(config, "version") != VERSION:
        return f"its version is {_metadata(config, 'version')!r}, this livelog knows {VERSION!r}"
    if not (_metadata(config, "base").isdigit() and _metadata(config, "span").isdigit()):
        return "its metadata has no base and span"
    return ""


def base_and_span(config: Mapping[str, Any]) -> tuple[int, int]:
    """Return the base of the seqs, and the span in microseconds, of a stream that fits."""
    return int(_metadata(config, "base")), int(_metadata(config, "span")) * 1_000_000


def _metadata(config: Mapping[str, Any], key: str) -> str:
    return str((config.get("metadata") or {}).get(f"{_PREFIX}{key}", ""))
