"""Damage on disk: it is told, and what is damaged is never delivered.

Single bits are flipped anywhere in the files. What is then read is what was written, or it is
missing, and then counted, and a reader that passes it is told of a gap.
"""

from __future__ import annotations

import json
import queue
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from livelog import Config, Server
from livelog.auth.principal import ANYBODY
from livelog.cli import main
from livelog.errors import ConfigError, RefusedError
from livelog.index.paging import Span
from livelog.index.query import EVERYTHING, Subscription, compile_query
from livelog.store import sqlite
from livelog.store.database.acts import read_acts, write_act
from livelog.store.database.checksums import StoredRow, checksum
from livelog.store.database.connection import Connection
from livelog.store.database.file import connect, follow, open_file
from livelog.store.database.newest import last_gap
from livelog.store.database.state import read_state
from livelog.store.database.wal import find_fault
from livelog.store.reader.calls import PageCall
from livelog.store.reader.rows import Unreadable
from livelog.wire import acts, frames
from livelog.wire.acts import Enacted, Group, Redact
from livelog.wire.commands import Filters
from livelog.wire.messages import TYPES
from livelog.wire.record import Origin, Record
from livelog.wire.stubs import is_stub
from tests.support.damage import flip, killed, of_format_1, spoil, written
from tests.support.disk import KEY, PATIENCE, Disk
from tests.support.keeping import everything, filled, keeping, page, post, resumed, sample
from tests.support.wire import TYPES as ALL
from tests.support.wire import on_uvloop, until

pytestmark = pytest.mark.usefixtures("no_reader_left")

COUNT = 300
WANTED = Subscription(tuple((name, compile_query(ANYBODY, Filters(type=name))) for name in TYPES))


def pages(disk: Disk, count: int) -> list[bytes]:
    """All of history, newest first."""
    got: list[bytes] = []
    for offset in range(0, count, 100):
        got += disk.page(EVERYTHING, 1 << 60, Span(100, offset)).payloads
    return got


def resume(disk: Disk, count: int) -> Iterator[bytes]:
    """All of a resume, oldest first; an empty one for each gap."""
    cursor = 0
    while cursor < 1000 * count:
        chunk = disk.chunk(cursor, 1000 * count, WANTED, 20_000)
        assert chunk.cursor > cursor
        cursor = chunk.cursor
        if chunk.lost_upto:
            yield b""
        for each in chunk.frames:
            yield from frames.payloads(each)


def check_pages(disk: Disk, messages: list[Record]) -> None:
    """All that pages lack is counted."""
    got, expected = pages(disk, len(messages))[::-1], [one.payload for one in messages]
    rest = iter(expected)
    assert all(payload in rest for payload in got)
    damage = disk.reader._stored.rows.damage
    assert len(expected) - len(got) <= damage.messages


def check_resume(disk: Disk, messages: list[Record]) -> None:
    """There is a gap wherever a message is missing."""
    got = list(resume(disk, len(messages)))
    place = 0
    for one in messages:
        if place < len(got) and got[place] == one.payload:
            place += 1
        elif place < len(got) and got[place] == b"":
            # Of one gap or of several that follow each other.
            following = [payload for payload in got[place:] if payload][:1]
            if following == [one.payload]:
                place = got.index(one.payload, place) + 1
        else:
            raise AssertionError(f"{one.seq} is missing in silence")
    assert not [payload for payload in got[place:] if payload]


def survived(folder: Path, messages: list[Record], key: bytes) -> str:
    """Start with a damaged store and read everything; returns what happened."""
    try:
        disk = Disk(folder / "live.db", key)
    except (ConfigError, Unreadable):
        return "refused"
    try:
        if list(folder.glob("live.db-wal-damaged*")):
            return "told of the log"
        check_pages(disk, messages)
        check_resume(disk, messages)
    except Unreadable:
        return "unreadable"
    else:
        return "read"
    finally:
        disk.close()


@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_no_bit_is_delivered_flipped(tmp_path: Path, key: bytes, suffix: str) -> None:
    """At fifty places, which differ each time; but for the last frame of a log, see below."""
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    make = killed if suffix else written
    messages = make(source / "live.db", COUNT, key)
    target = f"live.db{suffix}"
    size = (source / target).stat().st_size - (4096 + 24 if suffix else 0)
    seed = random.randrange(1_000_000)
    chance, seen = random.Random(seed), set()
    for _ in range(50):
        copy.mkdir()
        for name in ("live.db", "live.db-wal"):
            if (source / name).exists():
                shutil.copy(source / name, copy / name)
        bit = chance.randrange(8 * size)
        flip(copy / target, bit)
        print(f"seed {seed}, bit {bit}")
        seen.add(survived(copy, messages, key))
        shutil.rmtree(copy)
    assert seen & {"read", "refused", "told of the log"}


