"""A cache of what has been read from segments, bounded in bytes.

Segments never change, so nothing in it grows old; the least recently used values are given up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Value = TypeVar("Value")


class Cache:
    """Values by key, with the bytes that each takes; all together take at most `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable) -> Any:
        """Return the value of `key`, None if it is not there."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: Value, size: int) -> Value:
        """Keep a value that takes `size` bytes, unless it is too large; return it."""
        if size <= self._max_bytes and key not in self._values:
            self._values[key] = value, size
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, (_, given_up) = self._values.popitem(last=False)
                self._bytes -= given_up
        return value

    def made(self, key: Hashable, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """Return the value of `key`, made now if it is not there."""
        found: Value | None = self.get(key)
        if found is not None:
            return found
        value = make()
        return self.put(key, value, size(value))
