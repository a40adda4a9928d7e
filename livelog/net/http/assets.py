"""The files of the viewer and of the JavaScript client, and the headers they are served with.

The rule: a table of every file that is served, read once from the package; no part of a request's
path ever reaches the file system. A file keeps its path below `livelog/web`, so that the imports
between modules, all relative, hold on disk, over HTTP and below any prefix that a proxy adds; the
page alone is served at `/`. A page loads its modules as bundles, one request each, and the client
is also served as a package, for `npm install`. A file's name says nothing of its version, so a
browser asks each time whether its copy is still good, and is told so in a few bytes.

The policy lets the pages run their own files and no others, so that a message could do no harm even
if it got into a page as markup.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from posixpath import dirname, join, normpath

from livelog.net.http.bundle import bundled
from livelog.net.http.message import Request, Response
from livelog.net.http.representations import CODINGS, coding_for, has

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

_PACKED = "application/gzip"
_ETAG_DIGITS = 24
_MODULE = re.compile(
    r'((?:<script type="module" src|<link rel="modulepreload" href)=")([^"]+)\.js(?=")'
)


@lru_cache(maxsize=8)
def headers(asked: str = "") -> Mapping[str, str]:
    """Return the headers of all files; the pages may also ask the origin `asked`, unless empty."""
    policy = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        f"connect-src 'self' {asked}".rstrip(),
        # Avatars are wherever the messages say; the page loads none unless its reader asks for it.
        "img-src 'self' http: https:",
        "base-uri 'none'",
        "form-action 'none'",
        # Views side by side are pages of the viewer in frames of another page of it.
        "frame-src 'self'",
        "frame-ancestors 'self'",
    ]
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",  # a page must not run with the modules of another version
        "Access-Control-Allow-Origin": "*",  # other sites may import the client
    }


class Asset:
    """One file. `etag` tells its content; `kept` are its compressed forms, by coding."""

    def __init__(self, body: bytes, content_type: str) -> None:
        self.body = body
        self.content_type = content_type
        self.etag = hashlib.sha256(body).hexdigest()[:_ETAG_DIGITS]
        self.kept: dict[str, bytes] = {}

    async def answer(self, request: Request, headers: Mapping[str, str]) -> Response:
        """Return the file, compressed if the client takes that; 304 for one that has it."""
        packed = self.content_type == _PACKED
        coding = "" if packed else coding_for(",".join(request.all("accept-encoding")))
        body = await self._in(coding) if coding else self.body
        if body is self.body:
            coding = ""
        tag = f'"{self.etag}-{coding}"' if coding else f'"{self.etag}"'
        more = {**headers, "ETag": tag, **({} if packed else {"Vary": "Accept-Encoding"})}
        if has(",".join(request.all("if-none-match")), tag):
            return Response(b"", 304, headers=more)
        if coding:
            more["Content-Encoding"] = coding
        return Response(body, content_type=self.content_type, headers=more)

    async def _in(self, coding: str) -> bytes:
        """Return the body in this coding, which is made once; as it is where that is shorter."""
        if coding not in self.kept:
            # In a thread, since the best level takes tens of milliseconds.
            made = await asyncio.to_thread(CODINGS[coding], self.body)
            self.kept[coding] = made if len(made) < len(self.body) else self.body
        return self.kept[coding]


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
    package = Asset(_package(served), _PACKED)
    return {**served, **_with_bundles(served), PACKAGE: package}


def _with_bundles(served: Mapping[str, Asset]) -> dict[str, Asset]:
    """Return the pages, which load a bundle in the place of each module, and the bundles."""
    modules = {path: each.body.decode() for path, each in served.items() if path.endswith(".js")}
    made: dict[str, Asset] = {}

    def load_bundle(match: re.Match[str]) -> str:
        module = normpath(join(dirname(page), f"{match[2]}.js"))
        bundle = Asset(bundled(module, modules).encode(), CONTENT_TYPES[".js"])
        made[f"{module.removesuffix('.js')}.bundle.js"] = bundle
        return f"{match[1]}{match[2]}.bundle.js"

    for page, asset in served.items():
        if asset.content_type == CONTENT_TYPES[".html"]:
            text = _MODULE.sub(load_bundle, asset.body.decode())
            made[page] = Asset(text.encode(), asset.content_type)
    return made


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
