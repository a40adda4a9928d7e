"""Identifiers: UUID version 7 (RFC 9562 section 5.7), which sort by the time they were made."""

from __future__ import annotations

import os


def uuid7(milliseconds: int) -> str:
    """A new UUIDv7 for the given Unix time, in its usual 36-character form."""
    time = f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}"
    noise = os.urandom(10).hex()
    variant = "89ab"[int(noise[3], 16) & 3]
    return f"{time[:8]}-{time[8:]}-7{noise[:3]}-{variant}{noise[4:7]}-{noise[8:]}"
