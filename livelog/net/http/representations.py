"""Representations of a file: which coding a client takes, and whether it has the file already.

Two questions of RFC 9110, each answered from a header: content negotiation (section 12.5.3) and
`If-None-Match` (section 13.1.2).
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable

_REFUSED = re.compile(r";\s*q=0(?:\.0*)?\s*$")
_TAG = re.compile(r'(?:W/)?("[^"]*")')
_LEVEL = 9
_ZSTD_LEVEL = 19


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, _LEVEL, mtime=0)  # the same bytes at every start


def _codings() -> dict[str, Callable[[bytes], bytes]]:
    try:
        import zstandard  # comes with some of the extras
    except ImportError:
        return {"gzip": _gzip}
    return {
        "zstd": lambda body: zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(body),
        "gzip": _gzip,
    }


CODINGS = _codings()
"""Content coding → how it is made; the smallest first."""


def coding_for(accepted: str) -> str:
    """Return the coding for a client with this `Accept-Encoding`; empty for none."""
    takes = {}
    for each in accepted.lower().split(","):
        takes[each.partition(";")[0].strip()] = not _REFUSED.search(each)
    return next((name for name in CODINGS if takes.get(name, takes.get("*", False))), "")


def has(tags: str, tag: str) -> bool:
    """Return whether a client with this `If-None-Match` has the representation with `tag`.

    Tags are compared weakly (RFC 9110 section 8.8.3.2): a proxy that compresses weakens them.
    """
    return tags.strip() == "*" or tag in _TAG.findall(tags)
