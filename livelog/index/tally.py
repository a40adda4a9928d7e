"""Stand-in until the analysis is merged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
from pyroaring import BitMap

from livelog.index.plan import Read, Steps


@dataclass
class Tally:
    """Messages counted by the values of a field."""

    total: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    incomplete: bool = False


def tally_of(index: Any, name: str, found: BitMap, read: Read) -> Steps[Tally]:
    """Count."""
    tally = Tally(len(found))
    for position in found:
        payload = read(position)
        value = msgspec.json.decode(payload).get(name) if payload else None
        if isinstance(value, str):
            tally.counts[value] += 1
        else:
            tally.missing += 1
        yield
    return tally
