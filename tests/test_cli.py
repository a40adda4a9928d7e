"""The command as its user meets it: a process, its output, its exit code."""

from __future__ import annotations

import argparse
import json
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect, unix_connect

from livelog import __version__
from livelog.cli import COMMANDS, main
from livelog.cli.options import Parser
from tests.support.process import ROOT, STOPPED, Start, ended, port_of, ready
from tests.support.wire import PATIENCE, TYPES, Json


def events(client: ClientConnection) -> Iterator[Json]:
    """Everything a client is sent, until the connection is closed."""
    for text in client:
        yield json.loads(text)


def health(port: int) -> Json:
    """Ask a server for its health."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as http:
        http.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: http.recv(4096), b""))
    health: Json = json.loads(answer.partition(b"\r\n\r\n")[2])
    return health


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_serves_and_stops_in_good_order(
    start: Start, number: signal.Signals
) -> None:
    process = start("--port", "0")
    with connect(ready(process)) as client:
        assert json.loads(client.recv(PATIENCE))["action"] == "connected"
        client.send('{"action": "ping"}')
        assert json.loads(client.recv(PATIENCE))["action"] == "pong"
        process.send_signal(number)
        [last] = events_until_close(client)
        assert last.pop("reconnect_after_ms") >= 0
        assert last == {"action": "disconnected", "reason": "normal_closure"}
        assert client.protocol.close_code == 1001
    assert ended(process) == (0, STOPPED, "")


def events_until_close(client: ClientConnection) -> Iterator[Json]:
    """The rest of what a client is sent."""
    from websockets.exceptions import ConnectionClosed

    with suppress(ConnectionClosed):
        while True:
            yield json.loads(client.recv(PATIENCE))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "x"], ["--port", "'x'"]),
        (["--port", "70000"], ["--port", "70000", "65535"]),
        (["--port", "-1"], ["--port", "-1"]),
        (["--ping-interval", "0"], ["--ping-interval", "0"]),
        (["--fanout-share", "1"], ["--fanout-share", "1"]),
        (["--max-frame-bytes", "10"], ["--max-frame-bytes", "10", "1024"]),
        (["--host", ""], ["--host", "''"]),
        (["--host", "no.such.host.invalid", "--port", "0"], ["no.such.host.invalid"]),
        (["--config", "/nowhere/live.toml"], ["--config", "/nowhere/live.toml"]),
        (["--uds", "/nowhere/live.sock"], ["/nowhere/live.sock"]),
    ],
    ids=" ".join,
)
def test_a_wrong_setting_is_named_in_one_line(
    start: Start, arguments: list[str], named: list[str]
) -> None:
    code, out, err = ended(start(*arguments))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("livelog: ")
    assert all(part in err for part in named), err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--colour red", "unknown option '--colour'; see livelog serve --help"),
        ("--prot 80", "unknown option '--prot'; did you mean '--port'?"),
        ("--tls_cret=x", "unknown option '--tls_cret'; did you mean '--tls-cert'?"),
        ("--no-limit", "unknown option '--no-limit'; did you mean '--no-limits'?"),
        ("serve here", "unexpected 'here'; see livelog serve --help"),
        ("-p 80", "unknown option '-p'; see livelog serve --help"),
        ("--ping-int 5", "unknown option '--ping-int'; did you mean '--ping-interval'?"),
        ("tail --filtr channel=x", "unknown option '--filtr'; did you mean '--filter'?"),
        ("search --limt 5 x", "unknown option '--limt'; did you mean '--limit'?"),
        ("publish --keepgoing", "unknown option '--keepgoing'; did you mean '--keep-going'?"),
        ("keys create --ownr x", "unknown option '--ownr'; did you mean '--owner'?"),
        ("keys crate", "unknown command 'crate'; did you mean 'create'?"),
        ("keys x", "unknown command 'x'; known are: create, list, revoke; see livelog keys"),
        ("admin announce --text x --severity loud", "unknown --severity 'loud'; known are: "),
        ("admin block --duration-seconds 1d", "--duration-seconds: '1d' is invalid: must be a num"),
        ("admin redact --seq x", "--seq: 'x' is invalid: must be a whole number"),
        ("store rekey x --newkeyfile y", "did you mean '--new-key-file'?"),
        ("stroe", "unknown command 'stroe'; did you mean 'store'?"),
        ("metrics", "unknown command 'metrics'; known are: serve, tail"),
    ],
)
def test_a_mistyped_name_is_one_line_with_a_suggestion(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(arguments.split())
    except SystemExit as exit:
        code = int(exit.code or 0)
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("livelog: ")
    assert said in err


def test_a_wrong_variable_is_named(start: Start) -> None:
    code, _, err = ended(start(LIVELOG_PORT="x"))
    assert (code, err.count("\n")) == (2, 1)
    assert "port" in err.lower()
    assert "LIVELOG_PORT" in err
    for variables in ({"LIVELOG_PORT": "1", "LIVELOG_HOST": "no.such.host.invalid"},):
        code, _, err = ended(start(**variables))
        assert (code, err.count("\n")) == (2, 1)
        assert "(LIVELOG_HOST, LIVELOG_PORT)" in err
    code, _, err = ended(start(LIVELOG_JWT_SECRET="short"))
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("livelog: LIVELOG_JWT_SECRET: --jwt-secret: must have at least 32 bytes")
    code, _, err = ended(start(LIVELOG_CONFIG="/nowhere/live.toml"))
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("livelog: LIVELOG_CONFIG: --config /nowhere/live.toml")


def test_what_others_set_is_passed_over(start: Start) -> None:
    variables = {"LIVELOG_PORT": "tcp://10.0.0.1:8000", "LIVELOG_SERVICE_HOST": "10.0.0.1"}
    process = start("--port", "0", **variables, LIVELOG_COLOUR="red")
    ready(process)
    process.terminate()
    code, _, err = ended(process)
    assert (code, err.count("\n")) == (0, 1)
    assert "LIVELOG_COLOUR" in err


def test_the_viewers_address_follows_and_the_end_is_told(start: Start) -> None:
    process = start("--port", "0")
    url = ready(process)
    assert process.stdout is not None
    assert process.stdout.readline() == f"livelog viewer on http://127.0.0.1:{port_of(url)}/\n"
    process.terminate()
    assert process.stdout.readline() == STOPPED
    assert process.wait(PATIENCE) == 0


def test_a_server_goes_on_when_nobody_reads_what_it_prints(start: Start) -> None:
    process = start("--port", "0")
    ready(process)
    assert process.stdout is not None
    process.stdout.close()
    process.terminate()
    assert process.stderr is not None
    assert (process.wait(PATIENCE), process.stderr.read()) == (0, "")


@pytest.mark.parametrize(
    ("content", "named"),
    [("port = ", "live.toml"), ("port = 'x'", "--port"), ("colour = 'red'", "colour")],
)
def test_a_wrong_file_is_named(start: Start, tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "live.toml"
    file.write_text(content)
    code, out, err = ended(start("--config", str(file)))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert named in err


def test_a_port_in_use_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, out, err = ended(start("--port", port))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert port in err
    assert "in use" in err


def test_flags_beat_variables_and_variables_beat_the_file(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "live.toml"
    file.write_text("port = 1\ncommand_limit = 1\nmessage_limit = 5\n")
    process = start(
        "--port", "0", "--config", str(file), LIVELOG_PORT="2", LIVELOG_COMMAND_LIMIT="2"
    )
    with connect(ready(process)) as client:
        for _ in range(5):
            client.send('{"action": "get_history"}')
        got = [json.loads(client.recv(PATIENCE)) for _ in range(8)]
    limits = {event["scope"]: event["limit"] for event in got if event["action"] == "rate_limit"}
    assert limits == {"messages": 5, "commands": 2}


def test_the_file_can_be_named_by_a_variable(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "live.toml"
    file.write_text("port = 0\nlimits = false\n")
    process = start(LIVELOG_CONFIG=str(file))
    with connect(ready(process)) as client:
        client.recv(PATIENCE)
        for _ in range(300):
            client.send('{"action": "ping"}')
        actions = {json.loads(client.recv(PATIENCE))["action"] for _ in range(300)}
    assert actions == {"pong"}


def test_limits_can_be_switched_off(start: Start) -> None:
    process = start("--port", "0", "--no-limits")
    with connect(ready(process)) as client:
        client.recv(PATIENCE)
        for _ in range(50):
            client.send('{"action": "get_history"}')
        actions = {json.loads(client.recv(PATIENCE))["action"] for _ in range(50)}
    assert actions == {"history"}


# Unix sockets.


def greeted(path: Path) -> bool:
    """Whether a client that connects to a Unix socket is greeted."""
    with unix_connect(str(path), uri="ws://localhost/ws/live-log") as client:
        return bool(json.loads(client.recv(PATIENCE))["action"] == "connected")


def test_it_listens_on_a_unix_socket(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    process = start("--uds", str(path))
    assert ready(process) == f"ws+unix://{path}:/ws/live-log"
    assert greeted(path)
    process.terminate()
    assert ended(process) == (0, STOPPED, "")


def test_a_socket_that_a_dead_server_left_is_taken_over(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    killed = start("--uds", str(path))
    ready(killed)
    killed.kill()
    ended(killed)
    assert path.is_socket()
    ready(start("--uds", str(path)))
    assert greeted(path)


def test_a_socket_that_somebody_listens_on_is_left_alone(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    ready(start("--uds", str(path)))
    code, out, err = ended(start("--uds", str(path)))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(path) in err
    assert "listening" in err
    assert greeted(path)


def test_a_file_that_is_no_socket_is_left_alone(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    code, out, err = ended(start("--uds", str(path)))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(path) in err
    assert path.read_text() == "data"


# The rest.


def test_the_demo_publishes_all_six_types(start: Start) -> None:
    process = start("--port", "0", "--demo", "--demo-rate", "500", "--demo-seed", "7")
    missing, deadline = set(TYPES), time.monotonic() + PATIENCE
    with connect(f"{ready(process)}?message_types={','.join(TYPES)}&since=0") as client:
        while missing:
            assert time.monotonic() < deadline, f"never came: {missing}"
            missing.discard(json.loads(client.recv(PATIENCE)).get("type", ""))
        process.terminate()
        list(events_until_close(client))
    assert ended(process) == (0, STOPPED, "")


def test_the_demo_leaves_nothing_behind_and_begins_with_an_hour_of_past(
    start: Start, tmp_path: Path
) -> None:
    store = tmp_path / "live.db"
    began = time.time()
    process = start("--port", "0", "--demo", LIVELOG_STORE="")
    port = port_of(ready(process))
    url = f"http://127.0.0.1:{port}/api/history?limit=1000"
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        page = json.load(answer)
    stamps = [message["timestamp"] for message in page["messages"]]
    assert len(stamps) == 1000
    assert page["total_count"] > 2000
    assert stamps == sorted(stamps, reverse=True)
    last = f"{url}&offset={page['total_count'] - 1}"
    with urllib.request.urlopen(last, timeout=PATIENCE) as answer:
        oldest = json.load(answer)["messages"][-1]["timestamp"]
    assert 3000 < began - datetime.fromisoformat(oldest).timestamp() < 3700
    process.terminate()
    assert ended(process)[0] == 0
    assert not (ROOT / "livelog.db").exists()
    kept = start("--port", "0", "--demo", "--store", str(store))
    ready(kept)
    assert store.exists()


def test_it_stops_with_many_clients_that_do_not_answer(start: Start) -> None:
    process = start("--port", "0", "--close-timeout", "0.3")
    port = port_of(ready(process))
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    for sock in silent:
        sock.sendall(
            b"GET /ws/live-log HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert sock.recv(20).startswith(b"HTTP/1.1 101")
    assert health(port)["connections"] == 20
    process.terminate()
    assert ended(process) == (0, STOPPED, "")
    for sock in silent:
        sock.close()


def test_it_tells_its_version(start: Start) -> None:
    for arguments in (["--version"], ["serve", "--version"]):
        assert ended(start(*arguments)) == (0, f"livelog {__version__}\n", "")


def test_help_fits_names_every_option_and_shows_examples(start: Start) -> None:
    code, out, err = ended(start("serve", "--help", COLUMNS="100"))
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    assert "examples:" in out
    for option in ("--host", "--port", "--uds", "--demo", "--no-limits", "--config"):
        assert option in out


def parsers(name: str) -> Iterator[Parser]:
    """Yield the parser of a command, and those of its own commands."""
    module = import_module(f"livelog.cli.{COMMANDS[name]}")
    parser = module.make_parser(name)
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_text_stands_alone(name: str) -> None:
    for parser in parsers(name):
        assert not parser.allow_abbrev
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                continue
            said = (action.option_strings, action.help)
            assert action.help is not None, said
            assert re.match(r"[A-Z].*\.$", action.help), said
            if action.nargs != 0:
                assert re.fullmatch(r"[A-Z]+(=[A-Z]+)?", str(action.metavar)), said


@pytest.mark.parametrize("name", COMMANDS)
def test_a_duration_says_its_unit(name: str) -> None:
    for parser in parsers(name):
        for action in parser._actions:
            if re.search(r"(seconds|timeout|interval|max-age|leeway)$", action.dest):
                assert action.metavar == "SECONDS", action.option_strings


def test_the_help_of_the_server_is_grouped(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    lines = capsys.readouterr().out.splitlines()
    titles = [line for line in lines if re.fullmatch(r"[A-Za-z][^:]*:", line)]
    assert "listening, proxies, sizes and time-outs:" in titles
    assert len(titles) == 2 + 9  # options and examples, and one for each group
