"""Identifiers: UUID version 7 (RFC 9562 section 5.7), which sort by the time they were made."""

from __future__ import annotations

import os

_pool: list[str] = []
_REFILL = 256


def uuid7(milliseconds: int) -> str:
    """Make a UUIDv7 for the given Unix time, in its usual 36-character form."""
    time = f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}"
    noise = _noise()
    variant = "89ab"[int(noise[3], 16) & 3]  # the two bits 10 of RFC 9562 section 4.1
    return f"{time[:8]}-{time[8:]}-7{noise[:3]}-{variant}{noise[4:7]}-{noise[8:]}"


def made_at(id: str) -> float:
    """Return the Unix time for which an id that ends with a UUIDv7 was made, in seconds."""
    digits = id[-36:]
    return int(digits[:8] + digits[9:13], 16) / 1000


def _noise() -> str:
    """Return 20 random hexadecimal digits.

    `os.urandom` is called for many at a time: each call releases the interpreter lock, and while
    another thread (the store's writer) waits for the lock, getting it back takes milliseconds.
    """
    try:
        return _pool.pop()
    except IndexError:
        digits = os.urandom(10 * _REFILL).hex()
        _pool.extend(digits[start : start + 20] for start in range(20, len(digits), 20))
        return digits[:20]
