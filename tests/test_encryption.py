"""The log encrypted on disk: nothing of it can be read without the key, whatever happens.

The files are searched for what was published, also when the server or a change of the key has been
killed; the same search finds it in a plain store. A key that is not the one is refused by name, and
nothing is written then.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from livelog import Config, ConfigError, Server
from livelog.auth.principal import ANYBODY
from livelog.index.paging import Span
from livelog.index.query import compile_query
from livelog.store import rekey
from livelog.store.database import cipher, file
from livelog.store.database.connection import open_connection
from livelog.store.database.file import index_path
from livelog.store.database.key import read_key
from livelog.store.database.lock import Lock
from livelog.store.reader import segments
from livelog.store.rekey import change_key
from livelog.wire.commands import Filters
from tests.support.disk import KEY, Disk, key_file, reading_processes
from tests.support.process import CLEAN, ROOT, STOPPED, Start, ended, port_of, ready
from tests.support.strategies import record
from tests.support.wire import PATIENCE, Json, on_uvloop, user

NEW_KEY = bytes(reversed(range(32)))
MARKS = ["Zaubertrank", "löwenzahn", "Эльдорадо", "marked_channel", "marked_id"]
"""Parts of every message: of its text, its author, its channel and its id."""


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert not reading_processes(tmp_path)


def marked(number: int) -> Json:
    """A message with all the marks."""
    words, who = f"{MARKS[0]} {number} {MARKS[1]}", f"{MARKS[2]}{number % 50}"
    metadata = {"channel": MARKS[3]}
    return user(words, id=f"{MARKS[4]}_{number}", username=who, user_id="u", metadata=metadata)


def found(folder: Path) -> set[str]:
    """The marks that can be read in any file below `folder`, in whatever encoding SQLite knows."""
    held = b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    encodings = ("utf-8", "utf-16-le", "utf-16-be")
    return {mark for mark in MARKS if any(mark.encode(each) in held for each in encodings)}


def ask(port: int, method: str, target: str, body: str = "") -> Json:
    """One request to a server in a process of its own."""
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as http:
        http.sendall((head + body).encode())
        answer = b"".join(iter(lambda: http.recv(1 << 16), b""))
    answered: Json = json.loads(answer.partition(b"\r\n\r\n")[2])
    return answered


SEARCH = f"/api/search?query={quote(MARKS[1])}&limit=1000"


def publish(port: int, numbers: range) -> None:
    body = json.dumps([marked(number) for number in numbers])
    assert len(ask(port, "POST", "/api/messages", body)["messages"]) == len(numbers)


def published(port: int) -> list[str]:
    """The ids of the newest thousand messages, and how many there are."""
    deadline = time.monotonic() + 5 * PATIENCE  # a busy machine has to index all of it
    while "results" not in (page := ask(port, "GET", SEARCH)):
        assert page["error_code"] == 1011, page
        assert time.monotonic() < deadline, page
        time.sleep(1)
    return [*(message["id"] for message in page["results"]), str(page["count"])]


def killed(server: subprocess.Popen[str], folder: Path) -> str:
    """End it as a power cut would, its reading process first; returns what it said."""
    for reader in reading_processes(folder):
        os.kill(reader, signal.SIGKILL)
    server.kill()
    _, out, err = ended(server)
    return out + err


def expected(count: int) -> list[str]:
    newest = reversed(range(count - 1000, count))
    return [*(f"{MARKS[4]}_{number}" for number in newest), str(count)]


@pytest.mark.parametrize(
    ("encrypted", "thousands"),
    [(True, 3), (False, 1)],  # of each life: in all more than the index holds in memory
    ids=["encrypted", "plain"],
)
def test_nothing_can_be_read_in_the_files_of_a_server_that_was_killed(
    start: Start, tmp_path: Path, encrypted: bool, thousands: int
) -> None:
    """With the WAL as long as it was, the index sealed, searches made, and again after a start.

    In a plain store the marks are found, which shows that the search is good.
    """
    folder = tmp_path / "files"
    (folder / "tmp").mkdir(parents=True)
    settings = ["--port", "0", "--store", str(folder / "live.db"), "--window-messages", "100"]
    if encrypted:
        settings += ["--store-key-file", key_file(tmp_path / "live.key")]
    temporary = dict.fromkeys(("TMPDIR", "SQLITE_TMPDIR"), str(folder / "tmp"))
    for life in range(3):
        process = start(*settings, **temporary)
        port = port_of(ready(process))
        for thousand in range(life * thousands, (life + 1) * thousands):
            publish(port, range(thousand * 1000, thousand * 1000 + 1000))
        assert len(published(port)) == 1001
        assert MARKS[0] not in killed(process, folder)
        assert (folder / "live.db-wal").stat().st_size > 100_000
        assert found(folder) == (set() if encrypted else set(MARKS))
    again = start(*settings, **temporary)
    port = port_of(ready(again))
    assert published(port) == expected(3000 * thousands)
    [reader] = reading_processes(folder)
    told = [Path(f"/proc/{reader}/{what}").read_bytes() for what in ("cmdline", "environ")]
    assert not any(secret in each for each in told for secret in (KEY, KEY.hex().encode()))
    if encrypted:
        wait_for_a_segment(folder)
    again.terminate()
    assert ended(again) == (0, STOPPED, "")
    assert found(folder) == (set() if encrypted else set(MARKS))
    assert sorted(path.name for path in folder.iterdir()) == ["live.db", "live.db-index", "tmp"]


def wait_for_a_segment(folder: Path) -> None:
    """Wait until part of the index is on disk; it follows the messages."""
    deadline = time.monotonic() + PATIENCE
    while sum(each.stat().st_size for each in folder.glob("live.db-index*")) < 100_000:
        assert time.monotonic() < deadline, "no segment has been written"
        time.sleep(0.05)


# Another key.


def filled(path: Path, key: bytes) -> list[bytes]:
    """Write a store with an index; returns what is in it."""
    disk = Disk(path, key)
    disk.write([record(marked(number), number + 1) for number in range(300)])
    disk.settle()
    disk.close()
    return held(path, key)


def held(path: Path, key: bytes) -> list[bytes]:
    """All messages in a store that can be opened with this key."""
    disk = Disk(path, key)
    try:
        page = disk.page(compile_query(ANYBODY, Filters(text=MARKS[1])), 300, Span(1000))
        assert page.total == 300
        return page.payloads
    finally:
        disk.close()


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index has something in its file early."""
    monkeypatch.setattr(segments, "SEALED_AT", 100)


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])
def test_the_key_is_changed_and_nothing_else(tmp_path: Path, key: bytes) -> None:
    """Also of a store whose server was killed, and by whatever name it is called."""
    folder = tmp_path / "a folder?&#%41'"
    folder.mkdir()
    path, link = folder / "live.db", folder / "link.db"
    messages = filled(path, key)
    path.chmod(0o640)
    link.symlink_to(path)
    index = Path(index_path(str(path)))
    assert index.stat().st_size > 20_000
    change_key(str(link), key, NEW_KEY)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(folder)) == ["link.db", "live.db", "live.db-index"]
    assert not found(tmp_path)
    assert held(path, NEW_KEY) == messages
    with closing(file.connect(str(index), NEW_KEY)) as taken_over:
        assert taken_over.execute("SELECT count(*) FROM segment").fetchone()[0] > 0
    with pytest.raises(ConfigError, match="encrypted"):
        file.open_file(str(path), key)


