"""Checks that hold the README and the pages it leads to against the code and the results.

Examples are run or parsed, links and anchors are followed, figures are looked up in the results
they name, and tables of messages, options, packages and tests are compared with the real ones.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
import pytest
from websockets.asyncio.client import connect

import livelog
from livelog import Config, Server, cli
from livelog.net.http.errors import STATUSES
from livelog.wire.admin import ADMIN
from livelog.wire.commands import AnyCommand
from livelog.wire.events import AnyEvent
from livelog.wire.messages import AnyMessage
from tests.support.identity import SECRET, token
from tests.support.process import ROOT, Start, ready
from tests.support.wire import PATIENCE

README, PROTOCOL, PRODUCTION, COMMANDS, FIGURES, TESTS = PAGES = (
    "README.md",
    "livelog/wire/README.md",
    "livelog/net/README.md",
    "livelog/cli/README.md",
    "bench/README.md",
    "tests/README.md",
)
RECIPES = "livelog/client/README.md"
"""The page whose examples `test_docs` runs."""
CLUSTER = "livelog/engine/nats/README.md"
DOCS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "livelog/web/docs").glob("*.md"))
"""The pages that `test_docs` walks."""
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in (*PAGES, CLUSTER)}
LONGEST = 220
"""Lines of the README."""
ADDRESS = "localhost:8000"
"""The server of the examples."""

_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_NUMBER = re.compile(r"(?<![\w.,])\d[\d,]*(?:\.\d+)?")
_CODE = re.compile(r"`([^`]+)`")
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


class Table(NamedTuple):
    """A table of a page: the names of its columns, and its rows by these names."""

    names: list[str]
    rows: list[dict[str, str]]


def blocks(language: str) -> list[str]:
    """The fenced blocks in a language, of all pages."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [block for text in TEXTS.values() for block in pattern.findall(text)]


def tables(page: str) -> Iterator[Table]:
    """The tables of a page."""
    for lines in re.findall(r"(?:^\|.*\|\n)+", TEXTS[page], re.MULTILINE):
        cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in lines.splitlines()]
        names = cells[0]
        yield Table(names, [dict(zip(names, row, strict=True)) for row in cells[2:]])


def table(page: str, *names: str) -> list[dict[str, str]]:
    """The rows of the one table of a page whose columns begin with these names."""
    [found] = [found for found in tables(page) if found.names[: len(names)] == [*names]]
    return found.rows


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# Length, links and commands.


def test_the_readme_stays_short() -> None:
    assert len(TEXTS[README].splitlines()) <= LONGEST


@pytest.mark.parametrize("begin", ["python -m livelog --demo", "python -m pytest"])
def test_a_command_that_the_checks_run_is_found(begin: str) -> None:
    lines = [line for line in TEXTS[README].splitlines() if begin in line]
    assert [line for line in lines if re.match(r"    \S.* && \S", line)]


def links() -> Iterator[tuple[str, str]]:
    """Yield each page with each link in it."""
    for page in (*PAGES, RECIPES, CLUSTER, *DOCS):
        for link in _LINK.findall((ROOT / page).read_text(encoding="utf-8")):
            yield page, link


@pytest.mark.parametrize(("page", "link"), list(links()))
def test_a_link_leads_somewhere(page: str, link: str) -> None:
    if link.startswith("https://"):
        return
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    assert target.exists()
    if anchor:
        assert anchor in anchors(target / "README.md" if target.is_dir() else target)


def test_the_readme_leads_to_all_pages() -> None:
    assert {*PAGES, RECIPES} - {README} <= {*_LINK.findall(TEXTS[README])}


def test_the_floor_plan_is_that_of_the_package() -> None:
    files = [path for path in (ROOT / "livelog").rglob("*") if "__pycache__" not in path.parts]
    tops = {path.relative_to(ROOT / "livelog").parts[0] for path in files if path.is_file()}
    found = {name.removesuffix(".py") for name in tops if "." not in name or name.endswith(".py")}
    rows = table(README, "package", "contents")
    named = {name.rstrip("/") for row in rows for name in _CODE.findall(row["package"])}
    assert named == {name for name in found if not name.startswith(("_", "."))}


# Examples.


