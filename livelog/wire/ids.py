"""Identifiers: UUID version 7 (RFC 9562 section 5.7), which sort by the time they were made."""

from __future__ import annotations

import os

_pool: list[str] = []
_REFILL = 256


def uuid7(milliseconds: int) -> str:
    """A new UUIDv7 for the given Unix time, in its usual 36-character form."""
    time = f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}"
    noise = _noise()
    variant = "89ab"[int(noise[3], 16) & 3]
    return f"{time[:8]}-{time[8:]}-7{noise[:3]}-{variant}{noise[4:7]}-{noise[8:]}"


def _noise() -> str:
    """20 random hexadecimal digits.

    The system is asked for many at a time: each call gives up the interpreter lock, and with a
    thread that waits for it that takes milliseconds.
    """
    try:
        return _pool.pop()
    except IndexError:
        digits = os.urandom(10 * _REFILL).hex()
        _pool.extend(digits[start : start + 20] for start in range(20, len(digits), 20))
        return digits[:20]
