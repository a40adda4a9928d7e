"""`livelog history` and `search` as processes, and errors that all commands of the client share."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

from livelog import connect
from livelog.cli import COMMANDS
from tests.support.command import done, ndjson
from tests.support.forks import livelog
from tests.support.hostile import ID, Case, Expected, Frame, playing
from tests.support.identity import SECRET
from tests.support.process import CLEAN, ROOT, Start, ended
from tests.support.wire import PATIENCE, House, Json, on_uvloop, serving, user


@on_uvloop
async def test_history_and_search_show_pages() -> None:
    async with serving() as house:
        seqs = house.publish(*(f"dragon {n}" for n in range(10)))
        url = ["--url", house.server.url]
        code, out, err = await done("history", *url, "--limit", "3", "--offset", "2")
        assert (code, err) == (0, "livelog: 3 to 5 of 10 messages, newest first\n")
        assert [line.split()[0] for line in out.splitlines()] == [str(seqs[n]) for n in (7, 6, 5)]
        assert out.splitlines()[0].endswith("user    Ann: dragon 7")

        for flag, expected in [("--before", [3, 2]), ("--after", [6, 5]), ("--around", [5, 4])]:
            asked = [*url, flag, str(seqs[4]), "-n", "2", "--json"]
            code, out, err = await done("history", *asked)
            assert (code, err) == (0, "")
            assert {json.loads(line)["seq"] for line in out.splitlines()} == {
                seqs[n] for n in expected
            }, flag

        _, out, err = await done("search", "dragon", "7", *url, "--type", "user", "--json")
        assert [json.loads(line)["content"] for line in out.splitlines()] == ["dragon 7"]
        code, out, err = await done("search", "unicorn", *url)
        assert (code, out, err) == (0, "", "livelog: no message matches\n")

        _, _, err = await done("history", "--offset", "10", *url)
        assert err == "livelog: no messages on this page; 10 messages in all\n"

        code, _, err = await done("search", "--where", "dragon or unicorn", *url)
        assert (code, "'or' is a word here; the operator is OR" in err) == (0, True)

        where = ["--where", "dragon (7 OR 8) -type:raid", "--json"]
        for command in (["history"], ["search"], ["search", "dragon"]):
            code, out, err = await done(*command, *url, *where)
            assert (code, err) == (0, "")
            found = [json.loads(line)["content"] for line in out.splitlines()]
            assert found == ["dragon 8", "dragon 7"]


@on_uvloop
async def test_a_server_that_wants_a_credential_is_told_apart_from_one_that_is_away() -> None:
    async with serving(jwt_secret=SECRET) as house:
        url = ["--url", house.server.url]
        code, _, err = await done("history", *url)
        assert (code, "authenticate first; give a token" in err) == (1, True)

    async with serving(connections_per_ip=1) as house, connect(house.server.url):
        code, _, err = await done("history", "--url", house.server.url)
        assert (code, "no connection to" in err, "start one" in err) == (1, True, False)
        url = ["--url", house.server.url]
    code, _, err = await done("history", *url)
    assert (code, "cannot reach" in err, "start one" in err) == (1, True, True)


def _shell(line: str, **environment: str) -> tuple[int, bytes, str]:
    """Run a line of shell with `livelog` in it; exit code, stdout and stderr."""
    done = subprocess.run(
        ["bash", "-c", line.replace("livelog", f"{sys.executable} -m livelog", 1)],
        cwd=ROOT,
        env={**CLEAN, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout, done.stderr.decode()


async def _beside(house: House, line: str, **environment: str) -> tuple[int, bytes, str]:
    return await asyncio.to_thread(_shell, f"{line} --url {house.server.url}", **environment)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
@on_uvloop
async def test_json_is_utf_8_in_every_locale(encoding: str) -> None:
    async with serving() as house:
        house.publish("Žluťoučký 🐉 日本")
        locale = {"LC_ALL": "C", "PYTHONIOENCODING": encoding, "PYTHONCOERCECLOCALE": "0"}
        code, out, _ = await _beside(house, "livelog history --json", **locale)
        assert (code, json.loads(out)["content"]) == (0, "Žluťoučký 🐉 日本")
        code, out, _ = await _beside(house, "livelog history", **locale)
        assert (code, b"Ann: " in out) == (0, True)


def _closed(line: str) -> tuple[int, str]:
    code, _, err = _shell(f"livelog {line} >&-")
    return code, err


def _full(line: str) -> tuple[int, str]:
    with Path("/dev/full").open("w") as full:
        process = livelog(
            *line.split(), env=CLEAN, text=True, stdin=DEVNULL, stdout=full, stderr=PIPE
        )
        _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err


Output = Callable[[str], tuple[int, str]]
outputs = pytest.mark.parametrize("output", [_closed, _full], ids=["closed", "full"])
"""The exit code and stderr of a command whose output goes nowhere."""


@outputs
@pytest.mark.parametrize("command", ["history", "history --json", "search hello", "tail --since 0"])
@on_uvloop
async def test_an_output_that_takes_nothing_ends_it_with_one_line(
    command: str, output: Output
) -> None:
    async with serving() as house:
        house.publish("hello")
        code, err = await asyncio.to_thread(output, f"{command} --url {house.server.url}")
        assert (code, err.count("\n")) == (1, 1), err
        assert "Traceback" not in err


@outputs
@pytest.mark.parametrize("command", ["-h", "--version", "serve --help", "history -h", "keys -h"])
def test_help_that_cannot_be_printed_is_said_so_in_one_line(command: str, output: Output) -> None:
    code, err = output(command)
    assert (code, err.count("\n")) == (1, 1), err
    assert "Traceback" not in err


@on_uvloop
async def test_without_stderr_no_error_goes_to_stdout() -> None:
    async with serving() as house:
        code, out, _ = await _beside(house, "livelog search unicorn 2>&-")
        assert (code, out) == (0, b"")
        code, out, _ = await _beside(house, "livelog history --limit 0 2>/dev/full")
        assert (code, out) == (1, b"")


@on_uvloop
async def test_times_are_local_and_say_so() -> None:
    async with serving() as house:
        house.publish("hello", timestamp="2025-12-03T23:30:00Z")
        house.publish("leap", timestamp="2016-12-31T23:59:60.5Z")
        for zone, *shown in [
            ("UTC0", "2025-12-03 23:30:00+00:00", "2016-12-31 23:59:59+00:00"),
            ("CET-1", "2025-12-04 00:30:00+01:00", "2017-01-01 00:59:59+01:00"),
        ]:
            _, out, _ = await done("history", "--url", house.server.url, TZ=zone)
            assert all(time in out for time in shown)


@on_uvloop
async def test_every_time_that_the_server_takes_is_shown_in_one_form() -> None:
    times = {
        "2016-12-31T23:59:60Z": "2017-01-01 00:59:59+01:00",
        "2025-12-03t10:00:00z": "2025-12-03 11:00:00+01:00",
        "2025-12-03 10:00:00.123456789+0530": "2025-12-03 05:30:00+01:00",
        "9999-12-31T23:59:59Z": "9999-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z": "0000-01-01T00:00:00Z",
    }
    async with serving() as house:
        for timestamp in reversed(times):
            house.publish("hello", timestamp=timestamp)
        _, out, _ = await done("history", "--url", house.server.url, TZ="CET-1")
        for line, shown in zip(out.splitlines(), times.values(), strict=True):
            assert f"  {shown}  " in line


# Help.


def test_help_fits_a_screen_and_shows_examples(start: Start) -> None:
    code, out, err = ended(start("--help"))
    assert (code, err) == (0, "")
    assert len(out.splitlines()) <= 24
    assert max(map(len, out.splitlines())) <= 80
    assert "examples:" in out
    assert all(f"\n  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_examples(start: Start, name: str) -> None:
    code, out, err = ended(start(name, "--help", anew=True, COLUMNS="80"))
    assert (code, err) == (0, "")
    assert "examples:" in out
    assert f"livelog {name}" in out


def test_an_unknown_command_is_named(start: Start) -> None:
    code, out, err = ended(start("tial"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'tial'" in err
    assert "tail" in err


# Errors.


@on_uvloop
async def test_what_is_no_livelog_server_is_called_so() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for name in ("publish", "history"):
            code, out, err = await done(
                name, "--url", f"http://127.0.0.1:{port}", given=ndjson(user())
            )
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert "200" in err


@pytest.mark.parametrize("name", ["tail", "history", "search x", "publish"])
def test_where_nobody_listens_it_says_so_in_one_line(start: Start, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"ws://127.0.0.1:{port}"
    code, out, err = ended(start(*name.split(), "--url", url), ndjson(user()))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert url in err
    assert "refused" in err
    assert "--url" in err


@pytest.mark.parametrize("name", ["tail", "history", "search x", "publish"])
@pytest.mark.parametrize("url", ["localhost:8000", "ftp://here", "ws://", "ws://here:port"])
def test_what_is_no_address_is_wrong_usage(start: Start, name: str, url: str) -> None:
    code, out, err = ended(start(*name.split(), "--url", url), "")
    assert (code, out) == (2, "")
    assert url in err.splitlines()[-1]


@on_uvloop
async def test_wrong_requests_are_one_line_with_what_is_allowed() -> None:
    async with serving() as house:
        elsewhere = house.server.url.replace("live-log", "elsewhere")
        for arguments, said in [
            (["tail", "--filter", "colour=red"], "channel"),
            (["tail", "--type", "usr"], "user"),
            (["tail", "--since", "9000000000000000"], "future"),
            (["history", "--limit", "0"], "limit"),
            (["search", '""'], "query"),
            (["tail", "--where", "chanel:x"], "channel"),
            (["history", "--where", "a OR"], "quote it"),
            (["tail", "--url", elsewhere], "404"),
            (["history", "--url", elsewhere], "404"),
            (["publish", "/nowhere/events.ndjson"], "/nowhere/events.ndjson"),
            (["publish", "."], "director"),
        ]:
            code, out, err = await done(arguments[0], "--url", house.server.url, *arguments[1:])
            assert (code, out, err.count("\n")) == (1, "", 1), err
            assert said in err


def test_wrong_flags_are_wrong_usage(start: Start) -> None:
    for arguments in (["tail", "--filter", "channel"], ["history", "--before", "x"], ["search"]):
        code, out, err = ended(start(*arguments))
        assert (code, out) == (2, "")
        assert arguments[-1] in err


@pytest.mark.parametrize("flags", [[], ["--json"]])
@on_uvloop
async def test_a_page_with_a_part_missing_says_so(flags: list[str]) -> None:
    page = {"action": "history", "messages": [], "total_count": 9, "limit": 50, "offset": 0}
    sent = {**user("x"), "id": "a", "timestamp": "2025-12-03T10:00:00Z", "seq": 5}
    parts: list[tuple[Json, str]] = [
        ({"incomplete": True}, "the server's store did not answer"),
        ({"truncated": True, "messages": [sent]}, "go on with --offset 1"),
    ]
    for told, hint in parts:
        frame = Frame(json={**page, **told, "request_id": ID})
        case = Case("part", Expected(), instead="get_history", frames=[frame], plays=9)
        async with playing(case) as hostile:
            code, _, err = await done("history", *flags, "--url", hostile.url)
        assert (code, err.count("\n")) == (0, 1)
        assert hint in err


@on_uvloop
async def test_a_refusal_says_when_to_try_again() -> None:
    details = {"issue": "busy", "retry_after_seconds": 1.5}
    event = {"action": "error", "error_code": 1011, "error_message": "x", "details": details}
    frame = Frame(json={**event, "request_id": ID})
    async with playing(Case("busy", Expected(), instead="search", frames=[frame])) as hostile:
        answer = await done("search", "x", "--url", hostile.url)
    assert answer == (1, "", "livelog: busy; try again in 1.5 s\n")
