"""Imports go downward only, the lower floors do no I/O, and the top level stays tidy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "livelog"

FLOORS = {
    0: {"addresses", "errors", "ids", "limits", "origins", "proxyprotocol", "timers"},
    1: {
        "asyncapi",
        "auth",
        "auth.credentials",
        "messages",
        "delivered",
        "protocol",
        "principal",
        "frames",
        "explain",
        "config",
    },
    2: {
        "auth.apikeys",
        "auth.tokens",
        "words",
        "record",
        "query",
        "times",
        "vocabulary",
        "postings",
        "idtable",
        "index",
        "window",
        "hub",
        "pacing",
        "pages",
    },
    3: {
        "auth.authenticator",
        "auth.bearer",
        "auth.introspection",
        "auth.jwks",
        "auth.keyfile",
        "auth.opening",
        "auth.provider",
        "auth.tokenchecks",
        "engine",
        "engine.local",
        "store",
        "store.ciphered",
        "store.keys",
        "store.memory",
        "store.opening",
        "store.rekeying",
        "store.file",
        "store.writer",
        "store.sqlite",
        "archive",
        "archive.__main__",
        "archive.answers",
        "archive.calls",
        "archive.catalog",
        "archive.client",
        "archive.rows",
        "archive.segment",
    },
    4: {"log", "ingest", "catchup"},
    5: {
        "net",
        "net.admission",
        "net.allowance",
        "net.assembler",
        "net.assets",
        "net.commands",
        "net.connection",
        "net.doorman",
        "net.drain",
        "net.gate",
        "net.http",
        "net.incidents",
        "net.liveness",
        "net.reading",
        "net.routes",
        "net.site",
        "net.ticker",
        "net.tls",
        "net.turns",
    },
    6: {
        "",
        "__main__",
        "cli",
        "cli.harmless",
        "cli.keys",
        "cli.lines",
        "cli.options",
        "cli.outcome",
        "cli.past",
        "cli.publish",
        "cli.serve",
        "cli.store",
        "cli.tail",
        "client",
        "client.address",
        "client.backoff",
        "client.channel",
        "client.client",
        "client.failures",
        "client.line",
        "client.posting",
        "client.proof",
        "client.received",
        "client.subscription",
        "demo",
        "demo.lines",
        "demo.world",
        "server",
    },
}
PURE = (0, 1, 2)
# fmt: off
IMPURE_MODULES = {
    "aiohttp", "asyncio", "concurrent", "fcntl", "http", "io", "logging", "multiprocessing",
    "os", "pathlib", "random", "secrets", "select", "selectors", "signal", "socket", "sqlite3",
    "ssl", "subprocess", "sys", "threading", "time", "uvloop", "websockets",
}
# fmt: on
ALLOWED = {
    ("ids", "os"),  # random bits come from the system
    ("config", "pathlib"),  # one of the places settings come from is a file, read before the start
    ("record", "sys"),  # sys.intern: nothing outside can tell
}
# The package itself tells its version to everybody.
EVERYWHERE = {""}

FLOOR_OF = {module: floor for floor, modules in FLOORS.items() for module in modules}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(module: str) -> set[str]:
    """Full names of all that `module` imports, inside of functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inner if name.removeprefix("livelog.") in MODULES}
            found |= modules or {node.module}
    return found


def called(module: str) -> set[str]:
    """Names of the functions and methods that `module` calls."""
    calls = [
        node.func
        for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    names = {call.attr for call in calls if isinstance(call, ast.Attribute)}
    return names | {call.id for call in calls if isinstance(call, ast.Name)}


def own(module: str) -> set[str]:
    """What `module` imports from livelog."""
    names = {name for name in imports(module) if name.split(".")[0] == "livelog"}
    return {name.removeprefix("livelog").removeprefix(".") for name in names} - EVERYWHERE


def test_every_module_has_a_floor() -> None:
    assert MODULES.keys() == FLOOR_OF.keys()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_downward(module: str) -> None:
    upward = {other for other in own(module) if FLOOR_OF[other] > FLOOR_OF[module]}
    assert not upward


def test_within_a_floor_nothing_imports_in_a_circle() -> None:
    state: dict[str, str] = {}

    def visit(module: str) -> None:
        assert state.get(module) != "open", f"{module} imports itself by way of others"
        if module not in state:
            state[module] = "open"
            for other in own(module):
                visit(other)
            state[module] = "done"

    for module in MODULES:
        visit(module)


@pytest.mark.parametrize("module", sorted(m for floor in PURE for m in FLOORS[floor]))
def test_the_lower_floors_are_pure(module: str) -> None:
    roots = {name.split(".")[0] for name in imports(module)}
    assert not {root for root in roots & IMPURE_MODULES if (module, root) not in ALLOWED}
    assert not called(module) & {"open", "input", "print"}
    assert not called(module) & {"now", "utcnow", "today"}, "the time is passed in"


def test_the_top_level_holds_what_it_should() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    top = {name.split("/")[0] for name in listed.stdout.splitlines()}
    visible = {name for name in top if not name.startswith(".")}
    wanted = {"livelog", "bench", "tests", "setup.cfg", "pyproject.toml", "README.md"}
    assert visible <= wanted | {"LICENSE", "CHANGELOG.md"}


def test_importing_the_package_loads_no_demo_and_no_command_line() -> None:
    code = (
        "import sys, livelog; print([m for m in sys.modules if 'demo' in m or m.endswith('cli')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
