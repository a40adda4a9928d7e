"""The log: its two forms, in all processes, and no secret in any line of it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from livelog import Config, Server, connect
from livelog.config import logs
from livelog.errors import RefusedError
from livelog.net.audit import Audit
from livelog.store.reader.calls import Opening, framed
from livelog.wire.commands import ACTIONS
from tests.support.brokers import fresh_url
from tests.support.clock import Clock
from tests.support.identity import api_key
from tests.support.process import CLEAN, ROOT, STOPPED, Start, ended, port_of, ready
from tests.support.wire import Client, Http, Json, on_uvloop, serving, soon

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TOKEN = "aVerySecretTokenThatMustNotBeLogged"


def record(text: str = "it %s", *args: object, **named: object) -> logging.LogRecord:
    made = logging.LogRecord("livelog.audit", logging.INFO, "", 0, text, args or ("was",), None)
    vars(made).update(logs.fields(**named))
    return made


def lines_of(text: str) -> list[Json]:
    """All lines, each of which must be an object with what every line has."""
    found: list[Json] = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert {"time", "level", "logger", "message"} <= line.keys()
        assert RFC_3339.fullmatch(line["time"])
    return found


# The forms.


def test_a_line_of_json_has_the_fields_of_the_line_and_no_other_takes_their_place() -> None:
    made = record(code=1002, field="type", scope=None, level="x", path="")
    line = json.loads(logs.Form("json", worker=2).formatter.format(made))
    assert RFC_3339.fullmatch(line.pop("time"))
    assert line == {
        "level": "info",
        "logger": "livelog.audit",
        "message": "it was",
        "worker": 2,
        "code": 1002,
        "field": "type",
    }


def test_a_line_of_json_is_one_line_with_a_traceback_and_a_stray_character() -> None:
    made = record("a\nb \udc80")
    try:
        raise ValueError("it broke")
    except ValueError:
        made.exc_info = sys.exc_info()
    made.args = ()
    text = logs.Form("json").formatter.format(made)
    assert "\n" not in text
    line = json.loads(text)
    assert line["message"] == "a\nb \udc80"
    assert line["exception"].endswith("ValueError: it broke")


def test_a_line_of_text_ends_with_its_fields_and_stays_one_line() -> None:
    text = logs.Form("text", worker=3).formatter.format(record(code=1002, user="a b\nc\x1b[2J"))
    ending = r" worker 3 INFO livelog.audit: it was [code=1002 user=a\x20b\nc\x1b[2J]"
    assert text.endswith(ending)
    assert logs.Form("text").formatter.format(record()).endswith(" INFO livelog.audit: it was")


def test_a_form_survives_the_way_to_another_process() -> None:
    form = logs.Form("json", "debug", 7)
    assert logs.parsed(form.argument) == form


# Refusals.


@pytest.fixture
def audited(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", "livelog.audit")
    return caplog


def fields_of(made: logging.LogRecord) -> Json:
    found: Json = vars(made).get("fields", {})
    return found


@on_uvloop
async def test_a_refusal_names_command_code_field_scope_and_connection(
    audited: pytest.LogCaptureFixture,
) -> None:
    async with serving() as house:
        client = await house.client()
        await client.ask("subscribe", message_types=["user"], filters={"chanel": "x"})
        await client.ask("get_history", limit=0)
        await client.send(b"")
    told = [fields_of(each) for each in audited.records if "refused" in each.getMessage()]
    # The second one has the same code and address within a minute, and is counted only.
    assert [(each["command"], each["code"], each["field"]) for each in told] == [
        ("subscribe", 1002, "filters.*")
    ]
    assert told[0]["connection"].startswith("conn_")


@pytest.mark.parametrize(
    ("target", "path", "field"),
    [
        (f"/api/history?limit=0&token={TOKEN}", "/api/history", "limit"),
        (f"/{TOKEN}", "*", "path"),
        (f"/api/history?{TOKEN}=1", "/api/history", "*"),
    ],
)
@on_uvloop
async def test_a_refused_request_names_its_path_and_nothing_that_a_client_made_up(
    audited: pytest.LogCaptureFixture, target: str, path: str, field: str
) -> None:
    async with serving() as house:
        http = await house.http()
        assert (await http.ask("GET", target)).status >= 400
    [told] = [fields_of(each) for each in audited.records if "refused" in each.getMessage()]
    assert (told["path"], told["field"], told["method"]) == (path, field, "GET")
    assert TOKEN not in repr([(each.getMessage(), fields_of(each)) for each in audited.records])


def test_a_long_field_is_not_quoted(audited: pytest.LogCaptureFixture) -> None:
    audit = Audit(Clock())
    audit.refused("203.0.113.9", RefusedError(1002, "message.data" * 100, "no"), quote=False)
    audit.refused("203.0.113.8", RefusedError(1002, f"message.{TOKEN}[3].type", "no"), quote=False)
    assert [fields_of(each)["field"] for each in audited.records] == ["*", "message.*[3].type"]


def test_actions_are_those_of_the_commands() -> None:
    assert {"subscribe", "publish", "authenticate"} <= ACTIONS


# Embedded.


@on_uvloop
async def test_a_program_that_embeds_a_server_keeps_its_own_configuration() -> None:
    root, own = logging.getLogger(), logging.getLogger("livelog")
    before = [*root.handlers], root.level, own.level, [*own.handlers]
    async with Server(Config(port=0, store="memory", log_format="json", log_level="debug")):
        assert ([*root.handlers], root.level, own.level, [*own.handlers]) == before
    assert logs.form() is None


@pytest.mark.parametrize("wanted", [True, False])
@on_uvloop
async def test_the_access_log_has_each_request_and_websocket_if_it_is_on(
    caplog: pytest.LogCaptureFixture, wanted: bool
) -> None:
    caplog.set_level("INFO", "livelog.access")
    async with serving(access_log=wanted) as house:
        http = await house.http()
        await http.ask("GET", f"/healthz?token={TOKEN}")
        await http.ask("GET", f"/{TOKEN}")
        client = await house.client()
        client.close()
        http.close()
        await house.emptied()
    told = [fields_of(each) for each in caplog.records if each.name == "livelog.access"]
    assert TOKEN not in repr(told)
    if not wanted:
        assert told == []
        return
    requests = [each for each in told if "path" in each]
    assert [(each["path"], each["status"]) for each in requests] == [("/healthz", 200), ("*", 404)]
    assert all(each["seconds"] >= 0 and each["address"] == "127.0.0.1" for each in requests)
    opened, gone = [each for each in told if "connection" in each]
    assert opened["connection"] == gone["connection"]
    assert gone["seconds"] >= 0


# The processes.


async def provoke(port: int, key: str) -> None:
    """Ask for much that is refused, with a secret in every place that could hold one."""
    http = await Http.connect(("127.0.0.1", port))
    with closing(http):
        for target in (f"/api/history?token={TOKEN}", f"/{TOKEN}", f"/api/search?{TOKEN}=1"):
            await soon(http.ask("GET", target))
        await soon(http.ask("GET", f"/api/history?token={key}&limit=0"))
    for query in (f"?token={TOKEN}", f"?message_types={TOKEN}"):
        client = await Client.connect(("127.0.0.1", port))
        with closing(client):
            await client.open(query)
            await client.tell("authenticate", token=TOKEN)
            await client.tell("publish", message={"type": "user", TOKEN: TOKEN})
            await soon(client.rest())


@pytest.mark.parametrize("workers", [1, 2])
def test_every_line_is_json_and_holds_no_secret(start: Start, tmp_path: Path, workers: int) -> None:
    keys = tmp_path / "keys.json"
    key = api_key(keys)
    shared = ("--workers", "2", "--engine", fresh_url()) if workers == 2 else ()
    options = ("--port", "0", "--log-format", "json", "--access-log", *shared)
    process = start(*options, "--api-keys", str(keys), LIVELOG_UNKNOWN="1")
    port = port_of(ready(process))
    for _ in range(3):
        asyncio.run(provoke(port, key))
    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process)
    assert (code, out[-len(STOPPED) :]) == (0, STOPPED)
    assert TOKEN not in err
    assert key not in err
    lines = lines_of(err)
    loggers = {line["logger"] for line in lines}
    assert {"livelog.audit", "livelog.access", "livelog.config.environment"} <= loggers
    numbers = {line.get("worker", 0) for line in lines if line["logger"] == "livelog.audit"}
    assert numbers <= ({1, 2} if workers == 2 else {0})


def test_the_end_of_a_worker_and_a_wrong_option_are_json_too(start: Start, tmp_path: Path) -> None:
    (tmp_path / "live-1.db").mkdir()
    options = ("--workers", "2", "--engine", fresh_url(), "--store", str(tmp_path / "live.db"))
    code, _, err = ended(start("--port", "0", "--log-format", "json", *options))
    assert code == 2
    texts = [line["message"] for line in lines_of(err)]
    assert any("live-1.db" in text for text in texts)
    assert any(re.fullmatch(r"worker 1 \(process \d+\) ended \(2\); all stop", t) for t in texts)


def test_a_level_hides_what_is_below_it(start: Start) -> None:
    process = start("--port", "0", "--host", "0.0.0.0", "--log-level", "error")
    first = process.stdout.readline() if process.stdout else ""
    assert "ready" in first
    process.send_signal(signal.SIGTERM)
    assert ended(process)[2] == ""  # the warning of an open server


@pytest.mark.parametrize(
    ("option", "allowed"),
    [("--log-format=xml", "(text|json)"), ("--log-level=loud", "debug|info|warning|error")],
)
def test_an_unknown_form_or_level_is_refused(start: Start, option: str, allowed: str) -> None:
    code, _, err = ended(start(*option.split("=")))
    assert code == 2
    assert allowed in err


def test_the_reading_process_writes_the_same_form(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(framed(msgspec.json.encode(Opening(b"", 2**20))))
        done = subprocess.run(
            [sys.executable, "-m", "livelog.store.reader", "json:info:4", str(tmp_path / "none")],
            stdin=theirs.fileno(), env=CLEAN, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    [line] = lines_of(done.stderr)
    assert (line["worker"], line["level"]) == (4, "warning")
    assert line["logger"].startswith("livelog.store.reader") or line["logger"] == "__main__"


def test_the_server_tells_its_reading_process_the_form(start: Start, tmp_path: Path) -> None:
    process = start("--port", "0", "--log-format", "json", "--store", str(tmp_path / "l.db"))
    url = ready(process)

    @on_uvloop
    async def used() -> None:
        async with connect(url) as log:
            await log.history(limit=1)

    used()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    arguments = [Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0") for child in children]
    assert [each[3:5] for each in arguments] == [[b"json:info:0", str(tmp_path / "l.db").encode()]]
