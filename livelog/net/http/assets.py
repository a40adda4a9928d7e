"""The files of the viewer and of the JavaScript client, and how they are to be treated.

The rule: a table of every file that is served, read once from the package; nothing of a request's
path ever reaches the file system. The policy lets the page run its own files and nothing else, so
that a message could not do harm even if it got into the page as markup.
"""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".ts": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""By the end of a file's name; others are not served."""

INDEX = "index.html"

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        # Avatars are wherever the messages say; the page loads none unless its reader asks for it.
        "img-src 'self' http: https:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # a page must not run with the modules of another version
    "Access-Control-Allow-Origin": "*",  # other sites may import the client
}


class Asset(NamedTuple):
    """One file."""

    body: bytes
    content_type: str


def _load() -> dict[str, Asset]:
    found = {}
    for file in (files("livelog") / "web").iterdir():
        content_type = CONTENT_TYPES.get(f".{file.name.rpartition('.')[2]}")
        if content_type is not None:
            path = "/" if file.name == INDEX else f"/{file.name}"
            found[path] = Asset(file.read_bytes(), content_type)
    return dict(sorted(found.items()))


ASSETS = _load()
"""By the path under which each is served."""
