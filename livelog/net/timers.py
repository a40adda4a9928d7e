"""A timer wheel: one structure for the deadlines of all connections.

Deadlines are put into slots of `tick` seconds; one timer of the loop calls `expired` and gets the
items that are due. Setting, moving and dropping a deadline are each one set operation, however many
connections there are. An item has at most one deadline; it is never returned early, and at most one
tick late. The wheel reads no clock: `now` is passed in.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class TimerWheel(Generic[Item]):
    """Deadlines of hashable items, in slots of `tick` seconds."""

    def __init__(self, tick: float = 0.5) -> None:
        self.tick = tick
        self._slots: defaultdict[int, set[Item]] = defaultdict(set)
        self._slot_of: dict[Item, int] = {}
        self._emptied: int | None = None  # number of the last slot that `expired` took

    def __len__(self) -> int:
        return len(self._slot_of)

    def set(self, item: Item, deadline: float) -> None:
        """Set the deadline of `item`: the first `expired` at or after it returns the item."""
        slot = math.ceil(deadline / self.tick)
        if self._emptied is not None:
            slot = max(slot, self._emptied + 1)
        if self._slot_of.get(item) != slot:
            self.drop(item)
            self._slot_of[item] = slot
            self._slots[slot].add(item)

    def drop(self, item: Item) -> None:
        """Forget the deadline of `item`, if it has one."""
        slot = self._slot_of.pop(item, None)
        if slot is not None:
            self._slots[slot].discard(item)

    def expired(self, now: float) -> list[Item]:
        """Remove and return all items whose deadline has passed."""
        current = math.floor(now / self.tick)
        due = sorted(slot for slot in self._slots if slot <= current)
        self._emptied = current
        items = [item for slot in due for item in self._slots.pop(slot)]
        for item in items:
            del self._slot_of[item]
        return items

    def _check(self) -> None:
        """Assert that the two tables agree."""
        assert {item for slot in self._slots.values() for item in slot} == set(self._slot_of)
        assert all(item in self._slots[slot] for item, slot in self._slot_of.items())
