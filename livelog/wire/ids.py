"""Identifiers: UUID version 7 (RFC 9562 section 5.7), which sort by the time they were made."""

from __future__ import annotations

import os
from functools import lru_cache

_pool: list[str] = []
_REFILL = 256
_NOISE_DIGITS = 20
_VARIANT = dict(zip("0123456789abcdef", 4 * "89ab", strict=True))
"""Hexadecimal digit → the same with the two bits 10 of RFC 9562 section 4.1 in front."""


def uuid7(milliseconds: int) -> str:
    """Make a UUIDv7 for the given Unix time, in its usual 36-character form."""
    return _beginning(milliseconds) + _end()


@lru_cache(maxsize=4)  # the messages of a batch share a millisecond
def _beginning(milliseconds: int) -> str:
    time = f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}"
    return f"{time[:8]}-{time[8:]}-7"


def made_at(id: str) -> float:
    """Return the Unix time for which an id that ends with a UUIDv7 was made, in seconds."""
    digits = id[-36:]
    return int(digits[:8] + digits[9:13], 16) / 1000


def _end() -> str:
    """Return the random digits of an id, as they stand behind its version.

    `os.urandom` is called for many at a time: each call releases the interpreter lock, and while
    another thread (the store's writer) waits for the lock, getting it back takes milliseconds.
    """
    try:
        return _pool.pop()
    except IndexError:
        digits = os.urandom(_NOISE_DIGITS // 2 * _REFILL).hex()
        starts = range(0, len(digits), _NOISE_DIGITS)
        _pool.extend([_formatted(digits[at : at + _NOISE_DIGITS]) for at in starts])
        return _pool.pop()


if hasattr(os, "register_at_fork"):
    # A child has the parent's digits, of which both would make the same ids.
    os.register_at_fork(after_in_child=_pool.clear)


def _formatted(noise: str) -> str:
    return f"{noise[:3]}-{_VARIANT[noise[3]]}{noise[4:7]}-{noise[8:]}"