DYING = """
import os, resource, signal, sys
from livelog.cli import main

name, left = sys.argv[1], int(sys.argv[2])
real = getattr(os, name)

def dies(*arguments):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)

setattr(os, name, dies)
sys.exit(main(sys.argv[3:]))
"""
"""The command, killed when it calls a function of `os` for the nth time."""

STEPS = [("chown", 0), ("fsync", 0), ("fsync", 1), ("replace", 0), ("replace", 1)]
DONE = [("fsync", 2), ("replace", 2)]
KILLS = [(KEY, *step) for step in STEPS + DONE] + [(b"", "fsync", 0), (b"", "replace", 1)]


def change(path: Path, key: bytes, *before: str) -> subprocess.CompletedProcess[str]:
    """Run the command that gives a store `NEW_KEY`, behind `before`."""
    new, old = path.parent / "new.key", path.parent / "old.key"
    what = ["encrypt", str(path), "--store-key-file", key_file(new, NEW_KEY)]
    if key:
        what = ["rekey", str(path), "--store-key-file", key_file(old, key)]
        what += ["--new-key-file", str(new)]
    return subprocess.run(
        [sys.executable, *before, "store", *what],
        cwd=ROOT,
        env=CLEAN,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize(("key", "step", "number"), KILLS)
def test_a_change_of_the_key_that_is_killed_leaves_the_old_store_or_the_new_one(
    tmp_path: Path, key: bytes, step: str, number: int
) -> None:
    path = tmp_path / "live.db"
    messages = filled(path, key)
    died = change(path, key, "-c", DYING, step, str(number))
    assert died.returncode == (0 if (step, number) == ("replace", 2) else -signal.SIGKILL), died
    if key:
        assert not found(tmp_path)
    changed = (step, number) in DONE
    assert held(path, NEW_KEY if changed else key) == messages
    if not changed:  # it works when it is done again
        change_key(str(path), key, NEW_KEY)
    assert held(path, NEW_KEY) == messages
    assert not found(tmp_path)
    assert not [name for name in os.listdir(tmp_path) if "rekeyed" in name]


CRAMPED = """
import resource, signal, sys
from livelog.cli import main

signal.signal(signal.SIGXFSZ, getattr(signal, sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
sys.exit(main(sys.argv[2:]))
"""
"""The command, which may write no larger file: told so, or killed while it writes."""


@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])
def test_a_copy_that_is_not_finished_leaves_the_old_store(tmp_path: Path, key: bytes) -> None:
    path = tmp_path / "live.db"
    messages = filled(path, key)
    before = path.read_bytes()
    died = change(path, key, "-c", CRAMPED, "SIG_DFL")
    assert died.returncode == -signal.SIGXFSZ
    left = [path for path in tmp_path.iterdir() if "rekeyed" in path.name]
    assert left
    assert not any(mark.encode() in each.read_bytes() for each in left for mark in MARKS)
    failed = change(path, key, "-c", CRAMPED, "SIG_IGN")
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1), failed
    assert "old key" in failed.stderr
    assert path.read_bytes() == before
    assert not [name for name in os.listdir(tmp_path) if "rekeyed" in name]
    assert held(path, key) == messages
    worked = change(path, key, "-m", "livelog")
    assert (worked.returncode, worked.stderr) == (0, "")
    assert held(path, NEW_KEY) == messages


