"""The byte order mark that some editors and programs write before UTF-8.

The rule for every text that comes in, be it a frame, a body, a line of NDJSON, a file or a
response: one mark at its beginning is skipped, as RFC 8259 section 8.1 lets a receiver do; anywhere
else it is a character like any other. livelog writes none. Text files are opened with Python's
codec `utf-8-sig`, which has the same rule.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import overload


@overload
def without_bom(data: bytes) -> bytes: ...
@overload
def without_bom(data: bytes | bytearray) -> bytes | bytearray: ...
def without_bom(data: bytes | bytearray) -> bytes | bytearray:
    """Return `data` without a byte order mark at its beginning.

    >>> without_bom(b"\\xef\\xbb\\xbf{}")
    b'{}'
    """
    return data.removeprefix(BOM_UTF8)
