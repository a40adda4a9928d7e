"""`livelog publish` as a process, against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.command import done, ndjson, running, seen
from tests.support.process import CLEAN, ROOT, Start, ended, port_of, ready
from tests.support.wire import PATIENCE, House, Json, on_uvloop, serving, until, user


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


@on_uvloop
async def test_a_byte_order_mark_changes_neither_a_line_nor_its_id(tmp_path: Path) -> None:
    file, line = tmp_path / "events.ndjson", ndjson(user("same"))
    async with serving() as house:
        for mark in ("", "\ufeff"):
            file.write_text(f"{mark}{line}\n{mark}\n", encoding="utf-8")
            result = await done("publish", "--url", house.server.url, str(file))
            assert result == (0, "", "livelog: 1 message published\n")
        assert len(await past(house)) == 1


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
async def test_what_one_server_has_delivered_can_be_published_to_another() -> None:
    async with serving() as house, serving() as other:
        house.publish("one", metadata={"n": 2**70})
        house.publish("two")
        _, lines, _ = await done("history", "--url", house.server.url, "--json")
        for _ in range(2):
            code, _, err = await done("publish", "--url", other.server.url, given=lines)
            assert (code, err) == (0, "livelog: 2 messages published\n")
        copied = [{**message, "seq": None} for message in reversed(await past(other))]
        assert copied == [{**message, "seq": None} for message in await past(house)]


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
            assert err.endswith("1 message published, 1 refused\n")
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
    options = ["--store", str(tmp_path / "log.db"), "--drain-seconds", "0"]
    server = start("--port", "0", *options)
    url = ready(server)
    publish = start("publish", "--url", url)
    assert publish.stdin is not None
    assert publish.stderr is not None
    publish.stdin.write(ndjson(user("one")))
    publish.stdin.flush()
    wait_for_total(start, url, 1)
    server.terminate()  # it answers first: what is on disk may not be acknowledged yet
    ended(server)
    publish.stdin.write(ndjson(user("two")))
    publish.stdin.flush()
    assert "next attempt" in publish.stderr.readline()
    server = start("--port", str(port_of(url)), *options)
    ready(server)
    wait_for_total(start, url, 2)
    server.terminate()
    ended(server)
    code, _, err = ended(publish, ndjson(user("three")))
    assert code == 1
    assert "2 messages were acknowledged" in err.splitlines()[-1]
    assert "run the same again" in err


@on_uvloop
async def test_a_server_that_takes_nothing_for_a_while_is_asked_again() -> None:
    answers = [(503, refusal(1011, "disk full")), (503, "<html>a proxy</html>"), (201, TAKEN)]
    async with answering(answers) as (url, bodies):
        code, _, err = await done("publish", "--url", url, given=ndjson(user()))
    assert (code, len(bodies)) == (0, 3)
    assert "disk full; next attempt" in err
    assert err.endswith("1 message published\n")


@on_uvloop
async def test_a_wait_that_the_server_names_is_kept_within_bounds() -> None:
    limited = refusal(4003, "too many", retry_after_seconds=0.4)
    answers = [(429, limited), (503, refusal(1011, "x", retry_after_seconds=-1)), (201, TAKEN)]
    async with answering(answers) as (url, _):
        code, _, err = await done("publish", "--url", url, given=ndjson(user()))
    waits = [float(seconds) for seconds in re.findall(r"next attempt in ([\d.]+) s", err)]
    assert (code, len(waits)) == (0, 2)
    assert waits[0] >= 0.4
    assert waits[1] >= 0.1


@on_uvloop
async def test_of_a_body_taken_in_part_only_what_is_refused_for_now_is_sent_again() -> None:
    def refused(line: int, code: int) -> Json:
        return {"line": line, "id": f"m{line}", "error_code": code, "issue": "no"}

    first = refusal(1011, "x", acknowledged=["m1"], refused=[refused(2, 1008), refused(3, 1011)])
    for flags in ([], ["--keep-going"]):
        async with answering([(503, first), (201, TAKEN)]) as (url, bodies):
            given = ndjson(*(user(id=f"m{number}") for number in (1, 2, 3)))
            code, _, err = await done("publish", "--url", url, *flags, given=given)
        assert code == 1
        assert [re.findall(r'"id": "(m\d)"', body) for body in bodies] == [
            ["m1", "m2", "m3"],
            ["m3"],
        ]
        assert "line 2: id 'm2': no" in err
        assert err.endswith("2 messages published, 1 refused\n")


@on_uvloop
async def test_details_that_do_not_account_for_a_body_have_it_sent_again_whole() -> None:
    one = {"line": 1, "id": "a", "error_code": 1008, "issue": "no"}
    for entries, known in ([one], []), ([{**one, "line": 9}], ["b"]), ([{"line": 1}], ["b"]):
        broken = refusal(1011, "x", acknowledged=known, refused=entries)
        async with answering([(503, broken), (201, TAKEN)]) as (url, bodies):
            given = ndjson(user(id="a"), user(id="b"))
            code, _, err = await done("publish", "--url", url, given=given)
        assert (code, len(bodies), bodies[0]) == (0, 2, bodies[1])
        assert err.endswith("2 messages published\n")


@on_uvloop
async def test_a_refusal_of_a_line_that_was_not_sent_ends_it() -> None:
    for line in (0, 7, "x", None):
        async with answering([(400, refusal(1002, "bad", line=line))]) as (url, _):
            code, _, err = await done("publish", "--url", url, given=ndjson(user(), user()))
        assert (code, err) == (1, "livelog: bad\n")


TAKEN = '{"count":1}'


def refusal(code: int, issue: str, **details: object) -> str:
    """The body of an answer that refuses."""
    event = {"action": "error", "error_code": code, "error_message": "x"}
    return json.dumps({**event, "details": {"issue": issue, **details}})


@asynccontextmanager
async def answering(answers: list[tuple[int, str]]) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that answers with these statuses and bodies; its URL, and the bodies it got."""
    bodies: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"Content-Length: (\d+)", head)
        assert size is not None
        bodies.append((await reader.readexactly(int(size[1]))).decode())
        status, body = answers[len(bodies) - 1]
        head = b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % (status, len(body)) + body.encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", bodies


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