@pytest.mark.parametrize("command", blocks("json"))
def test_a_command_from_the_pages_is_granted(command: str) -> None:
    async def ask() -> str:
        # Where everything is public there are no users to be on line.
        named = json.loads(command)["action"] == "presence"
        config = Config(port=0, store="memory", **({"jwt_secret": SECRET} if named else {}))
        query = f"?token={token('u1')}" if named else ""
        async with Server(config) as server, connect(server.url + query) as client:
            await client.recv()  # connected
            if named:
                await client.recv()  # authenticated
            if json.loads(command)["action"] == "unwatch":
                await client.send(command.replace("unwatch", "watch"))
                await client.recv()
            await client.send(command)
            return str(json.loads(await asyncio.wait_for(client.recv(), 10))["action"])

    expected = {
        "subscribe": "subscribed",
        "unsubscribe": "unsubscribed",
        "publish": "published",
        "get_history": "history",
        "search": "search_results",
        "analyze": "analysis",
        "watch": "watching",
        "unwatch": "unwatched",
        "presence": "online",
        "ping": "pong",
        "authenticate": "authenticated",
        "admin": "error",  # because the server is open
    }
    assert asyncio.run(ask()) == expected[json.loads(command)["action"]]


def test_every_command_is_shown() -> None:
    shown = {json.loads(command)["action"] for command in blocks("json")}
    assert shown == {command.__struct_config__.tag for command in get_args(AnyCommand)}


def test_every_event_is_shown() -> None:
    shown = [json.loads(line)["action"] for block in blocks("jsonl") for line in block.splitlines()]
    assert sorted(shown) == sorted(event.__struct_config__.tag for event in get_args(AnyEvent))


@pytest.mark.parametrize("example", blocks("python"))
def test_a_python_example_parses(example: str) -> None:
    ast.parse(example)


