"""Text from messages, made safe for a terminal.

A message could otherwise move the cursor, rename the window or reverse the reading direction of the
terminal that prints it. Characters that a terminal acts on are shown as JSON writes them. So a
message stays on one line, and JSON stays valid, where they occur inside of strings only.
"""

from __future__ import annotations

import re

_ACTED_ON = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters, the eight-bit ones too
    "\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069"  # reading direction
    "\u2028\u2029"  # ends of lines
    "\ud800-\udfff"  # halves of characters, which cannot be written at all
    "]"
)


def sanitized(text: str) -> str:
    """Return `text` with all characters escaped that a terminal would act on."""
    return _ACTED_ON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
