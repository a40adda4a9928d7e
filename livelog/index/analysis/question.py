"""The question of a tally, the messages it looks at, and its counts between processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from msgspec import Struct
from pyroaring import BitMap

from livelog.index.plan import Source
from livelog.index.where.fields import compared_as_id


class Question(Struct, frozen=True, array_like=True):
    """A question to be answered by counting; its fields are named as `values.field_named` does."""

    group_by: str = ""
    distinct: str = ""
    interval: int = 0
    """Microseconds; 0 without buckets."""
    zone: str = ""
    limit: int = 20

    @property
    def fields(self) -> list[str]:
        """The fields whose values are counted, each once."""
        return list(dict.fromkeys(filter(None, (self.group_by, self.distinct))))

    @property
    def spells(self) -> bool:
        """Tell whether messages may spell values of the groups in several ways."""
        return self.group_by not in ("", "type") and not compared_as_id(self.group_by)


class Part(NamedTuple):
    """Some of the matches, and how to look into them."""

    found: BitMap
    source: Source | None
    """The index of the messages; None where they have to be read."""
    messages: Callable[[BitMap], Iterable[tuple[int, bytes]]]
    """Return positions and messages; those that are gone are left out or empty."""
    place: Callable[[int], int]
    """Return the place of a position among all messages, which is above 0."""


class Counts(Struct, array_like=True):
    """A tally on its way between processes."""

    total: int
    missing: int
    interval: int
    starts: list[int]
    counts: list[int]
    too_many: str
    groups: list[bytes]
    distinct: list[bytes]
    """Some hundreds of values in each, lest the server take them in one piece."""
    touched: dict[int, bytes]
    spelled: dict[str, str]