def test_an_error_does_not_tell_the_key(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    filled(path, KEY)
    target = str(tmp_path / "nowhere" / "copy")
    with pytest.raises(sqlite3.OperationalError, match="unable to open") as told:
        cipher.copy(str(path), KEY, target, NEW_KEY, 1.0)
    assert NEW_KEY.hex() not in str(told.value)


def test_a_store_that_is_used_keeps_its_key(start: Start, tmp_path: Path) -> None:
    """By a server, and by any other program."""
    path = tmp_path / "live.db"
    key = key_file(tmp_path / "live.key")
    server = start("--port", "0", "--store", str(path), "--store-key-file", key)
    ready(server)
    refused = change(path, KEY, "-m", "livelog")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert f"process {server.pid}" in refused.stderr
    server.terminate()
    assert ended(server) == (0, STOPPED, "")


def test_a_store_that_another_program_reads_keeps_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rekey, "_BUSY_SECONDS", 0.05)
    path = tmp_path / "live.db"
    messages = filled(path, KEY)
    with closing(file.connect(str(path), KEY)) as other:
        other.execute("SELECT count(*) FROM message").fetchall()
        with pytest.raises(ConfigError, match="locked"):
            change_key(str(path), KEY, NEW_KEY)
    assert held(path, KEY) == messages


