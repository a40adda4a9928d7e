"""What the README shows works: commands can be sent as they stand, Python examples parse."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from websockets.asyncio.client import connect

from livelog import Config, Server
from livelog.wire.commands import AnyCommand
from tests.support.process import ROOT, Start, ready

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("command", blocks("json"))
def test_a_command_from_the_readme_is_granted(command: str) -> None:
    async def ask() -> str:
        async with Server(Config(port=0, store="memory")) as server, connect(server.url) as client:
            await client.recv()  # connected
            await client.send(command)
            return str(json.loads(await asyncio.wait_for(client.recv(), 10))["action"])

    expected = {
        "subscribe": "subscribed",
        "unsubscribe": "unsubscribed",
        "publish": "published",
        "get_history": "history",
        "search": "search_results",
        "ping": "pong",
        "authenticate": "authenticated",
    }
    assert asyncio.run(ask()) == expected[json.loads(command)["action"]]


def test_every_command_is_shown() -> None:
    shown = {json.loads(command)["action"] for command in blocks("json")}
    assert shown == {command.__struct_config__.tag for command in get_args(AnyCommand)}


@pytest.mark.parametrize("example", blocks("python"))
def test_a_python_example_parses(example: str) -> None:
    ast.parse(example)


def test_the_client_of_the_readme_runs(start: Start) -> None:
    [example] = [block for block in blocks("python") if "connect(" in block]
    url = ready(start("--port", "0"))
    example = example.replace("ws://localhost:8000/ws/live-log", url)
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", example], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert "content='hello'" in process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def test_the_tests_of_the_threat_list_are_there() -> None:
    section = README.partition("### Threats, and what stops them")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 20
    for row in rows:
        tests = row.split("|")[3]
        for file, names in re.findall(r"`(test_\w+)`: ((?:`test_\w+`(?:, )?)+)", tests):
            source = (ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8")
            for name in re.findall(r"`(\w+)`", names):
                assert f"def {name}(" in source, (file, name)
        assert re.fullmatch(r"(\s*`test_\w+`: (`test_\w+`(, )?)+;?)+\s*", tests), row
