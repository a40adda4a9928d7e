"""`livelog export` and `livelog import` as processes, against real servers, interrupted too."""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import json
import os
import signal
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from livelog.cli.compressed import contents
from livelog.cli.exit import Failure
from tests.support.command import done, ndjson, running
from tests.support.wire import SAMPLES, House, on_uvloop, serving, until, user


def names(folder: Path) -> list[str]:
    return os.listdir(folder)


def held(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in b"".join(contents(path, 1000)).splitlines()]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
@on_uvloop
async def test_what_was_exported_comes_back_by_an_import(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"all.ndjson{ending}"
    async with serving() as old, serving() as new:
        for sample in SAMPLES:
            old.append(sample)
        assert (await done("export", str(file), "--url", old.server.url, anew=True))[0] == 0
        assert names(tmp_path) == [file.name]
        code, _, err = await done("import", str(file), "--url", new.server.url, anew=True)
        assert (code, err) == (0, f"livelog: {len(SAMPLES)} messages published\n")
        assert names(tmp_path) == [file.name]
        assert _without_seq(await _stored(new)) == _without_seq(await _stored(old))
        assert [message["seq"] for message in held(file)] == [
            message["seq"] for message in await _stored(old)
        ]
    if ending == ".gz":
        assert len(gzip.decompress(file.read_bytes()).splitlines()) == len(SAMPLES)


async def _stored(house: House) -> list[dict[str, object]]:
    code, out, _ = await done(
        "tail", "--since", "0", "--no-follow", "--json", "--url", house.server.url
    )
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


def _without_seq(messages: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{name: value for name, value in each.items() if name != "seq"} for each in messages]


@on_uvloop
async def test_an_export_selects(tmp_path: Path) -> None:
    async with serving() as house:
        seqs = house.publish(
            "red dragon", "a bird", "blue dragon", timestamp="2025-12-03T10:00:00Z"
        )
        late = house.publish("late dragon", timestamp="2025-12-04T10:00:00Z")
        for flags, expected in [
            (["--where", "dragon"], [seqs[0], seqs[2], *late]),
            (["--since", str(seqs[0])], [seqs[1], seqs[2], *late]),
            (["--until", str(seqs[1])], seqs[:2]),
            (["--since", "2025-12-04T00:00Z"], late),
            (["--until", "2025-12-03T23:00Z", "--where", "dragon"], [seqs[0], seqs[2]]),
            (["--type", "raid"], []),
        ]:
            code, out, _ = await done("export", "-", "--url", house.server.url, *flags)
            assert code == 0
            assert [json.loads(line)["seq"] for line in out.splitlines()] == expected, flags
        twice = ("--since", "2025-12-03", "--filter", "date_from=2025-12-04")
        code, _, err = await done("export", "-", "--url", house.server.url, *twice)
        assert (code, "--since with a time and the filter date_from" in err) == (1, True)
        missing = str(tmp_path / "missing" / "file.gz")
        code, _, err = await done("export", missing, "--url", house.server.url)
        assert (code, missing in err) == (1, True)


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
@on_uvloop
async def test_an_export_that_was_killed_goes_on(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"all.ndjson{ending}"
    part, checkpoint = tmp_path / f"{file.name}.part", tmp_path / f"{file.name}.checkpoint"
    count = 12_000
    async with serving() as house:
        for first in range(0, count, 1000):
            house.publish(*(f"{n} {'x' * 1000}" for n in range(first, first + 1000)))
        async with running("export", str(file), "--url", house.server.url) as export:
            await until(checkpoint.exists, "a part is whole")
            export.process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(export.process.wait)
        assert part.exists()
        assert not file.exists()
        code, _, err = await done("export", str(file), "--url", house.server.url, "--type", "user")
        assert code == 1
        assert "another selection" in err
        async with serving() as other:
            code, _, err = await done("export", str(file), "--url", other.server.url)
            assert (code, "another server" in err) == (1, True)
        with part.open("ab") as writing:
            fcntl.flock(writing, fcntl.LOCK_EX)
            code, _, err = await done("export", str(file), "--url", house.server.url)
            assert (code, "another export is writing" in err) == (1, True)
        code, _, err = await done("export", str(file), "--url", house.server.url)
        assert code == 0
        assert "going on behind" in err
        contents = [str(message["content"]).split()[0] for message in held(file)]
        assert contents == [str(n) for n in range(count)]
        assert names(tmp_path) == [file.name]
        code, _, err = await done("export", str(file), "--url", house.server.url)
        assert code == 1
        assert "exists" in err


@on_uvloop
async def test_an_export_does_not_take_the_place_of_a_link_to_nothing(tmp_path: Path) -> None:
    file = tmp_path / "all.ndjson"
    file.symlink_to(tmp_path / "elsewhere" / "all.ndjson")
    async with serving() as house:
        code, _, err = await done("export", str(file), "--url", house.server.url)
    assert (code, "is a symbolic link to a file that does not exist" in err) == (1, True)
    assert (names(tmp_path), file.is_symlink()) == ([file.name], True)


@on_uvloop
async def test_an_import_that_was_refused_goes_on_behind_what_is_acknowledged(
    tmp_path: Path,
) -> None:
    file = tmp_path / "some.ndjson"
    good = [user(f"{n} {'x' * 900}") for n in range(600)]
    bad = {"type": "user", "content": 7}
    async with serving() as house:
        file.write_text(ndjson(*good[:500], bad, *good[500:]))
        code, _, err = await done("import", str(file), "--url", house.server.url)
        assert code == 1
        assert "line 501" in err
        published = len(await _stored(house))
        assert published == 500
        given = file.stat()
        os.utime(file, ns=(given.st_atime_ns, given.st_mtime_ns + 1))
        code, _, err = await done("import", str(file), "--url", house.server.url)
        assert (code, "about another server or file" in err) == (1, True)
        os.utime(file, ns=(given.st_atime_ns, given.st_mtime_ns))
        code, _, err = await done("import", str(file), "--url", house.server.url, "--keep-going")
        assert code == 1
        assert "going on behind line" in err
        assert len(await _stored(house)) == 600
        assert not (tmp_path / "some.ndjson.imported").exists()


@on_uvloop
async def test_an_import_reads_from_where_nothing_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / "some.ndjson"
    file.write_text(ndjson(*(user(f"{n} {'x' * 900}") for n in range(600))))
    (tmp_path / "some.ndjson.imported.new").mkdir()  # root may write to any folder
    async with serving() as house:
        code, _, err = await done("import", str(file), "--url", house.server.url)
        assert code == 0
        assert err.count("cannot write") == 1
        assert len(await _stored(house)) == 600


@on_uvloop
async def test_an_import_leaves_out_the_places_of_redacted_messages(tmp_path: Path) -> None:
    file = tmp_path / "some.ndjson"
    file.write_text(ndjson(user("hello"), {"type": "user", "id": "m1", "seq": 5, "redacted": True}))
    async with serving() as house:
        code, _, err = await done("import", str(file), "--url", house.server.url)
        assert (code, "1 redacted before and left out" in err) == (0, True)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_file_that_is_cut_or_damaged_is_called_so(tmp_path: Path, ending: str) -> None:
    data = b"".join(b"%d\n" % n for n in range(100_000))
    whole = gzip.compress(data) if ending == ".gz" else zstandard.ZstdCompressor().compress(data)
    path = tmp_path / f"file{ending}"
    for written in (whole, whole * 2):
        path.write_bytes(written)
        assert b"".join(contents(path, 5000)) == data * (len(written) // len(whole))
    path.write_bytes(whole[:-10])
    with pytest.raises(Failure, match="incomplete"):
        list(contents(path, 5000))
    path.write_bytes(whole + b"\0\1\2\3\4\5\6\7\10\11\12\13")
    with pytest.raises(Failure, match="damaged"):
        list(contents(path, 5000))


def test_a_bomb_is_expanded_piece_by_piece(tmp_path: Path) -> None:
    made = zstandard.ZstdCompressor().compressobj()
    pieces = [made.compress(bytes(2**22)) for _ in range(32)]
    path = tmp_path / "bomb.zst"
    path.write_bytes(b"".join([*pieces, made.flush()]))
    assert path.stat().st_size < 16 * 2**10
    tracemalloc.start()
    try:
        assert sum(map(len, contents(path, 2**18))) == 2**27
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_contents_come_in_pieces_of_one_size(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 10_000)
    pieces = list(contents(path, 7000))
    assert [len(piece) for piece in pieces] == [7000] * 4 + [2000]
    assert b"".join(pieces) == b"abc" * 10_000