def damage_the_middle(path: Path) -> None:
    """Damage the pages of a quarter of the messages, which lie side by side."""
    data = bytearray(path.read_bytes())
    found = [at for at in range(0, len(data), 4096) if b'"id":"m' in data[at : at + 4096]]
    for at in found[len(found) // 4 : len(found) // 2]:
        data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)


@pytest.mark.parametrize("offset", [900, 1300])
def test_messages_damaged_side_by_side_are_read_around_in_steps(
    tmp_path: Path, offset: int
) -> None:
    """A page in the middle of 500 took 50 000 statements in one step: other calls would wait."""
    path = tmp_path / "live.db"
    messages = written(path, 2000)
    damage_the_middle(path)
    disk = Disk(path)
    statements: list[str] = []
    counts: list[int] = []
    connection: Any = disk.reader._stored.rows._connection
    connection.set_trace_callback(statements.append)
    call = PageCall(EVERYTHING, 0, 1 << 60, Span(100, offset), 0)
    with disk.reader.snapshot():
        for _ in disk.reader.answer(call):
            counts.append(len(statements))
            statements.clear()
    connection.set_trace_callback(None)
    assert counts
    assert max(*counts, len(statements)) < 1000
    check_pages(disk, messages)
    check_resume(disk, messages)
    disk.close()


def test_an_act_on_damaged_messages_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    seqs = [one.seq for one in written(path, 1000)]
    damage_the_middle(path)
    disk, told = Disk(path), queue.SimpleQueue[RefusedError | None]()
    groups = (Group("user", tuple(seqs)),)
    enacted = Enacted(seqs[-1] + 1, Redact(by="mod", at="2026-01-01T12:00:00Z", groups=groups))
    disk.writer.enact(enacted, told.put)
    assert told.get(timeout=PATIENCE) is None
    with closing(connect(str(path))) as connection:
        assert read_acts(connection, None, 9) == [enacted]
    got = pages(disk, len(seqs))
    assert all(map(is_stub, got))
    assert len(got) + disk.reader._stored.rows.damage.messages == len(seqs)
    disk.close()


def damaged(path: Path, *numbers: int) -> None:
    """Damage the texts of some samples, in the database."""
    with closing(connect(str(path))) as connection:
        for number in numbers:
            connection.execute(
                "UPDATE message SET payload = replace(payload, ?, ?) WHERE id = ?",
                ("2026-01", "2026-03", f"m{number}"),
            )


@on_uvloop
async def test_a_damaged_message_is_told_at_every_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_DAMAGE_SECONDS", 0.05)
    async with keeping(tmp_path) as house:
        messages = await post(await house.http(), range(400))
    damaged(tmp_path / "live.db", 100, 101, 380)
    left = [one for one in messages if one["id"] not in ("m100", "m101", "m380")]
    faults = ["3 messages in the store are damaged", "are damaged"]
    async with keeping(tmp_path, faults=faults) as house:
        http = await house.http()
        await until(lambda: filled(house), "filled")
        # The newest 50 had one that is damaged: the window begins behind it.
        assert len(house.inside.window) == 19
        got = await page(http, limit=1000)
        assert (got["messages"], got["total_count"]) == (left[::-1], 397)
        client = await house.client()
        await client.tell("subscribe", message_types=ALL, since=messages[10]["seq"])
        seqs, [subscribed, *gaps] = await resumed(client, messages[-1]["seq"])
        assert subscribed["action"] == "subscribed"
        assert seqs == [one["seq"] for one in left[11:]]
        assert [(gap["action"], gap["from"], gap["to"]) for gap in gaps] == [
            ("gap", messages[99]["seq"], messages[101]["seq"]),
            ("gap", messages[379]["seq"], messages[380]["seq"]),
        ]

        async def degraded() -> bool:
            health = (await http.ask("GET", "/healthz")).json
            return health["status"] == "degraded" and "3 messages" in health["issue"]

        while not await degraded():
            pass
        health = (await http.ask("GET", "/healthz")).json
        assert f"seq {messages[100]['seq']}" in health["issue"]


@on_uvloop
async def test_a_damaged_message_is_not_published_again_in_its_place(tmp_path: Path) -> None:
    """While the window is filled the store is asked for ids."""
    async with keeping(tmp_path) as house:
        await post(await house.http(), range(20))
    damaged(tmp_path / "live.db", 10)
    async with keeping(tmp_path) as house:
        reader = house.inside.store.reader
        assert reader is not None
        with pytest.raises(Exception, match="is damaged on disk"):
            reader.lookup("m10")
        known = reader.lookup("m11")
        assert known is not None
        assert json.loads(known.payload)["id"] == "m11"


