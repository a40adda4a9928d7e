"""The files of the page: what is served, as what, and what the page may do."""

from __future__ import annotations

import io
import json
import re
import tarfile
from posixpath import join, normpath

import pytest

import livelog
from livelog.net.http.assets import ASSETS, PACKAGE
from tests.support.wire import on_uvloop, serving


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


TEXTS = [path for path in ASSETS if path != PACKAGE]
FOR_NODE = "/client/node.js"
"""The module that the package has for Node.js alone."""


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
    found = {"/", "/livelog.js", "/livelog.d.ts", FOR_NODE}
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


@pytest.mark.parametrize("path", [path for path in ASSETS if path.endswith((".js", ".ts"))])
def test_comments_name_their_subject_instead_of_pointing_at_it(path: str) -> None:
    openings = [next(filter(None, found)) for found in OPENING.findall(ASSETS[path].body.decode())]
    assert not POINTING & {word.lower() for word in openings}
    assert openings, "every file says at its top what it is"


@pytest.mark.parametrize(
    "path", [path for path in ASSETS if not path.endswith((".css", ".d.ts", ".tgz"))]
)
def test_no_file_is_long(path: str) -> None:
    assert ASSETS[path].body.count(b"\n") <= 350
