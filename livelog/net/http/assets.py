"""The files of the viewer and of the JavaScript client, and the headers they are served with.

The rule: a table of every file that is served, read once from the package; no part of a request's
path ever reaches the file system. A file keeps its path below `livelog/web`, so that the imports
between modules, all relative, hold on disk, over HTTP and below any prefix that a proxy adds; the
page alone is served at `/`. The client is also served as a package, for `npm install`. The policy
lets the page run its own files and no others, so that a message could do no harm even if it got
into the page as markup.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
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

PACKAGE = "/livelog.tgz"

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
        # Views side by side are pages of the viewer in frames of another page of it.
        "frame-src 'self'",
        "frame-ancestors 'self'",
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
    served = dict(sorted(found.items()))
    return served | {PACKAGE: Asset(_package(served), "application/gzip")}


def _package(served: dict[str, Asset]) -> bytes:
    """Return the npm package of the client: a tar file of what its `package.json` lists."""
    description = (files("livelog") / "web" / "package.json").read_bytes()
    listed = tuple(f"/{name}" for name in json.loads(description)["files"])
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        _add(archive, "/package.json", description)
        for path, asset in served.items():
            if path.startswith(listed):
                _add(archive, path, asset.body)
    # The same bytes at every start; made at the best level it takes twice as long.
    return gzip.compress(tar.getvalue(), 6, mtime=0)


def _add(archive: tarfile.TarFile, path: str, body: bytes) -> None:
    entry = tarfile.TarInfo(f"package{path}")
    entry.size = len(body)
    archive.addfile(entry, io.BytesIO(body))


ASSETS = _load()
"""By the path under which each is served."""
