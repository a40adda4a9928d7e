"""tail, publish, history and search as processes, against a real server; some on a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from livelog.cli import COMMANDS
from livelog.cli.sanitize import harmless
from tests.support.process import CLEAN, ROOT, Start, ended, port_of, ready
from tests.support.wire import PATIENCE, SAMPLES, House, Json, on_uvloop, serving, until, user


class Command:
    """A command that runs beside a server in this process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        """The next line of stdout."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self.process.stdout.readline()).decode()

    async def note(self) -> str:
        """The next line of stderr."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            return (await self.process.stderr.readline()).decode()

    async def write(self, text: str) -> None:
        """Send something to stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        await self.process.stdin.drain()

    async def end(self, given: str = "") -> tuple[int | None, str, str]:
        """Let stdin end after `given`; exit code, stdout and stderr."""
        async with asyncio.timeout(PATIENCE):
            out, err = await self.process.communicate(given.encode())
        return self.process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Command]:
    """The command; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livelog", *arguments),
        cwd=ROOT,
        env=CLEAN,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def done(*arguments: str, given: str = "") -> tuple[int | None, str, str]:
    """Run the command to its end."""
    async with running(*arguments) as command:
        return await command.end(given)


async def followed(house: House, count: int = 1) -> None:
    """Wait until so many listen."""
    await until(lambda: listening(house) == count, "somebody listens")


def listening(house: House) -> int:
    """How many connections are subscribed to something."""
    return sum(len(audience.members) for audience in house.context.hub._audiences.values())


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
    code, out, err = ended(start(name, "--help", COLUMNS="80"))
    assert (code, err) == (0, "")
    assert "examples:" in out
    assert f"livelog {name}" in out