# The write-ahead log.


@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])
def test_a_log_that_was_cut_is_not_damaged(tmp_path: Path, key: bytes) -> None:
    """Anywhere: a commit that a power cut has interrupted was not acknowledged."""
    path = tmp_path / "live.db"
    killed(path, COUNT, key)
    log = Path(f"{path}-wal")
    whole = log.read_bytes()
    chance = random.Random(7)
    for _ in range(30):
        size = chance.randrange(len(whole))
        log.write_bytes(whole[:size] + bytes(len(whole) - size) * chance.choice([0, 1]))
        assert find_fault(str(log)) is None


def test_a_log_whose_header_is_zeros_is_damaged(tmp_path: Path) -> None:
    """The header is synced before what follows it."""
    path = tmp_path / "live.db"
    killed(path, COUNT)
    log = Path(f"{path}-wal")
    whole = log.read_bytes()
    log.write_bytes(bytes(4096) + whole[4096:])
    assert find_fault(str(log)) == (0, 0)
    log.write_bytes(bytes(len(whole)))
    assert find_fault(str(log)) is None


def copies(folder: Path) -> list[Path]:
    return list(folder.glob("live.db-wal-damaged-*"))


@on_uvloop
async def test_messages_lost_in_the_log_are_told(tmp_path: Path) -> None:
    """By a log line, in the health, as a gap, and with a copy of the damaged log."""
    path = tmp_path / "live.db"
    messages = killed(path, COUNT)
    spoil(Path(f"{path}-wal"), b'"id":"m170"')
    faults = ["write-ahead log is damaged", "1 messages in the store are damaged"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "_DAMAGE_SECONDS", 0.05)
        async with keeping(tmp_path, faults=faults) as house:
            http = await house.http()
            await until(lambda: filled(house), "filled")
            got = await everything(http)
            assert [one["seq"] for one in got] == [one.seq for one in messages[:150]]
            client = await house.client()
            await client.tell("subscribe", message_types=ALL, since=messages[140].seq)
            [last] = [one["seq"] for one in await post(http, range(500, 501))]
            seqs, [_, gap] = await resumed(client, last)
            assert seqs == [*(one.seq for one in messages[141:150]), last]
            assert gap["action"] == "gap"
            assert (gap["from"], messages[-1].seq < gap["to"] < last) == (messages[149].seq, True)
            await until(lambda: bool(house.context.log.impaired), "degraded")
    [copy] = copies(tmp_path)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert find_fault(str(copy)) is not None


# An earlier version.


