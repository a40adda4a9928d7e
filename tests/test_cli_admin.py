"""`livelog admin`: the question on a terminal before what cannot be taken back, and its dry run."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from livelog.cli import main
from livelog.cli.admin import _table
from tests.support.command import done
from tests.support.identity import SECRET, token
from tests.support.process import CLEAN, ROOT
from tests.support.wire import House, on_uvloop, serving, soon, user


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
    return await given(house, stdin, "redact", "--where", "gold", *options)


async def erase(house: House, stdin: int, *options: str) -> tuple[int, str, str]:
    """Erase a user; returns the same."""
    return await given(house, stdin, "erase", "--user-id", "eve", *options)


async def given(house: House, stdin: int, *command: str) -> tuple[int, str, str]:
    """Give a command; returns the exit code, and what was printed."""
    return await done("admin", *command, "--url", house.server.url, stdin=stdin, **MODERATOR)


MODERATOR = {"LIVELOG_TOKEN": token("mod", "read moderate admin")}


async def begun(house: House, stdin: int, *command: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livelog", "admin", *command, "--url", house.server.url),
        cwd=ROOT,
        env={**CLEAN, **MODERATOR},
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def end_of(process: Process) -> tuple[int, str, str]:
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


async def written_by_eve(house: House, *ids: str) -> None:
    for id in ids:
        await house.server.publish(user("hello", id=id, user_id="eve", username="Eve"))


async def by_eve(house: House) -> int:
    return (await house.server.history(filters={"user_id": "eve"})).total


@on_uvloop
async def test_an_erasure_is_asked_about_like_a_redaction() -> None:
    async with serving(jwt_secret=SECRET) as house:
        await written_by_eve(house, "m1", "m2")
        with terminal("n\n") as stdin:
            code, out, err = await erase(house, stdin)
        assert (code, out, await by_eve(house)) == (1, "", 2)
        assert "messages that name the user: 2; erase the user for good? [y/N]" in err
        assert "nothing was erased" in err
        with terminal("y\n") as stdin:
            code, out, _ = await erase(house, stdin)
        assert (code, out.splitlines()[0], await by_eve(house)) == (0, "erased: 2", 0)


@on_uvloop
async def test_what_comes_while_the_question_stands_is_erased_too() -> None:
    async with serving(jwt_secret=SECRET) as house:
        await written_by_eve(house, "m1")
        ours, theirs = os.openpty()
        try:
            process = await begun(house, theirs, "erase", "--user-id", "eve")
            assert process.stderr is not None
            await soon(process.stderr.readuntil(b"[y/N] "), "the question")
            await written_by_eve(house, "m2")
            os.write(ours, b"y\n")
            code, out, _ = await end_of(process)
        finally:
            os.close(ours)
            os.close(theirs)
        assert (code, out.splitlines()[0], await by_eve(house)) == (0, "erased: 2", 0)


@on_uvloop
async def test_in_a_script_an_erasure_needs_yes_or_the_numbers_of_a_dry_run() -> None:
    async with serving(jwt_secret=SECRET) as house:
        await written_by_eve(house, "m1")
        code, out, err = await erase(house, asyncio.subprocess.DEVNULL)
        assert (code, out, await by_eve(house)) == (1, "", 1)
        assert "erase asks on a terminal only: --yes answers" in err
        code, out, _ = await erase(house, asyncio.subprocess.DEVNULL, "--dry-run")
        assert (code, out.splitlines()[0]) == (0, "count: 1")
        code, out, _ = await erase(house, asyncio.subprocess.DEVNULL, "--count", "1")
        assert (code, out.splitlines()[0]) == (0, "erased: 1")
        await written_by_eve(house, "m2")
        code, out, _ = await erase(house, asyncio.subprocess.DEVNULL, "--yes")
        assert (code, out.splitlines()[0], await by_eve(house)) == (0, "erased: 1", 0)


@pytest.mark.parametrize("command", [["admin", "blocks"], ["top", "--once"], ["doctor"]])
@on_uvloop
async def test_who_is_blocked_is_told_so_by_commands_that_speak_http(command: list[str]) -> None:
    """The server answers, and closes, before it has read what is asked."""
    async with serving(jwt_secret=SECRET) as house:
        await house.server.admin("block", address="127.0.0.1", reason="spam", force=True)
        code, out, err = await done(*command, "--url", house.server.url, "--token", token("mod"))
        assert (code, "this address is blocked: spam" in out + err) == (1, True), out + err


@on_uvloop
async def test_the_doctor_says_what_the_server_says_of_a_drain() -> None:
    async with serving(jwt_secret=SECRET) as house:
        await house.server.admin("drain")
        code, out, _ = await done("doctor", "--url", house.server.url)
        assert (code, "WebSocket: HTTP status 503: the server is being drained" in out) == (1, True)


def test_of_two_users_none_is_left_out_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["admin", "block", "--user-id", "ann", "--user-id", "bob"])
    assert "argument --user-id: is given twice; a command takes one" in capsys.readouterr().err


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
