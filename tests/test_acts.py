"""Acts: what is kept of them, by each store, and which are not understood."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from livelog.engine.nats import batch
from livelog.engine.nats.batch import ACT, MalformedError, UnknownError
from livelog.errors import RefusedError
from livelog.store.base import Bounds, Store
from livelog.store.memory import MemoryJournal, open_memory
from livelog.store.sqlite import open_sqlite
from livelog.store.upkeep import Retention
from livelog.wire import acts
from livelog.wire.acts import Enacted, Erase, Group, Places, Redact
from livelog.wire.stubs import stub_of
from tests.support.disk import KEY
from tests.support.wire import on_uvloop, run, serving, soon


def redact(*seqs: int, reason: str = "") -> Redact:
    return Redact(
        by="moderator", at="2025-12-03T12:00:00.000Z", reason=reason, groups=(Group("user", seqs),)
    )


def opened(path: Path, key: bytes) -> Store:
    return open_sqlite(str(path), Retention(), time.time, lambda upto: None, key)


async def kept(store: Store, *enacted: Enacted) -> None:
    for one in enacted:
        done: asyncio.Future[RefusedError | None] = asyncio.get_running_loop().create_future()
        store.journal.enact(one, done.set_result)
        assert await soon(done) is None


def test_an_act_is_json_with_its_kind_and_comes_back() -> None:
    act = redact(1, 2, reason="spam")
    assert msgspec.json.decode(acts.encode(act)) == {
        "act": "redact",
        "by": "moderator",
        "at": "2025-12-03T12:00:00.000Z",
        "reason": "spam",
        "groups": [["user", [1, 2], []]],
    }
    assert acts.decode(acts.encode(act)) == act


def test_a_kind_of_act_that_is_not_known_is_told_from_what_is_no_act() -> None:
    with pytest.raises(UnknownError, match="has an act that is not understood"):
        batch.control(ACT, b'{"act":"vote","by":"m","at":"2025-12-03T12:00:00Z"}')
    with pytest.raises(UnknownError):
        batch.control(ACT, b'{"act":"redact","by":"m","at":"2025-12-03T12:00:00Z","groups":"all"}')
    with pytest.raises(MalformedError):
        batch.control(ACT, b"no JSON")
    assert batch.control(*batch.encode_control(redact(3))) == redact(3)


def test_an_act_that_comes_again_or_is_restored_is_understood_or_stops_the_server() -> None:
    again = acts.Enacted(7, redact(3)).repetition
    renewal = batch.Renewal(upto=9, part=0, last=True, acts=(again,))
    for record in (renewal, Enacted(7, redact(3))):
        format, body = batch.encode_control(record)
        assert batch.control(format, body) == record
        with pytest.raises(UnknownError, match="has an act that is not understood"):
            batch.control(format, body.replace(b'"redact"', b'"vote"'))
        with pytest.raises(MalformedError):
            batch.control(format, b"no JSON")


def test_a_stub_that_comes_again_with_a_healed_stream_is_understood() -> None:
    whole = b'{"type":"user","id":"a","timestamp":"2026-01-01T12:00:00Z","user_id":"u","seq":7}'
    _, payload = batch.unplaced(stub_of(whole, "spam"))
    draft = batch.draft(payload)
    assert (draft.id, draft.type, draft.text) == ("a", "user", "")


def test_the_store_in_memory_pages_through_what_it_keeps() -> None:
    async def main() -> None:
        store = open_memory()
        await kept(store, *(Enacted(seq, redact(seq)) for seq in range(1, 8)))
        assert [one.seq for one in store.journal.acts(None, 3)] == [7, 6, 5]
        assert store.journal.acts(3, 9) == [Enacted(2, redact(2)), Enacted(1, redact(1))]

    run(main())


def test_the_store_in_memory_forgets_the_oldest_acts_before_they_take_too_much() -> None:
    large = redact(*range(10**15, 10**15 + 9_000))

    async def main() -> None:
        journal = MemoryJournal(max_bytes=2**20)
        await kept(Store(journal, None, Bounds()), Enacted(1, redact(1)))
        assert not journal.forgot_acts
        for seq in range(2, 30):
            await kept(Store(journal, None, Bounds()), Enacted(seq, large))
            assert journal.acts_memory <= 2**20
        assert journal.forgot_acts
        assert [one.seq for one in journal.briefs(None, 100)] == list(range(29, 23, -1))
        assert journal.acts(None, 1) == [Enacted(29, large)]
        named = (Places(("/by",), (28,)),)
        erase = Erase(by="m", at="", pseudonym="erased_aaaaaaaa", groups=(), records=named)
        await kept(Store(journal, None, Bounds()), Enacted(30, erase))
        assert [one.act.by for one in journal.briefs(None, 3)] == [
            "m",
            "moderator",
            erase.pseudonym,
        ]
        assert journal.acts_memory == sum(one.memory for one in journal._acts)

    run(main())


@on_uvloop
async def test_acts_in_memory_count_as_memory() -> None:
    async with serving() as house:
        await house.server.admin("block", user_id="eve", reason="x" * 500)
        assert 500 < house.context.memory.figures()["acts"] < 1500


@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])
def test_a_store_on_disk_keeps_the_newest_acts_and_goes_on_above_them(
    tmp_path: Path, key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livelog.store.database.acts.MAX_KEPT", 5)
    far = (int(time.time()) + 60) * 1_000_000

    async def main() -> None:
        store = opened(tmp_path / "live.db", key)
        await kept(store, *(Enacted(far + n, redact(n, reason=f"no {n}")) for n in range(8)))
        await store.journal.close()
        store = opened(tmp_path / "live.db", key)
        try:
            assert store.bounds.last_seq >= far + 7
            found = store.journal.acts(None, 100)
            assert found == [Enacted(far + n, redact(n, reason=f"no {n}")) for n in (7, 6, 5, 4, 3)]
            assert store.journal.acts(far + 5, 1) == [found[3]]
        finally:
            await store.journal.close()

    run(main())
