"""The settings of the stream: what the first node asks for, and what no node can do without."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from livelog.engine.nats import batch
from livelog.engine.nats.places import Rebase
from livelog.engine.nats.stream import Bounds
from livelog.wire.seqclock import LATEST_BEGIN
from livelog.wire.timestamps import parse_moment

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

_FORMS = {
    "rebased": re.compile(r"(\d{1,16}:\d{1,16}:\d{1,16}(,|$))*"),
    "imported": re.compile(r"\d{0,16}"),
    "began": re.compile(r"\d{0,16}"),
}
"""Key in the metadata that may be missing → what its value looks like."""

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


def adopted(base: int, began: int, last_seq: int) -> dict[str, str]:
    """Return the metadata of a stream that goes on behind a single server's log."""
    bounds = {"base": base, "began": began, "imported": last_seq}
    return {f"{_PREFIX}{key}": str(value) for key, value in bounds.items()}


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
    for key, form in _FORMS.items():
        if not form.fullmatch(_metadata(config, key)):
            return f"{key} in its metadata is {_metadata(config, key)!r}"
    return ""


def bounds_of(info: Mapping[str, Any]) -> Bounds:
    """Return the bounds of a stream that fits, from what the broker tells of it."""
    config, state, moment = info["config"], info["state"], info.get("ts")
    first = max(1, state["first_seq"])
    return Bounds(
        base=int(_metadata(config, "base")),
        span=int(_metadata(config, "span")) * 1_000_000,
        first=first,
        last=max(state["last_seq"], first - 1),
        certain=first,
        rebases=_rebases(_metadata(config, "rebased")),
        imported=int(_metadata(config, "imported") or 0),
        began=int(_metadata(config, "began") or 0),
        max_age=config.get("max_age", 0) // 1000,
        max_entries=_least(config, "max_msgs", "max_msgs_per_subject"),  # there is one subject
        max_bytes=_least(config, "max_bytes"),
        bytes=state.get("bytes", 0),
        now=parse_moment(moment, "ts") if moment else 0,
    )


def _least(config: Mapping[str, Any], *bounds: str) -> int:
    """Return the lowest of some bounds; 0 without any."""
    return min((config[bound] for bound in bounds if config.get(bound, 0) > 0), default=0)


def _rebases(text: str) -> tuple[Rebase, ...]:
    """Return the rebases in the metadata: `number:base:until`, with commas between."""
    return tuple(Rebase(*map(int, each.split(":"))) for each in text.split(",") if each)


def metadata_of(rebases: Sequence[Rebase]) -> str:
    """Return the rebases as they stand in the metadata."""
    return ",".join(":".join(map(str, rebase)) for rebase in rebases)


def _metadata(config: Mapping[str, Any], key: str) -> str:
    return str((config.get("metadata") or {}).get(f"{_PREFIX}{key}", ""))
