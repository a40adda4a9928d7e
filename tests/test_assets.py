"""The files of the page: what is served, as what, and what the page may do."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Callable
from posixpath import join, normpath

import pytest
import zstandard

import livelog
from livelog.net.http.assets import ASSETS, PACKAGE, Asset
from livelog.net.http.message import Request
from tests.support.wire import Http, on_uvloop, serving


@on_uvloop
async def test_the_viewer_and_the_client_are_served() -> None:
    async with serving() as house:
        http = await house.http()
        page = await http.ask("GET", "/")
        assert page.status == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        script = await http.ask("GET", "/livelog.js")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        assert b'export * from "./client/livelog.js"' in script.body
        assert b"export class LiveLog" in (await http.ask("GET", "/client/livelog.js")).body
        types = await http.ask("GET", "/livelog.d.ts")
        assert types.headers["content-type"] == "text/plain; charset=utf-8"
        head = await http.ask("HEAD", "/livelog.js")
        assert int(head.headers["content-length"]) == len(script.body)
        assert (await http.ask("POST", "/", "x")).status == 405
        for path in ("/package.json", "/deploy/nginx.conf", "/viewer/index.html", "/viewer/"):
            assert (await http.ask("GET", path)).status == 404
        assert (await http.ask("GET", "/../pyproject.toml")).status == 404


UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstandard.ZstdDecompressor().decompress,
}


async def tag_of(http: Http, path: str, accepted: str) -> str:
    return (await http.ask("HEAD", path, accept_encoding=accepted)).headers["etag"]


@pytest.mark.parametrize("path", ["/", "/viewer/viewer.bundle.js", "/viewer/viewer.css"])
@on_uvloop
async def test_a_file_is_compressed_for_those_who_take_that(path: str) -> None:
    async with serving() as house:
        http = await house.http()
        for accepted, coding in (("gzip, deflate", "gzip"), ("gzip, br, zstd", "zstd")):
            answer = await http.ask("GET", path, accept_encoding=accepted)
            assert answer.headers["content-encoding"] == coding
            assert answer.headers["vary"] == "accept-encoding"
            assert UNPACK[coding](answer.body) == ASSETS[path].body
            head = await http.ask("HEAD", path, accept_encoding=accepted)
            assert (head.status, head.body) == (200, b"")
            assert int(head.headers["content-length"]) == len(answer.body)
            assert {**head.headers, "date": ""} == {**answer.headers, "date": ""}
        plain = await http.ask("GET", path)
        assert plain.body == ASSETS[path].body
        assert "content-encoding" not in plain.headers
        assert plain.headers["vary"] == "accept-encoding"


@on_uvloop
async def test_a_file_that_the_client_has_is_not_sent_again() -> None:
    async with serving() as house:
        http = await house.http()
        tags = {coding: await tag_of(http, "/", coding) for coding in ("identity", "gzip", "zstd")}
        assert len({*tags.values()}) == 3, "each form has a tag of its own"
        for coding, tag in tags.items():
            for method in ("GET", "HEAD"):
                sent = {"accept_encoding": coding, "if_none_match": f'"other", {tag}'}
                answer = await http.ask(method, "/", **sent)
                assert (answer.status, answer.body) == (304, b"")
                assert answer.headers["etag"] == tag
                assert answer.headers["cache-control"] == "no-cache"
                assert answer.headers["vary"] == "accept-encoding"
                assert not {"content-length", "content-type"} & answer.headers.keys()
        other = await http.ask("GET", "/", accept_encoding="gzip", if_none_match=tags["identity"])
        assert other.status == 200
        assert tags["identity"] != await tag_of(http, "/viewer/viewer.css", "identity")


@on_uvloop
async def test_what_compression_makes_longer_is_sent_as_it_is() -> None:
    request = Request(headers=[("accept-encoding", "gzip")])
    for short in (Asset(lambda: b"short", "text/css"), ASSETS[PACKAGE]):
        answer = await short.answer(request, {})
        assert answer.body == short.body
        assert answer.headers["ETag"] == f'"{short.etag}"'
        assert "Content-Encoding" not in answer.headers


@on_uvloop
async def test_the_policy_lets_nothing_run_but_the_page_s_own_files() -> None:
    async with serving() as house:
        headers = (await (await house.http()).ask("GET", "/")).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_has_no_inline_script_and_no_inline_style() -> None:
    page = ASSETS["/"].body.decode()
    assert not re.search(r"<script(?![^>]*src=)", page)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)


REFERENCES = re.compile(r"""(?:\bfrom |\bimport |\bhref=|\bsrc=)"([^"]+)\"""")
"""Files that a module or the page names, to be loaded with it."""


BUNDLES = [path for path in ASSETS if path.endswith(".bundle.js")]
TEXTS = [path for path in ASSETS if path != PACKAGE]
FOR_NODE = "/client/node.js"
"""The module that the package has for Node.js alone."""


def test_a_page_loads_each_of_its_modules_as_a_bundle() -> None:
    scripts = {
        normpath(join(page.rpartition("/")[0] + "/", name))
        for page in ASSETS
        if ASSETS[page].content_type.startswith("text/html")
        for name in re.findall(r'<script[^>]* src="([^"]+)"', ASSETS[page].body.decode())
    }
    assert scripts == {*BUNDLES}


def test_the_longest_file_is_asked_for_first() -> None:
    """It gets the connection that the page came over; others wait for new ones."""
    first, *_ = re.findall(r'<(?:link|script)[^>]* (?:src|href)="([^"]+)"', page_text())
    assert first == "./viewer/viewer.bundle.js"
    assert max(BUNDLES, key=lambda path: len(ASSETS[path].body)) == first.removeprefix(".")


def page_text() -> str:
    return ASSETS["/"].body.decode()


@pytest.mark.parametrize("path", BUNDLES)
def test_a_bundle_has_all_that_its_module_imports_and_nothing_else(path: str) -> None:
    reached: set[str] = set()
    found = {path.replace(".bundle.js", ".js")}
    while found:
        reached |= found
        found = {name for each in found for name in loaded_by(each)} - reached
    parts = re.findall(r"^/\* (/\S+) \*/$", ASSETS[path].body.decode(), re.MULTILINE)
    assert len(parts) == len({*parts})
    assert {*parts} == reached


def loaded_by(path: str) -> list[str]:
    """The paths of the files that the file at `path` loads."""
    names = REFERENCES.findall(ASSETS[path].body.decode())
    if path == FOR_NODE:
        names.remove("node:crypto")
    assert all(name.startswith(("./", "../")) for name in names), f"{path}: {names}"
    found = [normpath(join(path.rpartition("/")[0] + "/", name)) for name in names]
    # Types are described in a file beside the module.
    return [re.sub(r"\.js$", ".d.ts", name) if path.endswith(".d.ts") else name for name in found]


@pytest.mark.parametrize("path", TEXTS)
def test_a_file_loads_only_others_that_are_served_and_names_them_relatively(path: str) -> None:
    assert set(loaded_by(path)) <= ASSETS.keys()


def test_every_file_is_part_of_the_page_or_of_the_client() -> None:
    reached: set[str] = set()
    found = {"/", "/viewer/sign-in.html", "/livelog.js", "/livelog.d.ts", FOR_NODE}
    found |= {bundle.replace(".bundle.js", ".js") for bundle in BUNDLES}
    while found:
        reached |= found
        found = {name for path in found for name in loaded_by(path)} - reached
    assert reached == {*TEXTS}


def test_the_package_has_the_whole_client_and_is_of_this_version() -> None:
    with tarfile.open(fileobj=io.BytesIO(ASSETS[PACKAGE].body)) as package:
        found = {
            member.name.removeprefix("package"): package.extractfile(member)
            for member in package.getmembers()
        }
        bodies = {name: file.read() for name, file in found.items() if file is not None}
    description = json.loads(bodies.pop("/package.json"))
    assert description["version"] == livelog.__version__
    assert bodies == {
        path: ASSETS[path].body
        for path in TEXTS
        if path.startswith("/client/") or path in ("/livelog.js", "/livelog.d.ts")
    }


@pytest.mark.parametrize("path", TEXTS)
def test_the_page_needs_nothing_from_elsewhere(path: str) -> None:
    text = ASSETS[path].body.decode()
    addresses = re.findall(r"https?://[^\s\"'`]+", text)
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"""(?:fetch|get|URL)\(["'`]/""", text), "paths are relative"
    assert "innerHTML" not in text
    assert "insertAdjacentHTML" not in text


OPENING = re.compile(r"/\*+\s*(?:\*\s*)?(\w+)|^\s*//\s*(\w+)|\S\s+//\s(\w+)", re.MULTILINE)
POINTING = {"what", "who", "whoever", "whose", "whom", "nothing", "nobody", "of"}


@pytest.mark.parametrize(
    "path", [path for path in TEXTS if path.endswith((".js", ".ts")) and path not in BUNDLES]
)
def test_comments_name_their_subject_instead_of_pointing_at_it(path: str) -> None:
    openings = [next(filter(None, found)) for found in OPENING.findall(ASSETS[path].body.decode())]
    assert not POINTING & {word.lower() for word in openings}
    assert openings, "every file says at its top what it is"


@pytest.mark.parametrize(
    "path",
    [path for path in TEXTS if not path.endswith((".css", ".d.ts")) and path not in BUNDLES],
)
def test_no_file_is_long(path: str) -> None:
    assert ASSETS[path].body.count(b"\n") <= 350
