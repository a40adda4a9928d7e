"""Admin commands given through each of the doors."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from livelog.auth.principal import PROGRAM
from livelog.errors import RefusedError
from livelog.wire.events import encoder, error
from tests.support.identity import SECRET, token
from tests.support.process import CLEAN, ROOT
from tests.support.wire import PATIENCE, Client, House, Json

AUTH: dict[str, Any] = {"jwt_secret": SECRET}
DOORS = ["websocket", "http", "command line", "program"]
OUTSIDE = DOORS[:3]

at_each_door = pytest.mark.parametrize("door", DOORS)
at_each_outer_door = pytest.mark.parametrize("door", OUTSIDE)

assert PROGRAM.open  # so it is asked about no scope


async def entered(
    house: House, who: str = "u1", scope: str = "read publish", source: str = ""
) -> Client:
    """A client that has authenticated."""
    client = await house.client(source=source)
    answer = await client.ask("authenticate", token=token(who, scope))
    assert answer["action"] == "authenticated", answer
    return client


async def give(
    house: House, door: str, command: str, scope: str = "moderate", who: str = "mod", **fields: Any
) -> Json:
    """Give a command through a door, and return the whole answer: the result or the error."""
    if door == "program":
        return await _by_program(house, command, fields)
    if door == "command line":
        return await _by_command_line(house, command, token(who, scope), fields)
    if door == "http":
        http = await house.http()
        bearer = f"Bearer {token(who, scope)}"
        body = json.dumps(fields)
        answer = await http.ask("POST", f"/api/admin/{command}", body, Authorization=bearer)
        http.close()
        return {**answer.json, "status": answer.status}
    client = await entered(house, who, scope)
    await client.tell("admin", command=command, **fields)
    while (event := await client.event()).get("action") not in ("admin_result", "error"):
        pass
    client.close()
    return event


async def _by_program(house: House, command: str, fields: Json) -> Json:
    try:
        answer: Any = await house.server.admin(command, **fields)
    except RefusedError as refused:
        answer = error(refused)
    value: Json = json.loads(encoder.encode(answer))
    return value


async def _by_command_line(house: House, command: str, secret: str, fields: Json) -> Json:
    options = [part for name, value in fields.items() for part in _option(name, value)]
    if command == "erase":
        options.append("--yes")  # there is no terminal to be asked on
    arguments = ["admin", command, "--url", house.server.url, "--json", *options]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "livelog", *arguments],
        cwd=ROOT,
        env={**CLEAN, "LIVELOG_TOKEN": secret},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode == 0:
        value: Json = json.loads(done.stdout)
        return value
    assert done.stderr.startswith("livelog: "), done.stderr
    return {"action": "error", "said": done.stderr}


def _option(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    return [flag, ",".join(map(str, value)) if isinstance(value, list) else str(value)]
