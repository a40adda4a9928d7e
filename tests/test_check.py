"""`livelog store check`: what is damaged is listed with its place, and nothing is written."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from livelog import ConfigError
from livelog.cli import main
from livelog.store.check import Check
from livelog.store.database.file import connect
from tests.support.damage import killed, of_format_1, spoil, written
from tests.support.disk import KEY, key_file
from tests.support.keeping import SETTINGS, keeping, page, post
from tests.support.process import CLEAN, ROOT, Start, ended
from tests.support.wire import on_uvloop

pytestmark = pytest.mark.usefixtures("no_reader_left")

Printed = pytest.CaptureFixture[str]


def checked(path: Path, printed: Printed, *options: str) -> tuple[int, list[str], str]:
    """Exit code, lines on stdout, and stderr."""
    code = main(["store", "check", str(path), *options])
    out, err = printed.readouterr()
    return code, out.splitlines(), err


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("make", [written, killed])
@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])
def test_a_good_store_is_left_as_it_was(
    tmp_path: Path, capsys: Printed, key: bytes, make: Callable[..., object]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "live.db"
    make(path, 700, key)
    before = contents(folder)
    options = ["--store-key-file", key_file(tmp_path / "key")] if key else []
    assert checked(path, capsys, *options) == (
        0,
        [f"{path} is good: 700 messages checked"],
        "",
    )
    assert contents(folder) == before


def change(path: Path, sql: str) -> None:
    with closing(connect(str(path))) as connection:
        connection.execute(sql)


DAMAGE = [
    (
        "UPDATE message SET payload = replace(payload, '2026', '2027') WHERE position = 30",
        ["position 30, behind seq 29000: it does not fit its checksum"],
    ),
    (
        "UPDATE message SET checksum = NULL WHERE position IN (7, 8, 9)",
        ["positions 7 to 9, behind seq 6000: it has no checksum"],
    ),
    (
        "DELETE FROM message WHERE position IN (41, 42)",
        ["positions 41 to 42, behind seq 40000: it is missing or on a damaged page"],
    ),
    (
        "UPDATE message SET seq = 11500 WHERE position = 20",
        ["position 20, behind seq 19000: it does not fit its checksum"],
    ),
    ("UPDATE log SET began = 7", ["the state of the log is damaged"]),
]


@pytest.mark.parametrize(("sql", "findings"), DAMAGE)
def test_damaged_messages_are_listed(
    tmp_path: Path, capsys: Printed, sql: str, findings: list[str]
) -> None:
    path = tmp_path / "live.db"
    written(path, 100)
    change(path, sql)
    code, out, err = checked(path, capsys)
    assert (code, out) == (1, findings)
    assert err.startswith(f"livelog: {path} is damaged")


def test_a_damaged_page_and_an_index_that_does_not_agree_are_listed(
    tmp_path: Path, capsys: Printed
) -> None:
    path = tmp_path / "live.db"
    written(path, 700)
    data = bytearray(path.read_bytes())
    data[20 * 4096 : 20 * 4096 + 8] = b"\xff" * 8
    path.write_bytes(data)
    code, out, _ = checked(path, capsys)
    assert code == 1
    assert any(line.startswith("the database is damaged: ") for line in out)
    assert not any(r"\u000a" in line for line in out)
    assert any("it is missing or on a damaged page" in line for line in out)


def test_a_damaged_log_is_told_and_left(tmp_path: Path, capsys: Printed) -> None:
    path = tmp_path / "live.db"
    killed(path, 300)
    spoil(Path(f"{path}-wal"), b'"id":"m170"')
    before = contents(tmp_path)
    code, [finding], _ = checked(path, capsys)
    assert (code, contents(tmp_path)) == (1, before)
    assert "of its write-ahead log is damaged: 3 commits behind it are lost" in finding


def test_a_damaged_index_is_told(tmp_path: Path, capsys: Printed) -> None:
    path = tmp_path / "live.db"
    written(path, 50)
    index = Path(f"{path}-index")
    data = bytearray(index.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    index.write_bytes(data)
    code, out, _ = checked(path, capsys)
    assert code == 1
    assert all(line.startswith("the index, which can be made again,") for line in out)


def test_messages_without_a_checksum_are_counted(tmp_path: Path, capsys: Printed) -> None:
    """In a store of an earlier version, which stays one."""
    path = tmp_path / "live.db"
    of_format_1(path, 900)
    unchecked = "900 of them without a checksum (from an earlier version)"
    assert checked(path, capsys)[1] == [f"{path} is good: 900 messages checked, {unchecked}"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        connection.execute("UPDATE message SET id = 'other' WHERE position = 3")
        connection.commit()
    assert checked(path, capsys)[:2] == (1, ["position 3, behind seq 2000: it has no checksum"])


@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])
def test_what_is_no_store_is_wrong_usage(tmp_path: Path, capsys: Printed, key: bytes) -> None:
    path, other = tmp_path / "live.db", tmp_path / "other"
    options = ["--store-key-file", key_file(tmp_path / "key", bytes(reversed(range(32))))]
    assert checked(other, capsys)[0] == 2
    other.write_text("Dear diary,\n" * 1000)
    assert checked(other, capsys)[0] == 2
    written(path, 10, key)
    code, out, err = checked(path, capsys, *options)
    assert (code, out, err.count("\n")) == (2, [], 1)
    if key:
        assert checked(path, capsys)[0] == 2


@pytest.mark.usefixtures("each_kind")
@on_uvloop
async def test_a_store_is_checked_beside_its_server(tmp_path: Path, capsys: Printed) -> None:
    options = ["--store-key-file", str(tmp_path / "live.key")]
    async with keeping(tmp_path) as house:
        http = await house.http()
        await post(http, range(1000))
        await page(http, limit=1000)
        given = options if "store_key_file" in SETTINGS else []
        command = [sys.executable, "-m", "livelog", "store", "check", str(tmp_path / "live.db")]
        process = await asyncio.create_subprocess_exec(
            *command, *given, cwd=ROOT, env=CLEAN, stdout=PIPE, stderr=PIPE
        )
        out, err = (text.decode() for text in await process.communicate())
        code = process.returncode
        assert (code, err) == (0, "")
        assert out.splitlines()[-1].endswith("is good: 1000 messages checked")
        assert "in use" in out
        await post(http, range(1000, 1010))


@pytest.mark.parametrize("name", [".", "empty", "nothing", "/dev/null"])
def test_what_is_no_file_with_content_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigError, match="there is no such store"):
        Check(str(tmp_path / name))


def test_the_command_ends_with_its_code(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    written(path, 10)
    assert ended(start("store", "check", str(path)))[0] == 0
    change(path, "UPDATE message SET payload = '{}' WHERE position = 3")
    code, out, err = ended(start("store", "check", str(path)))
    assert (code, out.count("\n"), err.count("\n")) == (1, 1, 1)
