"""Imports go downward only, pure modules do no I/O, and the top shelves stay tidy.

Three tables hold the floor plan: the packages from bottom to top, what is exempt, and what is pure.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "livelog"

# fmt: off
FLOORS = [
    "errors", "budget", "config", "wire", "client", "auth", "index", "store.database",
    "store.reader", "store", "engine", "log", "fanout", "net", "net.admin", "net.websocket",
    "net.http", "server", "cli", "__main__",
]
"""From bottom to top: each may import those before it, and itself."""

TOLD_THE_VERSION = {"server", "cli"}
"""The packages that may import `__version__` from livelog itself; they pass it on to others."""

NARROW = {
    "index": {"auth": {"auth.principal"}},
    "log": {"auth": {"auth.principal"}},
    "client": {"config": set[str]()},
    "engine": {"store": set[str](), "store.reader": set[str](), "store.database": set[str]()},
}
"""Package → package below it → the only modules of it that it may import."""

PURE = {
    "wire", "index", "log.kept", "log.indexing", "log.window", "log.idtable", "fanout.audience",
    "fanout.batching", "fanout.compression", "fanout.sharing", "fanout.routing", "fanout.hub",
    "fanout.redactions", "fanout.pacing", "fanout.required", "fanout.watcher",
    "fanout.watches", "fanout.counting",
    "auth.principal", "net.tokenbucket", "net.timers", "net.roster", "net.announcer",
    "net.http.errors", "net.http.message", "net.http.parser", "net.http.body", "net.http.state",
    "net.http.bundle", "net.http.representations", "net.http.stream.format",
}
"""Packages and modules without asyncio, clock or I/O; a `now` is passed in."""

IMPURE = {
    "aiohttp", "asyncio", "concurrent", "fcntl", "http", "io", "logging", "multiprocessing",
    "os", "pathlib", "random", "secrets", "select", "selectors", "signal", "socket", "sqlite3",
    "ssl", "subprocess", "sys", "threading", "time", "uvloop", "websockets",
}
# fmt: on
IMPURE_CALLS = {"open", "input", "print", "now", "utcnow", "today"}
ALLOWED = {
    ("net.http.message", "sys"),  # shared strings
    ("wire.ids", "os"),  # random bits come from the system
    ("net.http.message", "http"),  # the names of the statuses
    ("index.terms", "sys"),  # the largest numbers and characters
    ("index.paths", "sys"),
}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}
INSIDE = sorted(MODULES.keys() - {""})
"""All modules but the package itself, which names the public ones."""


def floor_of(module: str) -> str:
    """The innermost entry of `FLOORS` that `module` is in."""
    parts = module.split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next(name for name in names if name in FLOORS)


PURE_ONES = [name for name in INSIDE if name in PURE or name.split(".")[0] in PURE]


@cache
def nodes(module: str) -> list[ast.AST]:
    return [*ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))]


def imported(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    """Each import, inside of functions too: the module, and the name taken from it if one is."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
                if not alias.asname:  # `import a.b` gives the name `a`
                    yield alias.name.split(".")[0], ""
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "imports are absolute"
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = inner.removeprefix("livelog.") in MODULES
                yield (inner, "") if is_module else (node.module, alias.name)


def imports(module: str) -> set[str]:
    """Full names of the modules that `module` imports."""
    return {name for name, _ in imported(nodes(module))}