@on_uvloop
async def test_a_store_of_format_1_is_read_at_once_and_gets_its_checksums(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    messages = of_format_1(path, 1700)
    async with keeping(tmp_path) as house:
        http = await house.http()
        assert [one["seq"] for one in await everything(http)] == [one.seq for one in messages]
        await until(lambda: unchecked(path) == 0, "all have a checksum")
        await post(http, range(2000, 2010))
        assert len(await everything(http)) == 1710
    with closing(connect(str(path))) as connection:
        assert all(row.intact(0) for row in rows_of(connection))


def unchecked(path: Path) -> int:
    with closing(connect(str(path))) as connection:
        return read_state(connection).unchecked_upto


def rows_of(connection: Connection) -> list[StoredRow]:
    sql = "SELECT position, seq, CAST(id AS BLOB), CAST(payload AS BLOB), checksum FROM message"
    return [StoredRow(*row) for row in connection.execute(sql)]


def test_what_is_damaged_already_gets_no_checksum(tmp_path: Path) -> None:
    """As far as that can be seen: JSON that is none, and another seq or id."""
    path = tmp_path / "live.db"
    of_format_1(path, 1200)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE message SET payload = '{' WHERE position = 300")
        connection.execute("UPDATE message SET id = 'other' WHERE position = 700")
    disk = Disk(path)
    while unchecked(path):
        pass
    disk.close()
    with closing(connect(str(path))) as opened:
        assert [row.position for row in rows_of(opened) if not row.intact(0)] == [300, 700]


def test_a_checksum_covers_the_place_the_names_and_the_text() -> None:
    row = StoredRow(1, 2, b"id", b"text", checksum(1, 2, b"id", b"text"))
    assert row.intact(0)
    others = [
        row._replace(position=2),
        row._replace(seq=3),
        row._replace(id=b"ie"),
        row._replace(payload=b"tex"),
        row._replace(checksum=None),
        row._replace(payload=None),
    ]
    assert not any(other.intact(0) for other in others)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    written(path, 10)
    with closing(connect(str(path))) as connection:
        connection.execute("UPDATE log SET trimmed_upto = 5000")
    with pytest.raises(ConfigError, match="state of the log is damaged"):
        open_file(str(path))


def test_what_a_server_has_missed_of_a_shared_log_is_a_gap_and_no_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "live.db"
    written(path, 10)
    connection, contents = open_file(str(path))
    last = contents.last_seq
    origin = Origin(contents.began, joins_from=last + 5000, gone_upto=last + 9000)
    assert follow(connection, contents, origin, str(path)).last_seq == last + 9000
    connection.close()
    assert main(["store", "check", str(path)]) == 0, capsys.readouterr().out
    disk = Disk(path)
    assert last_gap(disk.writer._connection) == last + 9000
    disk.close()


@pytest.mark.parametrize("text", [b'"user_id":"u150"', b",500000,"], ids=["page", "overflow"])
@on_uvloop
async def test_damaged_acts_are_refused(tmp_path: Path, text: bytes) -> None:
    """A server that cannot read them would know of no block."""
    path = tmp_path / "live.db"
    author: dict[str, Any] = {"by": "m", "at": "2026-01-01T12:00:00.000Z"}
    redaction = acts.Redact(groups=(acts.Group("user", tuple(range(495_000, 505_000))),), **author)
    connection, _ = open_file(str(path))
    for number in range(300):
        write_act(connection, Enacted(number + 1, acts.Block(user_id=f"u{number}", **author)))
    write_act(connection, Enacted(301, redaction))
    connection.close()
    data = bytearray(path.read_bytes())
    page = data.index(text) // 4096 * 4096
    data[page : page + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="malformed; move it away or restore a copy"):
        await Server(Config(port=0, store=str(path))).start()


@on_uvloop
async def test_an_act_that_is_damaged_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its block is lifted, which nothing has told before."""
    path = tmp_path / "live.db"
    config = Config(port=0, store=str(path))
    async with Server(config) as server:
        await server.admin("block", user_id="eve")
        await server.admin("block", user_id="mallory")
        [newest, _] = (await server.admin("audit")).result["acts"]
    spoil(path, b"mallory")
    told = f"the act of a moderator at seq {newest['seq']}"
    assert main(["store", "check", str(path)]) == 1
    assert f"{told} does not fit its checksum" in capsys.readouterr().out
    async with Server(config) as server:
        assert f"{told} is damaged, and not in force" in caplog.text
        rows = (await server.admin("blocks")).result["blocks"]
        assert [row["user_id"] for row in rows] == ["eve"]
        await server.admin("audit")
    assert caplog.text.count(told) == 1  # however often it is read


@on_uvloop
async def test_acts_that_are_damaged_are_told_by_the_health_and_hide_no_older_ones(
    tmp_path: Path,
) -> None:
    async with keeping(tmp_path) as house:
        for user in ("eve", "mallory", "trudy"):
            await house.server.admin("block", user_id=user)
    for name in (b"mallory", b"trudy"):
        spoil(tmp_path / "live.db", name)
    async with keeping(tmp_path, faults=["is damaged, and not in force"] * 2) as house:
        rows = (await house.server.admin("blocks")).result["blocks"]
        assert [row["user_id"] for row in rows] == ["eve"]
        health = (await (await house.http()).ask("GET", "/healthz")).json
        said = "acts of moderators in the store that cannot be read and are not in force: 2, the"
        assert (health["status"], said in health["issue"]) == ("degraded", True)
        metrics = (await (await house.http()).ask("GET", "/metrics")).body.decode()
        assert 'livelog_state{state="unimpaired"} 0.0' in metrics


@on_uvloop
async def test_an_act_of_a_later_version_is_told_and_nothing_else_goes_wrong(
    tmp_path: Path,
) -> None:
    path = tmp_path / "live.db"
    connection, _ = open_file(str(path))
    act: Any = acts.Block(by="m", at="2026-01-01T12:00:00.000Z", user_id="eve")
    write_act(connection, Enacted(7, act))
    [[body]] = connection.execute("SELECT body FROM act")
    later = body.replace('"block"', '"vote"').encode()
    crc = crc32(later, crc32(b"7"))
    connection.execute("UPDATE act SET body = CAST(? AS TEXT), checksum = ?", (later, crc))
    connection.close()
    with pytest.raises(ConfigError, match=r"at seq 7 is not understood: .*; a later version"):
        await Server(Config(port=0, store=str(path))).start()


@on_uvloop
async def test_samples_of_the_server_pass(tmp_path: Path) -> None:
    """Ids and texts of all kinds have a checksum that fits what SQLite returns."""
    async with keeping(tmp_path) as house:
        for id in ("ä", "🐉", "a\\u0001b", "x" * 128):
            house.append({**sample(1), "id": id})
        assert len(await everything(await house.http())) == 4
    async with keeping(tmp_path) as house:
        assert len(await everything(await house.http())) == 4
