"""The file of API keys: how it is replaced, and when a reader notices."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from pathlib import Path

import pytest

from livelog.auth import apikeys, keyfile
from livelog.auth.apikeys import RANDOM_BYTES, ApiKey, load
from livelog.auth.authenticator import ApiKeyCheck
from livelog.auth.keyfile import KeyFile
from livelog.cli import main
from livelog.errors import RefusedError
from tests.support.identity import api_key


def key(name: str) -> ApiKey:
    """Return a stored record."""
    return ApiKey(id=name, sha256="0" * 64, owner="bot", scopes=["read"], created="now")


def put(file: Path, *names: str) -> None:
    """Replace the keys in a file."""
    with keyfile.changing(str(file)) as keys:
        keys.clear()
        keys.update({name: key(name) for name in names})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with the key `one`."""
    made = tmp_path / "keys.json"
    put(made, "one")
    return made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The contents that were decoded, in their order."""
    contents: list[bytes] = []

    def spy(content: bytes) -> dict[str, ApiKey]:
        contents.append(content)
        return load(content)

    monkeypatch.setattr(keyfile, "load", spy)
    return contents


# Changes.


def test_of_a_key_only_the_hash_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    secret = api_key(file)
    assert secret.rpartition("_")[2] not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_a_missing_file_counts_as_empty_and_is_made(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    assert keyfile.read(str(file)) == {}
    put(file, "one")
    assert keyfile.read(str(file)) == {"one": key("one")}


def test_a_change_replaces_the_file_in_one_step(file: Path) -> None:
    before = file.read_bytes()
    with file.open("rb") as reader:
        with keyfile.changing(str(file)) as keys:
            keys["two"] = key("two")
            assert file.read_bytes() == before
        assert reader.read() == before
    assert [*keyfile.read(str(file))] == ["one", "two"]
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_change_that_fails_leaves_the_file_as_it_was(file: Path) -> None:
    before = file.read_bytes()

    def fail() -> None:
        with keyfile.changing(str(file)) as keys:
            keys["two"] = key("two")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert file.read_bytes() == before


def test_a_change_that_cannot_be_written_leaves_no_temporary_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    before = file.read_bytes()
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        put(file, "two")
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_change_is_on_disk_before_it_replaces_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):

        def spy(*arguments: object, name: str = name, real: object = getattr(os, name)) -> None:
            calls.append(name)
            assert callable(real)
            real(*arguments)

        monkeypatch.setattr(os, name, spy)
    put(file, "two")
    assert calls == ["fsync", "replace", "fsync"]  # the file, then the directory


def test_a_change_keeps_the_mode_of_the_file(file: Path) -> None:
    file.chmod(0o640)
    put(file, "two")
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_change_keeps_the_owner_of_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(file, 12345, 23456)
        put(file, "two")
        assert (file.stat().st_uid, file.stat().st_gid) == (12345, 23456)

    def forbidden(*_: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "fchown", forbidden)
    real = os.fstat
    monkeypatch.setattr(
        os, "fstat", lambda fd: os.stat_result([*real(fd)[:4], 99, 99, *real(fd)[6:10]])
    )
    before = file.read_bytes()
    with pytest.raises(PermissionError, match="belongs to another user"):
        put(file, "six")
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_symbolic_link_stays_one_and_its_target_is_changed(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    link = folder / "keys.json"
    link.symlink_to(file)
    put(link, "two")
    assert link.is_symlink()
    assert [*keyfile.read(str(file))] == ["two"]
    assert [path.name for path in folder.iterdir()] == [link.name]
    file.unlink()
    put(link, "new")
    assert [*keyfile.read(str(file))] == ["new"]


def test_an_id_that_is_taken_is_not_given_again(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dice = iter([b"\0" * RANDOM_BYTES, b"\0" * RANDOM_BYTES, b"\1" * RANDOM_BYTES])
    monkeypatch.setattr(secrets, "token_bytes", lambda size: next(dice))
    for owner in ("ann", "bob"):
        assert (
            main(["keys", "create", "--api-keys", str(file), "--owner", owner, "--scopes", "read"])
            == 0
        )
    keys = keyfile.read(str(file))
    assert {key.owner for key in keys.values()} == {"bot", "ann", "bob"}
    assert [*keys] == ["one", "00000000", "01010101"]
    assert capsys.readouterr().out.startswith("lk_00000000_")


def test_scopes_are_separated_by_spaces_of_ascii_or_commas(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for scopes, code in (("read\u00a0admin", 1), ("read publish, read", 0)):
        rest = ["--api-keys", str(file), "--owner", "ann", "--scopes", scopes]
        assert main(["keys", "create", *rest]) == code
    assert "unknown scope 'read\\xa0admin'" in capsys.readouterr().err
    _, made = keyfile.read(str(file)).values()
    assert made.scopes == ["read", "publish"]


def test_of_changes_at_the_same_time_none_is_lost(file: Path) -> None:
    def add(number: int) -> None:
        for each in range(5):
            with keyfile.changing(str(file)) as keys:
                name = f"{number}-{each}"
                keys[name] = key(name)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keyfile.read(str(file))) == 21


def test_an_invalid_file_is_named_and_not_overwritten(file: Path) -> None:
    file.write_bytes(b"notes")
    with pytest.raises(ValueError, match=f"{file} is not a file of API keys"):
        put(file, "two")
    assert file.read_bytes() == b"notes"


# Reading.


@pytest.mark.parametrize("content", [None, b"", b"{}", b'[{"id": "one"}]'])
def test_a_reader_does_not_start_with_an_invalid_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises((OSError, ValueError), match=str(file)):
        KeyFile(str(file))


def test_a_change_is_noticed_a_second_after_the_last_check(file: Path) -> None:
    reader = KeyFile(str(file))
    assert [*reader.keys(1000.0)] == ["one"]
    put(file, "two")
    assert [*reader.keys(1000.9)] == ["one"]
    assert [*reader.keys(1001.0)] == ["two"]
    put(file, "six")
    assert [*reader.keys(1001.9)] == ["two"]
    assert [*reader.keys(1002.0)] == ["six"]


def test_a_key_is_taken_as_soon_as_it_is_made(
    file: Path, capsys: pytest.CaptureFixture[str], reads: list[bytes]
) -> None:
    check = ApiKeyCheck(KeyFile(str(file)))
    random = secrets.token_bytes(RANDOM_BYTES)
    unknown, _ = apikeys.make(random, "eve", ["read"], "2025-12-03T12:00:00.000Z")
    for _ in range(3):
        with pytest.raises(RefusedError):
            asyncio.run(check.check(unknown, 1000.0))
    assert len(reads) == 1
    create = ("keys", "create", "--api-keys", str(file), "--owner", "eve", "--scopes", "read")
    assert main(create) == 0
    made = capsys.readouterr().out.strip()
    assert asyncio.run(check.check(made, 1000.1)).id == "eve"


def test_a_clock_that_is_set_back_does_not_hide_a_change(file: Path) -> None:
    reader = KeyFile(str(file))
    reader.keys(5000.0)
    put(file, "two")
    assert [*reader.keys(1000.0)] == ["two"]


def test_a_file_without_a_change_is_not_read_again(file: Path, reads: list[bytes]) -> None:
    reader = KeyFile(str(file))
    for now in range(1000, 1010):
        reader.keys(now)
    assert len(reads) == 1


def test_a_replaced_file_of_the_same_size_and_time_is_noticed(file: Path) -> None:
    reader = KeyFile(str(file))
    found = file.stat()
    put(file, "two")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert file.stat().st_size == found.st_size
    assert [*reader.keys(1000.0)] == ["two"]


def test_a_file_that_was_edited_in_place_is_noticed(file: Path) -> None:
    reader = KeyFile(str(file))
    found = file.stat()
    file.write_bytes(file.read_bytes().replace(b"one", b"two"))
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    assert (file.stat().st_ino, file.stat().st_size) == (found.st_ino, found.st_size)
    assert [*reader.keys(1000.0)] == ["two"]


@pytest.mark.parametrize("content", [None, b"", b"notes"])
def test_a_file_that_turns_invalid_keeps_the_old_keys_and_is_logged_once(
    file: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    reader = KeyFile(str(file))
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    for now in range(1000, 1005):
        assert [*reader.keys(now)] == ["one"]
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith("keeping the old API keys: ")
    assert str(file) in record.getMessage()


def test_a_file_that_is_valid_again_is_read_and_the_next_fault_is_logged(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = KeyFile(str(file))
    for now in (1000, 2000):
        content = file.read_bytes()
        file.write_bytes(b"notes")
        reader.keys(now)
        file.write_bytes(content)
        put(file, f"at-{now}")
        assert [*reader.keys(now + 1)] == [f"at-{now}"]
    assert len(caplog.records) == 2
