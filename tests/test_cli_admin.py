"""`livelog admin redact --where`: the dry run before it, and the question on a terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from livelog.cli.admin import _table
from tests.support.command import done
from tests.support.identity import SECRET, token
from tests.support.process import CLEAN, ROOT
from tests.support.wire import House, on_uvloop, serving, soon


@contextmanager
def terminal(typed: str) -> Iterator[int]:
    """A terminal on which something has been typed; yields the end for a command."""
    ours, theirs = os.openpty()
    try:
        os.write(ours, typed.encode())
        yield theirs
    finally:
        os.close(ours)
        os.close(theirs)


async def redact(house: House, stdin: int, *options: str) -> tuple[int, str, str]:
    """Redact by an expression; returns the exit code, and what was printed."""
    url = house.server.url
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livelog", "admin", "redact", "--url", url),
        *("--where", "gold", *options),
        cwd=ROOT,
        env={**CLEAN, "LIVELOG_TOKEN": token("mod", "read moderate")},
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await soon(process.communicate(), "the end of the command")
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def found(house: House) -> int:
    return (await house.server.search("gold")).total


@pytest.mark.parametrize("typed", ["y\n", "yes\n", "Y\n"])
@on_uvloop
async def test_on_a_terminal_it_asks_and_does_what_is_agreed_to(typed: str) -> None:
    async with serving(jwt_secret=SECRET) as house:
        house.publish("gold", "more gold", "silver")
        with terminal(typed) as stdin:
            code, out, err = await redact(house, stdin)
        assert (code, "messages that match: 2; redact them for good? [y/N]" in err) == (0, True)
        assert "redacted: 2" in out
        assert await found(house) == 0


@pytest.mark.parametrize("typed", ["n\n", "\n", "sure\n"])
@on_uvloop
async def test_anything_else_than_yes_redacts_nothing(typed: str) -> None:
    async with serving(jwt_secret=SECRET) as house:
        house.publish("gold")
        with terminal(typed) as stdin:
            code, out, err = await redact(house, stdin)
        assert (code, out) == (1, "")
        assert "nothing was redacted" in err
        assert await found(house) == 1


@on_uvloop
async def test_in_a_script_yes_is_an_option() -> None:
    async with serving(jwt_secret=SECRET) as house:
        house.publish("gold", "silver")
        code, _, err = await redact(house, asyncio.subprocess.DEVNULL)
        assert (code, "--yes answers, or --dry-run shows" in err) == (1, True)
        assert await found(house) == 1
        code, out, _ = await redact(house, asyncio.subprocess.DEVNULL, "--yes")
        assert (code, out.splitlines()[0]) == (0, "redacted: 1")
        code, out, _ = await redact(house, asyncio.subprocess.DEVNULL, "--yes")
        assert (code, out.splitlines()[0]) == (0, "count: 0")


@on_uvloop
async def test_a_dry_run_and_numbers_that_are_given_ask_nothing() -> None:
    async with serving(jwt_secret=SECRET) as house:
        [seq] = house.publish("gold")
        with terminal("") as stdin:
            assert (await redact(house, stdin, "--dry-run"))[:2] == (
                0,
                f"count: 1\nupto_seq: {seq}\n",
            )
            given = ["--count", "1", "--upto-seq", str(seq)]
            assert "redacted: 1" in (await redact(house, stdin, *given))[1]


def test_ids_for_other_commands_are_whole() -> None:
    connection = f"conn_{uuid4()}"
    row = {"id": connection, "client": "x" * 100}
    assert connection in list(_table([row]))[1].split()


@on_uvloop
async def test_a_reload_that_could_not_read_something_has_failed(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text("[]")
    kept = ["keeping the old API keys"]
    async with serving(jwt_secret=SECRET, api_keys=str(keys), faults=kept) as house:
        reload = ["admin", "reload", "--url", house.server.url, "--token", token("op", "admin")]
        code, out, err = await done(*reload)
        assert (code, "failed: {}" in out, err) == (0, True, "")
        keys.write_text("[")
        code, out, err = await done(*reload)
        assert (code, "keys.json" in out, err) == (1, True, "")
