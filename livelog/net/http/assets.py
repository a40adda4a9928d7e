"""The files of the viewer and of the JavaScript client, and the headers they are served with.

The rule: a table of every file that is served, read once from the package; no part of a request's
path ever reaches the file system. A file keeps its path below `livelog/web`, so that the imports
between modules, all relative, hold on disk, over HTTP and below any prefix that a proxy adds; the
page alone is served at `/`. The policy lets the page run its own files and no others, so that a
message could do no harm even if it got into the page as markup.
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

FOLDERS = ("", "client/", "viewer/")
"""Below `livelog/web`; others, such as `deploy/`, are not served."""

INDEX = "viewer/index.html"

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
    for folder in FOLDERS:
        for file in (files("livelog") / "web" / folder).iterdir():
            content_type = CONTENT_TYPES.get(f".{file.name.rpartition('.')[2]}")
            if content_type is not None:
                name = folder + file.name
                path = "/" if name == INDEX else f"/{name}"
                found[path] = Asset(file.read_bytes(), content_type)
    return dict(sorted(found.items()))


ASSETS = _load()
"""By the path under which each is served."""