def test_a_lock_on_a_file_that_was_replaced_meanwhile_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "live.db", fcntl.flock
    path.touch()

    def late(descriptor: int, operation: int) -> None:
        (tmp_path / "new").touch()
        os.replace(tmp_path / "new", path)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ConfigError, match="replaced"):
        Lock(str(path))
    monkeypatch.undo()
    Lock(str(path)).release()


# Bad settings.


def no_file(path: Path) -> None:
    """Leave the path without a file."""


def write(text: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_text(text)
        path.chmod(0o600)

    return make


def open_to_all(path: Path) -> None:
    key_file(path)
    path.chmod(0o604)


NO_KEYS: list[tuple[Callable[[Path], None], str]] = [
    (no_file, "No such file"),
    (Path.mkdir, "Is a directory"),
    (open_to_all, "accessible to all users"),
    (write(""), "64 hexadecimal"),
    (write("correct horse battery staple"), "64 hexadecimal"),
    (write(KEY.hex()[:-1]), "64 hexadecimal"),
    (write(KEY.hex()[:-1] + "g"), "64 hexadecimal"),
    (write(KEY.hex() + KEY.hex()), "64 hexadecimal"),
    (write("\xff" * 32), "64 hexadecimal"),
    (write(base64.b64encode(KEY[:-1]).decode()), "64 hexadecimal"),
    (write("0123456789abcdef" * 4), "64 hexadecimal"),
]


@pytest.mark.parametrize(("make", "issue"), NO_KEYS)
@on_uvloop
async def test_a_key_file_that_is_none_is_named(
    tmp_path: Path, make: Callable[[Path], None], issue: str
) -> None:
    path = tmp_path / "live.key"
    make(path)
    config = Config(port=0, store=str(tmp_path / "live.db"), store_key_file=str(path))
    with pytest.raises(ConfigError) as wrong:
        await Server(config).start()
    assert str(wrong.value).startswith(f"--store-key-file {path}: ")
    assert issue in str(wrong.value)
    assert not (tmp_path / "live.db").exists()


@pytest.mark.parametrize(
    "text",
    [
        KEY.hex(),
        KEY.hex().upper() + "\n",
        base64.b64encode(KEY).decode() + "\r\n",
        "\ufeff" + KEY.hex(),
    ],
)
def test_a_key_may_be_written_in_two_ways(tmp_path: Path, text: str) -> None:
    write(text)(tmp_path / "live.key")
    (tmp_path / "live.key").chmod(0o640)  # a group may read it
    assert read_key(str(tmp_path / "live.key")) == KEY


WRONG_KEYS = [
    (KEY, NEW_KEY, "another key"),
    (KEY, b"", "needs --store-key-file"),
    (b"", KEY, "is not encrypted"),
]


@pytest.mark.parametrize(
    ("key", "wrong", "issue"), WRONG_KEYS, ids=["another", "missing", "not encrypted"]
)
def test_a_wrong_key_is_told_and_nothing_is_written(
    start: Start, tmp_path: Path, key: bytes, wrong: bytes, issue: str
) -> None:
    """Also when the server was killed, and most of what it stored is in the WAL."""
    path = tmp_path / "live.db"
    settings = ["--port", "0", "--store", str(path)]
    given = {
        each: ["--store-key-file", key_file(tmp_path / f"{each.hex()[:4]}.key", each)]
        for each in (KEY, NEW_KEY)
    } | {b"": []}
    server = start(*settings, *given[key])
    port = port_of(ready(server))
    publish(port, range(1000))
    assert published(port)[-1] == "1000"
    killed(server, tmp_path)
    files = [path, Path(f"{path}-wal")]
    before = [each.read_bytes() for each in files]
    assert len(before[1]) > len(before[0])
    code, out, err = ended(start(*settings, *given[wrong]))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith(f"livelog: --store {path}: ")
    assert issue in err
    assert not any(secret.hex() in err for secret in (KEY, NEW_KEY))
    assert [each.read_bytes() for each in files] == before
    again = start(*settings, *given[key])
    assert published(port_of(ready(again)))[-1] == "1000"


def test_what_is_no_store_is_neither_encrypted_nor_made(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    with pytest.raises(ConfigError, match="nothing to encrypt"):
        change_key(str(path), b"", KEY)
    assert not path.exists()
    path.write_text("Dear diary,\n" * 1000)
    for key in (b"", NEW_KEY):
        with pytest.raises(ConfigError, match="not a database"):
            change_key(str(path), key, KEY)
    path.unlink()
    with closing(sqlite3.connect(path)) as diary:
        diary.execute("CREATE TABLE diary(day)")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="not one of livelog"):
        change_key(str(path), b"", KEY)
    assert path.read_bytes() == before


@pytest.mark.parametrize("module", ["raise ImportError('No module named apsw')", ""])
def test_without_the_extra_a_key_is_refused(start: Start, tmp_path: Path, module: str) -> None:
    """The package `apsw` is not enough: it would store everything as it is."""
    (tmp_path / "apsw.py").write_text(module)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    given = ["--store", str(tmp_path / "live.db"), "--store-key-file", key_file(tmp_path / "k")]
    code, out, err = ended(start("--port", "0", *given, PYTHONPATH=path))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("livelog: --store-key-file: needs the extra")
    assert "livelog-server[encryption]" in err


def test_without_a_key_the_extra_is_not_needed(start: Start, tmp_path: Path) -> None:
    (tmp_path / "apsw.py").write_text("raise ImportError('not to be imported')")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    server = start("--port", "0", "--store", str(tmp_path / "live.db"), PYTHONPATH=path)
    port = port_of(ready(server))
    publish(port, range(1000))
    assert published(port)[-1] == "1000"
    server.terminate()
    assert ended(server) == (0, STOPPED, "")


def test_the_command_makes_keys_and_overwrites_none(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "live.key"
    code, out, err = ended(start("store", "newkey", str(path)))
    assert (code, err) == (0, "")
    assert path.stat().st_mode & 0o777 == 0o600
    key = read_key(str(path))
    assert key.hex() not in out
    code, out, err = ended(start("store", "newkey", str(path)))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(path) in err
    assert read_key(str(path)) == key
    given = ["--store-key-file", str(path), "--new-key-file", str(path)]
    code, out, err = ended(start("store", "rekey", str(tmp_path / "live.db"), *given))
    assert (code, out) == (2, "")
    assert "--new-key-file" in err


# The seam.


FAULTS: list[tuple[str, type[sqlite3.Error]]] = [
    ("SELECT nothing", sqlite3.OperationalError),
    ("INSERT INTO one VALUES (1, 'one')", sqlite3.IntegrityError),
    ("SELECT json_extract(text, '$') FROM one", sqlite3.OperationalError),
]


@pytest.mark.parametrize(("sql", "kind"), FAULTS)
@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])
def test_both_tell_the_same_faults(
    tmp_path: Path, key: bytes, sql: str, kind: type[sqlite3.Error]
) -> None:
    connection = open_connection(str(tmp_path / "live.db"), key, 1.0)
    connection.executescript("CREATE TABLE one(number UNIQUE, text); CREATE TABLE two(number)")
    connection.executemany("INSERT INTO one VALUES (?, ?)", [(1, "{"), (2, "two"), (3, "three")])
    with pytest.raises(kind) as told:
        connection.execute(sql).fetchall()
    assert type(told.value) is kind
    rows = connection.execute("SELECT number FROM one")
    assert (rows.fetchone(), list(rows), rows.fetchone()) == ((1,), [(2,), (3,)], None)
    connection.execute("BEGIN")
    assert connection.in_transaction
    connection.execute("ROLLBACK")
    assert not connection.in_transaction
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")


@on_uvloop
async def test_a_key_without_a_store_is_told_to_have_no_effect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for settings in ({"demo": True}, {"store": "memory"}):
        caplog.clear()
        async with Server(Config(port=0, store_key_file=key_file(tmp_path / "key"), **settings)):
            assert "--store-key-file: encrypts nothing" in caplog.text
