"""`livelog tail` as a process, against a real server; some on a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from pathlib import Path

import pytest

from livelog.cli import moments
from livelog.cli.sanitize import sanitized
from tests.support.command import done, followed, running, seen
from tests.support.process import CLEAN, ROOT, Start, ended, port_of, ready
from tests.support.wire import PATIENCE, SAMPLES, House, on_uvloop, serving, user


@on_uvloop
async def test_tail_prints_a_line_for_each_message() -> None:
    async with serving() as house, running("tail", "--url", house.server.url) as tail:
        await followed(house)
        for sample in SAMPLES:
            house.append(sample)
        lines = [await tail.line() for _ in SAMPLES]
        assert lines[0] == (
            "2025-12-03 12:00:00+00:00  user    [general] DragonMaster: Message text here\n"
        )
        assert [line.split()[2] for line in lines] == [sample["type"] for sample in SAMPLES]
        assert "45 % left" in lines[3]
        tail.process.send_signal(signal.SIGINT)
        assert await tail.end() == (130, "", "")


@pytest.mark.parametrize(
    "conditions",
    [["--filter", "channel=a", "--search", "dragon"], ["--where", "dragon -(bird OR channel:b)"]],
)
@on_uvloop
async def test_tail_selects(conditions: list[str]) -> None:
    flags = ["--type", "user,dm", *conditions, "--since", "0"]
    async with serving() as house:
        house.publish("a dragon", "a bird", metadata={"channel": "a"})
        house.publish("another dragon", metadata={"channel": "b"})
        async with running("tail", "--url", house.server.url, *flags, "--json") as tail:
            house.publish("late dragon", metadata={"channel": "a"})
            got = [json.loads(await tail.line()) for _ in range(2)]
            assert [message["content"] for message in got] == ["a dragon", "late dragon"]
            assert got[0]["seq"] < got[1]["seq"]


EVIL = "\x1b]0;owned\x07 \x9b31m \x7f \r\n two \u202e lines \u2028 [red]markup[/red]"


@on_uvloop
async def test_messages_cannot_act_on_the_terminal() -> None:
    async with serving() as house:
        house.publish(EVIL, username=EVIL, metadata={"channel": EVIL})
        house.append({**SAMPLES[1], "data": {EVIL: EVIL}})
        for flags in ([], ["--json"]):
            _, out, _ = await done("history", "--url", house.server.url, *flags)
            assert out.count("\n") == 2
            assert re.fullmatch("[ -~→\u00a0-\u024f\n]*", out), out
            assert "\\u001b]0;owned\\u0007" in out
        texts = [json.loads(line) for line in out.splitlines()]
        assert texts[1]["content"] == EVIL


def test_plain_text_stays_as_it_is() -> None:
    assert sanitized("Grüße, 世界 👋🏽 [x]") == "Grüße, 世界 👋🏽 [x]"


@on_uvloop
async def test_tail_goes_on_when_the_server_comes_back() -> None:
    async with serving() as house:
        port = house.server.port
        async with running("tail", "--url", house.server.url, "--type", "user") as tail:
            await followed(house)
            house.publish("before")
            assert "before" in await tail.line()
            await house.server.close()
            assert "connection lost: the server is shutting down" in await tail.note()
            async with serving(port=port) as again:
                note = await tail.note()
                while "again" not in note:
                    assert "next attempt" in note
                    note = await tail.note()
                again.publish("after")
                assert "gap" in await tail.note()
                assert "after" in await tail.line()


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(
    start: Start, tmp_path: Path
) -> None:
    options = ["--store", str(tmp_path / "log.db"), "--no-limits"]
    server = start("--port", "0", *options)
    url = ready(server)
    tail = start("tail", "--url", url, "--json", "--since", "0")
    lines = "".join(json.dumps(user(str(n))) + "\n" for n in range(100))
    assert ended(start("publish", "--url", url), lines)[0] == 0
    assert tail.stdout is not None
    got = [json.loads(tail.stdout.readline()) for _ in range(100)]
    server.kill()
    ended(server)
    server = start("--port", str(port_of(url)), *options)
    ready(server)
    assert ended(start("publish", "--url", url), lines)[0] == 0
    got += [json.loads(tail.stdout.readline()) for _ in range(100)]
    assert [message["content"] for message in got] == [str(n) for n in range(100)] * 2
    tail.send_signal(signal.SIGINT)
    code, _, err = ended(tail)
    assert code == 130
    assert "connected again" in err
    assert "gap" not in err


@on_uvloop
async def test_a_reader_who_leaves_ends_it_quietly() -> None:
    async with serving() as house:
        house.publish(*map(str, range(5000)))
        command = f"{sys.executable} -m livelog tail --url {house.server.url} --since 0 | head -n 2"
        shell = await asyncio.create_subprocess_shell(
            command, cwd=ROOT, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await asyncio.wait_for(shell.communicate(), PATIENCE)
        assert out.count(b"\n") == 2
        assert err == b""
        await house.emptied()


@on_uvloop
async def test_a_reader_who_leaves_need_not_wait_for_the_next_message() -> None:
    async with serving() as house:
        reader, writer = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "livelog", "tail", "--url", house.server.url),
            cwd=ROOT,
            env=CLEAN,
            stdout=writer,
            stderr=subprocess.PIPE,
        )
        os.close(writer)
        await followed(house)
        os.close(reader)
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert (process.returncode, err) == (0, b"")


@on_uvloop
async def test_on_a_terminal_it_is_in_colour_and_still_sanitized() -> None:
    async with serving() as house:
        house.publish(EVIL)
        leader, follower = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "livelog", "history", "--url", house.server.url),
            cwd=ROOT,
            env={**CLEAN, "TERM": "xterm-256color", "COLUMNS": "80"},
            stdout=follower,
            stderr=subprocess.PIPE,
        )
        os.close(follower)
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
        out = seen(leader)
        assert "\x1b[32muser" in out
        plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
        assert re.fullmatch("[ -~\r\n]*", plain), plain
        assert "[red]markup[/red]" in plain
        header, line = plain.split("\r\n")[:2]
        assert header.split() == ["SEQ", "TIME", "TYPE", "TEXT"]
        assert header.index("TYPE") == line.index("user")


# Where it begins, and where it ends.


async def _printed(house: House, *flags: str) -> list[str]:
    code, out, err = await done("tail", "--url", house.server.url, "--json", *flags)
    assert (code, err) == (0, "")
    return [json.loads(line)["content"] for line in out.splitlines()]


@on_uvloop
async def test_tail_ends_where_it_is_told_to() -> None:
    async with serving() as house:
        seqs = house.publish(*(f"early {n}" for n in range(12)), timestamp="2025-12-03T10:00:00Z")
        house.publish("late", timestamp="2025-12-04T10:00:00Z")
        house.publish("now")
        early = [f"early {n}" for n in range(12)]
        everything = [*early, "late", "now"]
        for flags, expected in [
            (["--no-follow"], everything[-10:]),
            (["--no-follow", "-n", "2"], everything[-2:]),
            (["--no-follow", "-n", "0"], []),
            (["--no-follow", "-n", "2000"], everything),
            (["--no-follow", "--since", "0"], everything),
            (["--no-follow", "--since", "10m"], ["now"]),
            (["--since", "2025-12-04T00:00Z", "--until", "2025-12-05T00:00Z"], ["late"]),
            (["--until", str(seqs[3])], early[:4]),
            (["--until", str(seqs[3]), "-n", "2"], early[2:4]),
            (["--until", "2025-12-04T00:00Z", "--search", "7"], ["early 7"]),
            (["--until", "2025-12-01"], []),
        ]:
            assert await _printed(house, *flags) == expected, flags


@pytest.mark.parametrize(
    "flags", [["-n", "3"], ["--since", "10m"], ["--since", "1h", "--where=-unicorn"]]
)
@on_uvloop
async def test_tail_goes_on_behind_what_is_stored(flags: list[str]) -> None:
    async with serving() as house:
        house.publish("old", timestamp="2025-12-03T10:00:00Z")
        house.publish("a", "b", "c")
        async with running("tail", "--url", house.server.url, "--json", *flags) as tail:
            assert [json.loads(await tail.line())["content"] for _ in range(3)] == ["a", "b", "c"]
            house.publish("d", "e")
            assert [json.loads(await tail.line())["content"] for _ in range(2)] == ["d", "e"]


@pytest.mark.parametrize("place", ["yesterday", "10x", "2025-13-01", "-5", "999999999w", ""])
def test_a_place_that_means_nothing_is_refused(place: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is invalid: must be a seq"):
        moments.place(place)


def test_times_without_a_zone_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    try:
        found = moments.place("2025-12-03T10:00")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert isinstance(found, datetime)
    assert moments.rfc3339(found) == "2025-12-03T09:00:00Z"


@pytest.mark.parametrize("zone", ["UTC", "CET-1", "EST5"])
@pytest.mark.parametrize(("text", "year"), [("0001-01-01", 1), ("9999-12-31T23:59", 9999)])
def test_the_first_and_the_last_day_are_places_wherever_one_is(
    monkeypatch: pytest.MonkeyPatch, zone: str, text: str, year: int
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        found = moments.place(text)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert isinstance(found, datetime)
    assert (found.year, found.tzinfo) == (year, UTC)


@on_uvloop
async def test_history_longer_than_an_answer_comes_in_several() -> None:
    async with serving() as house:
        house.publish(*map(str, range(2500)))
        flags = ("--limit", "2200", "--json")
        code, out, err = await done("history", "--url", house.server.url, *flags)
        assert (code, err) == (0, "")
        assert [json.loads(line)["content"] for line in out.splitlines()] == [
            str(n) for n in range(2499, 299, -1)
        ]
