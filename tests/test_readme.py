"""What the README shows works: commands can be sent as they stand, Python examples parse."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from livelog import Config, Server

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
    }
    assert asyncio.run(ask()) == expected[json.loads(command)["action"]]


def test_every_command_is_shown() -> None:
    shown = {json.loads(command)["action"] for command in blocks("json")}
    assert shown == {"subscribe", "unsubscribe", "publish", "get_history", "search", "ping"}


@pytest.mark.parametrize("example", blocks("python"))
def test_a_python_example_parses(example: str) -> None:
    ast.parse(example)