def test_an_unknown_command_is_named(start: Start) -> None:
    code, out, err = ended(start("tial"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'tial'" in err
    assert "tail" in err


# Following.


@on_uvloop
async def test_tail_prints_a_line_for_each_message() -> None:
    async with serving() as house, running("tail", "--url", house.server.url) as tail:
        await followed(house)
        for sample in SAMPLES:
            house.append(sample)
        lines = [await tail.line() for _ in SAMPLES]
        assert lines[0] == (
            "2025-12-03 12:00:00  user    [general] DragonMaster: Message text here\n"
        )
        assert [line.split()[2] for line in lines] == [sample["type"] for sample in SAMPLES]
        assert "45 % left" in lines[3]
        tail.process.send_signal(signal.SIGINT)
        assert await tail.end() == (130, "", "")


@on_uvloop
async def test_tail_selects() -> None:
    flags = ["--type", "user,dm", "--filter", "channel=a", "--search", "dragon", "--since", "0"]
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
    assert harmless("Grüße, 世界 👋🏽 [x]") == "Grüße, 世界 👋🏽 [x]"


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
async def test_on_a_terminal_it_is_in_colour_and_still_harmless() -> None:
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
        assert header.split() == ["SEQ", "TIME", "(UTC)", "TYPE", "TEXT"]
        assert header.index("TYPE") == line.index("user")


def seen(leader: int) -> str:
    """What has been written to a terminal whose writers are gone."""
    data = b""
    while select.select([leader], [], [], 1)[0]:
        try:
            data += os.read(leader, 65536)
        except OSError:  # Linux says so at the end
            break
    os.close(leader)
    return data.decode()


# Asking.


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
            asked = [*url, flag, str(seqs[4]), "--limit", "2", "--json"]
            code, out, err = await done("history", *asked)
            assert (code, err) == (0, "")
            assert {json.loads(line)["seq"] for line in out.splitlines()} == {
                seqs[n] for n in expected
            }, flag

        _, out, err = await done("search", "dragon", "7", *url, "--type", "user", "--json")
        assert [json.loads(line)["content"] for line in out.splitlines()] == ["dragon 7"]
        code, out, err = await done("search", "unicorn", *url)
        assert (code, out, err) == (0, "", "livelog: nothing to show; 0 messages match\n")


# Publishing.


def ndjson(*messages: Json) -> str:
    """One message a line."""
    return "".join(json.dumps(message) + "\n" for message in messages)


@on_uvloop
async def test_a_file_is_published_once_however_often_it_is_run(tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    messages = [user(f"{n} {'x' * 300}") for n in range(3000)]
    file.write_text(ndjson(*messages, user("same"), user("same")) + "\n")
    async with serving() as house:
        for _ in range(2):
            result = await done("publish", "--url", house.server.url, str(file))
            assert result == (0, "", "livelog: 3002 messages published\n")
        page = await past(house)
        assert [message["content"] for message in page[2:]] == [
            message["content"] for message in reversed(messages)
        ]
        assert page[0]["content"] == page[1]["content"] == "same"
        assert page[0]["id"].startswith("msg_")


async def past(house: House) -> list[Json]:
    """All messages, newest first."""
    http = await house.http()
    found: list[Json] = []
    while True:
        answer = await http.ask("GET", f"/api/history?limit=1000&offset={len(found)}")
        found += answer.json["messages"]
        if len(found) == answer.json["total_count"]:
            return found


@on_uvloop
async def test_the_same_lines_from_a_pipe_are_new_unless_it_has_a_name() -> None:
    async with serving() as house:
        text = ndjson(user("hello"), user("with an id", id="mine"))
        for flags, total in [([], 2), ([], 3), (["--name", "x"], 4), (["--name", "x"], 4)]:
            code, _, _ = await done("publish", "--url", house.server.url, *flags, given=text)
            assert (code, len(await past(house))) == (0, total)


@on_uvloop
async def test_what_a_pipe_brings_is_published_at_once() -> None:
    async with serving() as house, running("publish", "--url", house.server.url) as publish:
        for text in ("one", "two"):
            await publish.write(ndjson(user(text)))
            await until(lambda: house.context.log.head, "published")
        half = ndjson(user("three"))
        await publish.write(half[:20])
        code, _, err = await publish.end(half[20:].rstrip("\n"))
        assert (code, err) == (0, "livelog: 3 messages published\n")
        assert [m["content"] for m in await past(house)] == ["three", "two", "one"]


@on_uvloop
async def test_a_terminal_sees_how_far_it_is(tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text(ndjson(*(user("x" * 1000) for _ in range(2000))))
    async with serving() as house:
        leader, follower = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "livelog", "publish", str(file), "--url", house.server.url),
            cwd=ROOT,
            env={**CLEAN, "TERM": "xterm", "COLUMNS": "80"},
            stderr=follower,
        )
        os.close(follower)
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
        out = seen(leader)
        assert "publishing" in out
        assert "100%" in out
        assert out.rstrip().endswith("2000 messages published")


@on_uvloop
async def test_what_has_no_lines_is_not_read_to_its_end() -> None:
    async with serving() as house:
        code, out, err = await done("publish", "--url", house.server.url, "/dev/zero")
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "NDJSON" in err


WRONG = ["{", "[1]", '{"type":"user"}', ndjson({**user("x"), "colour": 1}).strip()]


@on_uvloop
async def test_a_wrong_line_is_named_and_nothing_after_it_is_published() -> None:
    for wrong in WRONG:
        async with serving() as house:
            text = ndjson(user("before")) + wrong + "\n" + ndjson(user("after"))
            code, out, err = await done("publish", "--url", house.server.url, given=text)
            assert (code, out) == (1, "")
            assert "line 2:" in err, err
            assert "--keep-going" in err
            assert err.endswith("1 messages published, 1 refused\n")
            assert [m["content"] for m in await past(house)] == ["before"]


@on_uvloop
async def test_wrong_lines_can_be_passed_over() -> None:
    lines = [line for n, wrong in enumerate(WRONG * 3) for line in (wrong, ndjson(user(str(n))))]
    text = "\n".join(line.strip() for line in lines)
    async with serving() as house:
        flags = ["--url", house.server.url, "--keep-going"]
        code, _, err = await done("publish", *flags, given=text)
        assert code == 1
        named = [int(number) for number in re.findall(r"line (\d+):", err)]
        assert sorted(named) == [*range(1, 24, 2)]
        assert "12 messages published, 12 refused" in err
        assert [int(m["content"]) for m in await past(house)] == [*range(11, -1, -1)]


def test_publishing_survives_a_restart_and_gives_up_without_a_server(
    start: Start, tmp_path: Path
) -> None:
    options = ["--store", str(tmp_path / "log.db")]
    server = start("--port", "0", *options)
    url = ready(server)
    publish = start("publish", "--url", url)
    assert publish.stdin is not None
    assert publish.stderr is not None
    publish.stdin.write(ndjson(user("one")))
    publish.stdin.flush()
    wait_for_total(start, url, 1)
    server.kill()
    ended(server)
    publish.stdin.write(ndjson(user("two")))
    publish.stdin.flush()
    assert "next attempt" in publish.stderr.readline()
    server = start("--port", str(port_of(url)), *options)
    ready(server)
    wait_for_total(start, url, 2)
    server.kill()
    ended(server)
    code, _, err = ended(publish, ndjson(user("three")))
    assert code == 1
    assert "2 messages were acknowledged" in err.splitlines()[-1]
    assert "run the same again" in err


@on_uvloop
async def test_a_server_that_takes_nothing_for_a_while_is_asked_again() -> None:
    full = (
        b'{"action":"error","error_code":1011,"error_message":"x","details":{"issue":"disk full"}}'
    )
    answers = [(503, full), (503, b"<html>a proxy</html>"), (201, b'{"count":1}')]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"Content-Length: (\d+)", head)
        assert size is not None
        await reader.readexactly(int(size[1]))
        status, body = answers.pop(0)
        writer.write(
            b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        code, _, err = await done("publish", "--url", url, given=ndjson(user()))
        assert (code, answers) == (0, [])
        assert "disk full; next attempt" in err
        assert err.endswith("1 messages published\n")


def wait_for_total(start: Start, url: str, total: int) -> None:
    """Wait until the server has so many messages."""
    deadline = time.monotonic() + PATIENCE
    while ended(start("history", "--url", url, "--json"))[1].count("\n") < total:
        assert time.monotonic() < deadline


@on_uvloop
async def test_a_unix_socket_is_an_address_too() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with serving(uds=f"{directory}/live.sock") as house:
            url = ["--url", house.server.url]
            assert (await done("publish", *url, given=ndjson(user("hello"))))[0] == 0
            assert "Ann: hello" in (await done("history", *url))[1]


# What cannot be.


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
