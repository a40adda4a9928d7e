"""URIs of SQLite files, and whether anything can be written beside them."""

from __future__ import annotations

import os
from urllib.parse import quote


def uri(path: str, *, read_only: bool, immutable: bool = False) -> str:
    """Return the URI of a file for SQLite, see sqlite.org/uri.html."""
    mode = "mode=ro" if read_only or immutable else "mode=rw"
    # SQLite needs files beside it, unless it is told that nobody writes.
    immutable |= read_only and sealed(path) and not os.path.exists(f"{path}-wal")
    return f"file:{quote(os.fsencode(path))}?{mode}{'&immutable=1' if immutable else ''}"


def sealed(path: str) -> bool:
    """Tell whether no file can be created beside the one at `path`."""
    return not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK)
