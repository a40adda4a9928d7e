"""The files of the viewer and of the JavaScript client, and the headers they are served with.

The rule: a table of every file that is served, read once from the package; no part of a request's
path ever reaches the file system. A file keeps its path below `livelog/web`, so that the imports
between modules, all relative, hold on disk, over HTTP and below any prefix that a proxy adds; the
page alone is served at `/`. A page loads its modules as bundles, one request each, and the client
is also served as a package, for `npm install`: these are made when they are first asked for, since
many servers never are. A file's name says nothing of its version, so a browser asks each time
whether its copy is still good, and is told so in a few bytes.

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
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache, partial
from pathlib import Path
from posixpath import dirname, join, normpath, splitext

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

_WEB = Path(__file__).parents[2] / "web"
_PACKED = "application/gzip"
_ETAG_DIGITS = 24
_MODULE = re.compile(
    r'((?:<script type="module" src|<link rel="modulepreload" href)=")([^"]+)(?=\.js")'
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
    """One file: `make` returns its content, and is called once, when that is needed."""

    def __init__(self, make: Callable[[], bytes], content_type: str) -> None:
        self.content_type = content_type
        self._make = make
        self._kept: dict[str, bytes] = {}
        """Its compressed forms, by coding."""

    @cached_property
    def body(self) -> bytes:
        """The content."""
        return self._make()

    @cached_property
    def etag(self) -> str:
        """The tag, which tells the content."""
        return hashlib.sha256(self.body).hexdigest()[:_ETAG_DIGITS]

    async def answer(self, request: Request, headers: Mapping[str, str]) -> Response:
        """Return the file, compressed if the client takes that; 304 for one that has it."""
        if "etag" not in vars(self):
            # In a thread, since a bundle takes milliseconds, and the package tens of them.
            await asyncio.to_thread(getattr, self, "etag")
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
        if coding not in self._kept:
            # In a thread, since the best level takes tens of milliseconds.
            made = await asyncio.to_thread(CODINGS[coding], self.body)
            self._kept[coding] = made if len(made) < len(self.body) else self.body
        return self._kept[coding]


def _load() -> dict[str, Asset]:
    """Read the files; in the pages, load a bundle in the place of each module."""
    files = dict(sorted(_read()))
    pages = {path: body.decode() for path, body in files.items() if path.endswith(("/", ".html"))}
    loaded = [
        normpath(join(dirname(page), name))
        for page, text in pages.items()
        for _, name in _MODULE.findall(text)
    ]
    makers: dict[str, Callable[[], bytes]] = {
        **{path: partial(bytes, body) for path, body in files.items()},
        **{page: _MODULE.sub(r"\1\2.bundle", text).encode for page, text in pages.items()},
        **{f"{name}.bundle.js": partial(_bundle, f"{name}.js", files) for name in loaded},
        PACKAGE: partial(_package, files),
    }
    return {path: Asset(make, _content_type(path)) for path, make in makers.items()}


def _read() -> Iterator[tuple[str, bytes]]:
    """Yield each file that is served, with its path before it."""
    for folder in FOLDERS:
        for file in (_WEB / folder).iterdir():
            if file.suffix in CONTENT_TYPES:
                name = folder + file.name
                yield "/" if name == INDEX else f"/{name}", file.read_bytes()


def _content_type(path: str) -> str:
    return CONTENT_TYPES.get(splitext(path)[1] or ".html", _PACKED)  # the page at `/` has no ending


def _bundle(module: str, files: Mapping[str, bytes]) -> bytes:
    modules = {path: body.decode() for path, body in files.items() if path.endswith(".js")}
    return bundled(module, modules).encode()


def _package(files: Mapping[str, bytes]) -> bytes:
    """Return the npm package of the client: a tar file of what its `package.json` lists."""
    description = (_WEB / "package.json").read_bytes()
    listed = tuple(f"/{name}" for name in json.loads(description)["files"])
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        _add(archive, "/package.json", description)
        for path, body in files.items():
            if path.startswith(listed):
                _add(archive, path, body)
    # The same bytes at every start; made at the best level it takes twice as long.
    return gzip.compress(tar.getvalue(), 6, mtime=0)


def _add(archive: tarfile.TarFile, path: str, body: bytes) -> None:
    entry = tarfile.TarInfo(f"package{path}")
    entry.size = len(body)
    archive.addfile(entry, io.BytesIO(body))


ASSETS = _load()
"""By the path under which each is served."""