def public_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The names taken from the package itself, which loads them from any floor; "" for it all."""
    return {taken for name, taken in imported(nodes) if name == "livelog"}


def called(module: str) -> set[str]:
    """Names of the functions and methods that `module` calls."""
    calls = [node.func for node in nodes(module) if isinstance(node, ast.Call)]
    names = {call.attr for call in calls if isinstance(call, ast.Attribute)}
    return names | {call.id for call in calls if isinstance(call, ast.Name)}


def own(module: str) -> set[str]:
    """The modules of livelog that `module` imports; `public_names` has what the package gives."""
    names = {name for name in imports(module) if name.split(".")[0] == "livelog"}
    return {name.removeprefix("livelog").removeprefix(".") for name in names} - {""}


def upward(module: str) -> set[str]:
    """The modules that `module` imports from a floor above its own."""
    here = FLOORS.index(floor_of(module))
    return {other for other in own(module) if FLOORS.index(floor_of(other)) > here}


def test_imports_go_downward() -> None:
    assert not {module: above for module in INSIDE if (above := upward(module))}


def test_nothing_comes_from_the_package_itself_but_its_version() -> None:
    taken = {module: public_names(nodes(module)) for module in INSIDE}
    for module in INSIDE:
        if floor_of(module) in TOLD_THE_VERSION:
            taken[module].discard("__version__")
    assert not {module: names for module, names in taken.items() if names}


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("from livelog import Server", "Server"),
        ("from livelog import Server as wire, wire", "Server"),
        ("def later():\n    from livelog import connect", "connect"),
        ("import livelog", ""),
        ("import livelog as public", ""),
        ("import livelog.errors", ""),
    ],
)
def test_a_public_name_from_the_package_itself_is_found(text: str, taken: str) -> None:
    code = f"from livelog import wire\nimport livelog.wire as same\n{text}"
    assert public_names(ast.walk(ast.parse(code))) == {taken}


@pytest.mark.parametrize("package", sorted(NARROW))
def test_some_packages_see_little_of_others(package: str) -> None:
    seen = {o for module in INSIDE if floor_of(module) == package for o in own(module)}
    for other, allowed in NARROW[package].items():
        assert {name for name in seen if floor_of(name) == other} <= allowed


def test_files_do_not_import_in_a_circle() -> None:
    state: dict[str, str] = {}

    def visit(module: str) -> None:
        assert state.get(module) != "open", f"{module} imports itself by way of others"
        if module not in state:
            state[module] = "open"
            for other in own(module) - {module}:
                visit(other)
            state[module] = "done"

    for module in INSIDE:
        visit(module)


def test_pure_modules_import_nothing_impure() -> None:
    roots = {(module, name.split(".")[0]) for module in PURE_ONES for name in imports(module)}
    assert not {(module, root) for module, root in roots - ALLOWED if root in IMPURE}


def test_pure_modules_do_no_io_and_are_passed_the_time() -> None:
    calls = {module: called(module) & IMPURE_CALLS for module in PURE_ONES}
    assert not {module: names for module, names in calls.items() if names}


def test_every_pure_module_is_there() -> None:
    assert not {name for name in PURE if name not in MODULES}


def test_every_floor_is_there() -> None:
    assert not {name for name in FLOORS if name not in MODULES}


def listed(*where: str) -> list[str]:
    """The files that git tracks."""
    done = subprocess.run(
        ["git", "ls-files", *where], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return done.stdout.splitlines()


def test_the_top_level_holds_what_it_should() -> None:
    top = {name.split("/")[0] for name in listed()}
    visible = {name for name in top if not name.startswith(".")}
    wanted = {"livelog", "bench", "tests", "setup.cfg", "pyproject.toml", "README.md"}
    assert visible <= wanted | {"LICENSE", "CHANGELOG.md"}


def test_the_package_has_few_entries() -> None:
    entries = {name.split("/")[1] for name in listed("livelog")} - {"py.typed"}
    assert len(entries) <= 17, sorted(entries)


def test_importing_the_package_loads_no_demo_and_no_command_line() -> None:
    code = (
        "import sys, livelog; print([m for m in sys.modules if 'demo' in m or m.endswith('cli')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


HEAVY = {"asyncio", "ssl", "http.client", "livelog.server", "livelog.index", "livelog.net"}


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (("cli.serve", "cli.keys", "cli.token", "cli.configuration", "cli.completion"), HEAVY),
        (("cli.tail", "cli.publish"), HEAVY - {"asyncio", "ssl", "http.client"}),
        (("store.reader.__main__",), HEAVY - {"livelog.index"}),
        (("cli.serving",), {"http.server", "livelog.cli.figures", "livelog.cli.demo"}),
    ],
    ids=["local", "client", "reader", "server"],
)
def test_a_process_loads_only_what_it_needs(modules: Sequence[str], heavy: set[str]) -> None:
    """Each start takes its time: of these modules tens of milliseconds."""
    names = ", ".join(f"livelog.{name}" for name in modules)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {names}; print(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not heavy & {*done.stdout.split()}


def test_ingest_alone_asks_whether_a_principal_may_publish() -> None:
    """So no door can forget to: admitting a message takes the principal."""
    assert {name for name in INSIDE if "check_publishes" in called(name)} == {"log.ingest"}