def first_line(program: str) -> str:
    """Run a Python program that does not end by itself, and return the first line it prints."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        return process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def test_the_python_client_of_the_readme_runs(start: Start) -> None:
    [example] = [block for block in blocks("python") if "connect(" in block]
    url = ready(start("--port", "0"))
    line = first_line(example.replace(f"ws://{ADDRESS}/ws/live-log", url))
    assert "content='hello'" in line


def test_the_embedded_server_of_the_readme_runs() -> None:
    [example] = [block for block in blocks("python") if "Server(" in block]
    assert "Config(port=8000)" in example
    line = first_line(example.replace("Config(port=8000)", 'Config(port=0, store="memory")'))
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/ws/live-log sys_\S+ \d+\n", line)


def test_the_errors_of_the_readme_are_public() -> None:
    named = set(re.findall(r"`(\w+Error)`", TEXTS[README]))
    assert named
    assert named <= {*livelog.__all__}


def test_the_requests_of_the_readme_are_answered(start: Start) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    [example] = [block for block in blocks("sh") if "curl" in block]
    url = ready(start("--port", "0"))
    example = example.replace(ADDRESS, url.removeprefix("ws://").partition("/")[0])
    script = example.replace("curl ", "curl -sS --fail --write-out '\\n' ")
    done = subprocess.run(
        ["sh", "-e", "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    published, history, search = map(json.loads, done.stdout.splitlines())
    assert published["count"] == history["total_count"] == search["count"] == 1


# What is listed.


def test_the_table_of_messages_is_that_of_the_structs() -> None:
    listed = {
        row["type"]: (_CODE.findall(row["required"]), _CODE.findall(row["optional"]))
        for row in table(PROTOCOL, "type", "required", "optional")
    }
    for message in get_args(AnyMessage):
        fields = msgspec.structs.fields(message)
        required = {field.encode_name for field in fields if field.required}
        optional = {field.encode_name for field in fields} - required - {"id", "timestamp"}
        found_required, found_optional = listed.pop(f"`{message.__struct_config__.tag}`")
        assert ({*found_required}, {*found_optional}) == (required, optional), message
    assert not listed


def test_the_statuses_of_the_error_codes_are_those_of_the_code() -> None:
    for row in table(PROTOCOL, "`error_code`", "meaning", "HTTP status"):
        usual = re.findall(r"\d+", row["HTTP status"])[0]
        for code in re.findall(r"\d+", row["`error_code`"]):
            assert STATUSES[int(code)] == int(usual), row


def test_the_table_of_values_is_that_of_the_structs() -> None:
    listed = {
        tuple(_CODE.findall(row["field"])): _CODE.findall(row["values"])
        for row in table(PROTOCOL, "field", "values")
    }
    for message in get_args(AnyMessage):
        for name, hint in get_type_hints(message).items():
            if get_origin(hint) is Literal:
                assert listed.pop((name, message.__struct_config__.tag)) == [*get_args(hint)]
    assert not listed


def flags(capsys: pytest.CaptureFixture[str], *command: str) -> set[str]:
    """The flags that the help of a command names."""
    with pytest.raises(SystemExit):
        cli.main([*command, "--help"])
    return set(_FLAG.findall(capsys.readouterr().out))


def test_every_option_of_the_server_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    explained = set(_FLAG.findall(TEXTS[PRODUCTION]))
    explained |= {f"--{name.removeprefix('--no-')}" for name in explained}
    explained |= {f"--no-{name.removeprefix('--')}" for name in explained}
    assert flags(capsys, "serve") - explained <= {"--help", "--version"}


def test_every_option_that_is_named_exists(capsys: pytest.CaptureFixture[str]) -> None:
    own = [
        *cli.COMMANDS,
        *(f"admin {command}" for command in ADMIN),
        "keys create",
        "store encrypt",
        "store rekey",
    ]
    known = set().union(*(flags(capsys, *command.split()) for command in own))
    lines = [line for line in TEXTS[README].splitlines() if "livelog" in line]
    named = set(_FLAG.findall("\n".join([*lines, TEXTS[PROTOCOL], TEXTS[PRODUCTION]])))
    assert named <= known


def commands_of(page: str) -> list[str]:
    """The commands in the indented lines of a page, without variables and pipes."""
    found = re.findall(r"^    (?:\w+=\S+ |\w+ \| )*livelog (\S+.*)$", TEXTS[page], re.MULTILINE)
    assert found
    return found


@pytest.mark.parametrize("command", commands_of(COMMANDS))
def test_a_command_line_is_one(command: str) -> None:
    name, *rest = shlex.split(command)
    made = import_module(f"livelog.cli.{cli.COMMANDS[name]}").make_parser(name)
    argparse.ArgumentParser.parse_args(made, rest)  # without the profile, which is not here


# Figures.


@pytest.mark.parametrize(("page", "least"), [(README, 8), (FIGURES, 30), (CLUSTER, 4)])
def test_a_figure_stands_in_the_result_it_names(page: str, least: int) -> None:
    found = [row for table in tables(page) if "measured" in table.names for row in table.rows]
    assert len(found) >= least
    for row in found:
        [link] = _LINK.findall(row["result"])
        result = ((ROOT / page).parent / link).resolve()
        assert result.parent == ROOT / "bench" / "results"
        measured = set(_NUMBER.findall(result.read_text(encoding="utf-8")))
        claimed = [cell for name, cell in row.items() if name == "measured" or "p50" in name]
        assert {number for cell in claimed for number in _NUMBER.findall(cell)} <= measured, row


def test_ten_million_connections_are_reckoned_from_what_was_measured() -> None:
    rows = table(CLUSTER, "part", "measured", "for ten million connections")
    kilobytes, share, write, message = (float(_NUMBER.findall(row["measured"])[0]) for row in rows)
    reckoned = [
        [f"{50 * kilobytes:.0f} MB", f"{10 * kilobytes:.0f} GB"],
        [f"{share / 20:.1f} %"],
        [f"{write * 50_000 / 10_000:.0f} %"],
        [f"{message * 5000 / 10_000:.0f} %", f"{round(1e6 / message, -3):,.0f}"],
    ]
    for row, wanted in zip(rows, reckoned, strict=True):
        assert [each for each in wanted if each not in row["for ten million connections"]] == []


def test_every_result_is_shown() -> None:
    results = {f"results/{path.name}" for path in (ROOT / "bench" / "results").iterdir()}
    assert results <= {*_LINK.findall(TEXTS[FIGURES])}


# Threats.


def test_the_tests_against_threats_are_there() -> None:
    rows = table(TESTS, "threat", "defence", "tests")
    assert len(rows) > 20
    for row in rows:
        for file, names in re.findall(r"`(test_\w+)`: ((?:`test_\w+`(?:, )?)+)", row["tests"]):
            source = (ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8")
            for name in re.findall(r"`(\w+)`", names):
                assert f"def {name}(" in source, (file, name)
        assert re.fullmatch(r"(`test_\w+`: (`test_\w+`(, )?)+(; )?)+", row["tests"]), row
