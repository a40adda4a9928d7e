"""Acts of moderators that the stream forgets or loses: every server comes to know of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from livelog import Config, Server
from livelog.config.address import shared_log
from livelog.engine.nats import batch, renewing, settings
from livelog.engine.nats.engine import StreamEngine
from livelog.engine.nats.operator import connected
from livelog.engine.nats.places import Rebase
from livelog.engine.nats.renewing import renewals
from livelog.errors import RefusedError
from livelog.store.memory import MemoryJournal
from livelog.wire.acts import (
    MAX_BYTES,
    MAX_SEQS,
    Block,
    Enacted,
    Erase,
    Group,
    Redact,
    Renewed,
    Unblock,
    encode,
    lasting,
)
from livelog.wire.record import seq_of
from livelog.wire.stubs import Stub
from tests.support.brokers import brokers, fresh_url
from tests.support.brokers import lasting as lasting_broker
from tests.support.inside import Inside
from tests.support.operating import GONE, dying
from tests.support.sharedstream import SPAN, SharedStream
from tests.support.wire import House, Json, eventually, on_uvloop, serving, soon, until, user
from tests.test_cli_engine import Capture, filled, healed, lose
from tests.test_nats_cases import ALONE, named, node, on
from tests.test_nats_healing import Disk, well
from tests.test_nats_jetstream import admin, asked

pytestmark = pytest.mark.usefixtures("quick_words")

TEXT = "xyzzyplugh"
"""Content of what is redacted."""


async def redacted(server: Server, *ids: str) -> None:
    """Wait until a server shows stubs in the place of just these messages."""
    while True:
        messages = (await server.history(limit=1000)).messages
        found = [message.id for message in messages if isinstance(message, Stub)]
        if sorted(found) == sorted(ids):
            break
        await asyncio.sleep(0.01)
    assert (TEXT in repr(messages)) == (not ids)


async def blocked(server: Server) -> list[str]:
    """The users that are blocked at a server."""
    listed = (await server.admin("blocks")).result["blocks"]
    return [row["user_id"] for row in listed]


# What a moderator is told.


@on_uvloop
async def test_the_reply_names_who_keeps_older_messages_and_how_long_brokers_have_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh_url()
    config = Config(port=0, store=str(tmp_path / "a.db"), engine=url, node_name="archive")
    async with Server(config) as archive:
        for number in range(5):
            await archive.publish(user(f"gold {number}", id=f"m{number}"))
        edge = node(url, node_name="edge", window_messages=2)
        async with edge:
            await soon(heard(edge, "archive"))
            dry = (await edge.admin("redact", where="gold", dry_run=True)).result
            assert dry["count"] < 5
            assert dry["older_messages_on"] == ["archive"]
            with pytest.raises(RefusedError, match="archive keep older ones, give the command"):
                await edge.admin("redact", id="m0")
            told = {"count": dry["count"], "upto_seq": dry["upto_seq"]}
            result = (await edge.admin("redact", where="gold", **told)).result
            assert result["older_messages_on"] == ["archive"]
            until_ = datetime.fromisoformat(result["brokers_until"]).timestamp()
            week = timedelta(days=7).total_seconds()
            assert week - 60 < until_ - time.time() < week + 60
            result = (await archive.admin("redact", id="m0")).result
            assert result.keys() == {"redacted", "seq", "brokers_until"}
            result = (await archive.admin("redact", where="gold", dry_run=True)).result
            assert result.keys() == {"count", "upto_seq"}


@on_uvloop
async def test_who_erases_is_told_where_older_messages_are(tmp_path: Path) -> None:
    url, eve = fresh_url(), {"user_id": "eve", "username": "Eve"}
    config = Config(port=0, store=str(tmp_path / "a.db"), engine=url, node_name="archive")
    async with Server(config) as archive:
        for number in range(5):
            await archive.publish(user(id=f"m{number}", **eve))
        await archive.publish(user(id="old", user_id="bob"))
        for number in range(5):
            await archive.publish(user(id=f"n{number}", **eve))
        async with node(url, node_name="edge", window_messages=2) as edge:
            await soon(heard(edge, "archive"))
            with pytest.raises(RefusedError, match="; archive keep older ones, give the command"):
                await edge.admin("erase", user_id="bob")
            dry = (await edge.admin("erase", user_id="eve", dry_run=True)).result
            assert (dry["count"], dry["older_messages_on"]) == (2, ["archive"])
            done = (await edge.admin("erase", user_id="eve")).result
            assert done["older_messages_on"] == ["archive"]
            assert datetime.fromisoformat(done["brokers_until"]).timestamp() > time.time()
            done = (await archive.admin("erase", user_id="eve")).result
            assert done["erased"] == 8
            assert done.keys() == {"erased", "pseudonym", "seq", "brokers_until"}
            with pytest.raises(RefusedError, match=r"no act that names this user$"):
                await archive.admin("erase", user_id="eve")


async def heard(server: Server, name: str) -> None:
    """Wait until a server has heard of another."""
    engine = Inside(server).engine
    await until(lambda: name in [each.name for each in engine.nodes], f"{name} is heard")


@on_uvloop
async def test_brokers_that_keep_everything_have_the_original_without_end() -> None:
    shared = SharedStream()
    async with serving(engine=lambda clock: StreamEngine(shared.view(), silence=0.05)) as house:
        receipt = await house.server.publish(user())
        result = (await house.server.admin("redact", seq=receipt.seq)).result
        assert result["brokers_until"] is None


@on_uvloop
async def test_a_server_that_shares_nothing_has_no_brokers() -> None:
    async with serving() as house:
        receipt = await house.server.publish(user())
        result = (await house.server.admin("redact", seq=receipt.seq)).result
        assert result.keys() == {"redacted", "seq"}


# What one act may name.


@on_uvloop
async def test_the_largest_redaction_fits_into_the_smallest_stream_a_larger_is_refused() -> None:
    url = fresh_url()
    name = settings.stream_of(shared_log(url).name)
    smallest = batch.MAX_BYTES + settings.HEAD_BYTES
    async with serving(engine=on(url), limits=False, faults=[ALONE]) as house:
        async with admin(lasting_broker().servers[0]) as client:
            config = (await asked(client, f"STREAM.INFO.{name}", {}))["config"]
            changed = {**config, "max_msg_size": smallest}
            assert "error" not in await asked(client, f"STREAM.UPDATE.{name}", changed)
        http = await house.http()
        for first in range(0, MAX_SEQS, 500):
            body = json.dumps([user("gold", id=f"m{first + n}") for n in range(500)])
            assert (await http.ask("POST", "/api/messages", body)).status == 201
        await house.server.publish(user("gold extra"))
        for fields in ({"dry_run": True}, {"count": MAX_SEQS + 1, "upto_seq": 2**53 - 1}):
            with pytest.raises(RefusedError, match=f"more than {MAX_SEQS} messages; narrow it"):
                await house.server.admin("redact", where="gold", **fields)
        assert (await house.server.admin("audit")).result["acts"] == []
        dry = (await house.server.admin("redact", where="gold -extra", dry_run=True)).result
        done = await house.server.admin("redact", where="gold -extra", **dry)
        assert done.result["redacted"] == MAX_SEQS
        assert (await house.server.search("gold")).total == 1


def test_acts_and_their_repetitions_fit_into_the_smallest_stream() -> None:
    most = "x" * (MAX_BYTES - len(encode(Redact(by="m", at="", reason="", groups=()))))
    act = Redact(by="m", at="", reason=most, groups=())
    assert len(encode(act)) >= MAX_BYTES
    for renewal in renewals([Enacted(2**53 - 1, act)] * 3, 2**53 - 1, 0):
        assert len(batch.encode_control(renewal)[1]) <= batch.MAX_BYTES


# Healing.


@on_uvloop
async def test_redactions_and_blocks_that_brokers_have_lost_are_restored(
    tmp_path: Path, capfdbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message was lost with its redaction, one is still at the brokers as it was."""
    monkeypatch.setattr("livelog.engine.nats.extent._LOST_SECONDS", 0.5)
    store = str(tmp_path / "full.db")
    with brokers(tmp_path) as broker:
        url, disk = broker.url("prod"), Disk(broker, tmp_path)
        config = Config(port=0, store=store, engine=url)
        async with Server(config) as full:
            early = await full.publish(user(TEXT, id="early"))
            await disk.keep("copy")
            late = await full.publish(user(TEXT, id="late"))
            await full.publish(user(id="other"))
            await full.admin("redact", seq=late.seq, reason="spam")
            await full.admin("block", user_id="ann")
            await full.admin("redact", seq=early.seq)
        await disk.put_back("copy")
        async with node(url, node_name="stays") as stays:
            assert TEXT in repr(await stays.history())
            code, said = await healed(capfdbinary, url, "--store", store)
            assert code == 0, said
            assert said.startswith(
                f"2 messages and 3 acts of moderators were restored, from seq {late.seq} to "
            )
            async with Server(config) as full, node(url) as new:
                for server in (stays, full, new):
                    await soon(redacted(server, "early", "late"))
                    assert await blocked(server) == ["ann"]
                    await soon(well(server))
                    page = await server.history(limit=9)
                    assert [message.id for message in page.messages] == ["other", "late", "early"]
                receipt = await stays.publish(user(id="next"))
                for server in (full, new):
                    assert (await server.publish(user(id="next"))).seq == receipt.seq
                await full.admin("unblock", user_id="ann")
        code, said = await healed(capfdbinary, url, "--store", store)
        assert (code, said) == (0, f"the stream has all that {store} has\n")


@on_uvloop
async def test_a_redaction_that_was_lost_alone_is_restored(
    tmp_path: Path, capfdbinary: Capture
) -> None:
    """No message was lost: before, that counted as nothing, and its servers had strayed."""
    url, store = fresh_url(), str(tmp_path / "node.db")
    async with Server(Config(port=0, store=store, engine=url)) as server:
        receipt = await server.publish(user(TEXT, id="a"))
        await server.admin("redact", seq=receipt.seq)
    await lose(url, 1)
    code, said = await healed(capfdbinary, url, "--store", store)
    assert (code, said.startswith("0 messages and 1 act of moderators")) == (0, True), said
    async with Server(Config(port=0, store=store, engine=url)) as server, node(url) as new:
        for each in (server, new):
            await soon(redacted(each, "a"))
            await soon(well(each))


@on_uvloop
async def test_a_healing_that_was_cut_short_between_acts_goes_on_where_it_was(
    tmp_path: Path, capfdbinary: Capture
) -> None:
    url, store = fresh_url(), str(tmp_path / "node.db")
    async with Server(Config(port=0, store=store, engine=url)) as server:
        first = await server.publish(user(TEXT, id="a"))
        await server.admin("redact", seq=first.seq)
        await server.publish(user(id="b"))
        await server.publish(user(id="c"))
        await server.admin("block", user_id="ann")
        await server.admin("block", user_id="bob")
    await lose(url, 1)
    for _ in range(4):
        with dying(after=1):
            code, said = await healed(capfdbinary, url, "--store", store)
        assert (code, GONE in said) == (1, True)
    code, said = await healed(capfdbinary, url, "--store", store)
    assert (code, said.startswith("0 messages and 1 act of moderators")) == (0, True), said
    async with Server(Config(port=0, store=store, engine=url)) as server, node(url) as new:
        for each in (server, new):
            await soon(redacted(each, "a"))
            await soon(well(each))
            assert [message.id for message in (await each.history()).messages] == [*"cba"]
            assert await blocked(each) == ["ann", "bob"]


@on_uvloop
async def test_acts_are_not_restored_where_a_server_would_not_understand_them(
    tmp_path: Path, capfdbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, store = fresh_url(), str(tmp_path / "node.db")
    receipt = (await filled(url, store, "a"))[0]
    async with Server(Config(port=0, store=store, engine=url)) as server:
        await server.admin("redact", seq=receipt[0])
    await lose(url, 1)
    formats = batch.FORMATS - {batch.RESTORED_ACT}
    monkeypatch.setattr(batch, "FORMATS", formats)
    async with node(url, node_name="old"):
        code, said = await healed(capfdbinary, url, "--store", store)
    assert code == 1
    assert "these nodes are too old to have acts restored: old" in said


def heal(shared: SharedStream, lost: Sequence[bytes | Enacted]) -> None:
    """Append what `livelog engine heal` does: these messages and acts with their seqs."""
    until = max(each.seq if isinstance(each, Enacted) else seq_of(each) for each in lost)
    record = batch.Rebased(shared.base + 2**30, until)
    number = shared.append("rebase", *batch.encode_control(record))
    shared.rebases = (Rebase(number, record.base, until),)
    for place, each in enumerate(lost):
        if isinstance(each, Enacted):
            shared.append(f"restored {place}", *batch.encode_control(each))
        else:
            shared.append(f"restored {place}", *batch.encode_restored([each]))


@on_uvloop
async def test_an_id_of_a_redacted_message_does_not_bring_its_text_back_after_a_healing(
    tmp_path: Path,
) -> None:
    """Clients publish again for ten minutes what was not acknowledged; ids are known for 15."""
    shared, store = SharedStream(), str(tmp_path / "full.db")
    async with serving(engine=of(shared), store=store) as full:
        await full.server.publish(user(id="early"))
        receipt = await full.server.publish(user(TEXT, id="a"))
        await full.server.admin("redact", seq=receipt.seq)
        known, [act] = full.context.log.lookup("a"), full.context.log.acts()
        assert known is not None
    shared.lose(1)
    shared.now += 3600 * 10**6
    heal(shared, [known.payload, act])
    async with serving(engine=of(shared), store=store) as full:
        async with serving(engine=of(shared)) as new:
            shared.now += 10 * 60 * 10**6
            for each in (full, new):
                assert await each.server.publish(user(TEXT, id="a")) == receipt
                assert shown(each, "a") == json.loads(known.payload)
        async with serving(engine=of(shared)) as late:  # and one that has not seen it happen
            shared.now += 10 * 60 * 10**6
            for each in (full, late):
                assert await each.server.publish(user(TEXT, id="a")) == receipt
                assert shown(each, "a") == json.loads(known.payload)
            shared.now += SPAN
            assert (await late.server.publish(user("another", id="a"))).seq > receipt.seq


def shown(house: House, id: str) -> object:
    """The newest message with an id."""
    found = house.context.log.lookup(id)
    return None if found is None else json.loads(found.payload)


# Repetition.

AGE = 10 * SPAN
"""Microseconds for which the stream of these tests keeps its entries."""

LARGE = [("max_age", AGE), ("max_entries", 10**6), ("max_bytes", 10**9)]
"""Each bound that a stream may have, so large that it is not met."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes speak and look often, and do not wait for long; that they wait is not logged."""
    monkeypatch.setattr("livelog.server.server.READY_SECONDS", 0.2)
    monkeypatch.setattr("livelog.engine.nats.herald._TOLD_EVERY", 1e9)
    monkeypatch.setattr("livelog.engine.nats.herald.SAID_EVERY", 0.02)
    monkeypatch.setattr(renewing, "SAID_EVERY", 0.02)
    monkeypatch.setattr(renewing, "_LOOK_SECONDS", 0.02)


def bounded(bound: str, value: int) -> SharedStream:
    shared = SharedStream()
    setattr(shared, bound, value)
    return shared


def aged() -> SharedStream:
    return bounded("max_age", AGE)


def of(shared: SharedStream) -> Callable[[Any], StreamEngine]:
    """Make the engine of one more node."""
    view = shared.view()
    return lambda clock: StreamEngine(view, silence=0.02)


def repetitions(shared: SharedStream) -> list[Json]:
    found = [entry for entry in shared.entries if entry.format == batch.RENEWAL]
    return [json.loads(entry.body) for entry in found]


@pytest.mark.usefixtures("quick")
@on_uvloop
async def test_acts_are_repeated_once_before_they_are_half_as_old_as_the_stream_keeps_them() -> (
    None
):
    shared = aged()
    async with serving(engine=of(shared)) as one, serving(engine=of(shared)) as other:
        receipt = await one.server.publish(user(TEXT, id="a"))
        await one.server.admin("redact", seq=receipt.seq, reason="spam")
        await other.server.admin("block", user_id="ann")
        await other.server.admin("block", user_id="bob")
        await other.server.admin("unblock", user_id="bob")
        await asyncio.sleep(0.2)
        assert repetitions(shared) == []
        for round_ in range(1, 4):
            shared.now += AGE * 46 // 100
            await until(lambda: len(repetitions(shared)) >= round_, "a repetition")  # noqa: B023 - at once
            await asyncio.sleep(0.2)
            found = repetitions(shared)
            assert len({each["upto"] for each in found}) == len(found) == round_
            acts = found[-1]["acts"]
            assert [each["act"] for each in acts] == ["redact", "block", "unblock"]
            assert [each["first_seq"] for each in acts] == sorted(e["first_seq"] for e in acts)
        for house in (one, other):
            kinds = [each.act for each in house.context.log.acts() if each.act.first_seq]
            assert kinds == []  # they knew all of them
            assert await blocked(house.server) == ["ann"]


def nearly_forgotten(shared: SharedStream) -> bool:
    """Whether half of what a stream keeps has come behind the last repetition."""
    numbers = (entry.number for entry in shared.entries if entry.format == batch.RENEWAL)
    last = max(numbers, default=0)
    entries, size = shared.last - last, shared.size(last)
    bounds = (entries, shared.max_entries), (size, shared.max_bytes)
    return any(2 * spent > bound for spent, bound in bounds if bound)


@pytest.mark.parametrize(("bound", "value"), [("max_entries", 20), ("max_bytes", 8000)])
@pytest.mark.usefixtures("quick")
@on_uvloop
async def test_acts_are_repeated_before_they_make_room_for_others(bound: str, value: int) -> None:
    shared = bounded(bound, value)
    async with serving(engine=of(shared)) as house:
        receipt = await house.server.publish(user(TEXT, id="a"))
        await house.server.admin("redact", seq=receipt.seq)
        await house.server.admin("block", user_id="ann")
        for number in range(60):
            shared.now += SPAN
            await house.server.publish(user(id=f"m{number}"))
            await until(lambda: not nearly_forgotten(shared), "a repetition")
        assert shared.first > 60 - 20
        assert shared.last - 63 < 63 // 3  # repetitions
        while shared.entries[-1].format != batch.RENEWAL:  # none comes while another one starts
            shared.now += SPAN
            await house.server.publish(user())
            await asyncio.sleep(0.05)
        async with serving(engine=of(shared)) as new:
            await soon(new.server.ready())
            assert await blocked(new.server) == ["ann"]


@pytest.mark.usefixtures("quick")
@on_uvloop
async def test_a_server_that_has_forgotten_acts_leaves_their_repetition_to_others() -> None:
    shared = aged()
    forgetful = serving(engine=of(shared), faults=["the oldest acts of moderators are forgotten"])
    async with forgetful as house:
        journal = Inside(house.server).store.journal
        assert isinstance(journal, MemoryJournal)
        journal._max_bytes = 500
        for number in range(5):
            await house.server.admin("block", user_id=f"u{number}")
        assert len(house.context.log.acts()) < 5
        shared.now += AGE * 46 // 100
        await asyncio.sleep(0.2)
        assert repetitions(shared) == []
        async with serving(engine=of(shared)):
            await until(lambda: repetitions(shared), "a repetition")
            assert len(repetitions(shared)[0]["acts"]) == 5


@pytest.mark.parametrize(("bound", "value"), LARGE)
@pytest.mark.usefixtures("quick")
@on_uvloop
async def test_a_server_that_was_away_for_longer_is_not_ready_before_it_knows_all_acts(
    tmp_path: Path, bound: str, value: int
) -> None:
    shared = bounded(bound, value)
    full, away = str(tmp_path / "full.db"), str(tmp_path / "away.db")
    async with serving(engine=of(shared), store=full) as house:
        async with serving(engine=of(shared), store=away) as other:
            receipt = await house.server.publish(user(TEXT, id="a"))
            await house.server.admin("block", user_id="bob")
            await soon(known(other.server, "a"))
            await until(lambda: len(other.context.limiter.blocked) == 1, "the block")
        await house.server.admin("unblock", user_id="bob")
        await house.server.admin("block", user_id="ann")
        await house.server.admin("redact", seq=receipt.seq)
        await house.server.publish(user(id="b"))
    shared.now += AGE + 1
    shared.expire(shared.last)
    shared.now += 2 * SPAN
    issue = "this node was away for so long that the stream may lack redactions"
    async with serving(engine=of(shared), store=away) as other:
        assert issue in other.server.unready
        http = await other.http()
        assert (await http.ask("GET", "/readyz")).status == 503
        with pytest.raises(RefusedError, match="this node was away for so long"):
            await other.server.publish(user())
        await asyncio.sleep(0.2)  # in which it does not repeat what it knows
        assert repetitions(shared) == []
        async with serving(engine=of(shared), store=full) as house:
            await soon(other.server.ready())
            assert other.server.unready == ""
            await redacted(other.server, "a")
            for each in (house, other):
                assert await blocked(each.server) == ["ann"]
            await other.server.publish(user(id="c"))
    async with serving(engine=of(shared), store=away) as other:  # it knows them now
        await soon(other.server.ready())
        assert other.server.unready == ""
        await redacted(other.server, "a")
        assert await blocked(other.server) == ["ann"]


@pytest.mark.usefixtures("quick")
@on_uvloop
async def test_who_was_unblocked_and_erased_is_let_in_by_a_server_that_was_away(
    tmp_path: Path,
) -> None:
    """It is told by the pseudonym that the block is ended, and knows the user's own id."""
    shared = aged()
    full, away = str(tmp_path / "full.db"), str(tmp_path / "away.db")
    async with serving(engine=of(shared), store=full) as house:
        async with serving(engine=of(shared), store=away) as other:
            await house.server.admin("block", user_id="bob")
            await until(lambda: len(other.context.limiter.blocked) == 1, "the block")
        await house.server.admin("unblock", user_id="bob")
        await house.server.admin("erase", user_id="bob")
        await house.server.publish(user(id="a"))
    shared.now += AGE + 1
    shared.expire(shared.last)
    shared.now += 2 * SPAN
    async with (
        serving(engine=of(shared), store=away) as other,
        serving(engine=of(shared), store=full) as house,
    ):
        await soon(other.server.ready())
        for each in (house, other):
            assert await blocked(each.server) == []
        acts = other.context.log.acts
        await until(lambda: "bob" not in repr(acts()), "the erasure in the store")


async def known(server: Server, id: str) -> None:
    """Wait until a server has a message."""
    await eventually(server.history, lambda page: id in [each.id for each in page.messages])


@pytest.mark.usefixtures("quick")
@on_uvloop
async def test_a_new_server_gets_the_blocks_that_have_gone_out_of_the_stream() -> None:
    shared = aged()
    async with serving(engine=of(shared)) as house:
        done = (await house.server.admin("block", user_id="ann")).result
        assert done["survives_restart"] is True  # though no store has it
        await house.server.publish(user(id="a"))
        shared.now += AGE // 2
        await until(lambda: repetitions(shared), "a repetition")
        await house.server.publish(user(id="b"))
        shared.expire(2)
        async with serving(engine=of(shared)) as new:
            await soon(new.server.ready())
            assert await blocked(new.server) == ["ann"]


def enacted(seq: int, act: type, first_seq: int = 0, **more: Any) -> Enacted:
    return Enacted(seq, act(by="m", at="2026-01-01T12:00:00.000Z", first_seq=first_seq, **more))


def test_what_lasts_are_redactions_erasures_and_the_last_word_about_each_block() -> None:
    group = (Group("user", (1,)),)
    acts = [
        enacted(1, Redact, groups=group),
        enacted(2, Block, user_id="u"),
        enacted(3, Block, user_id="v", until=50.0),
        enacted(4, Block, address="10.0.0.0/8"),
        enacted(5, Unblock, user_id="u"),
        enacted(6, Block, address="10.0.0.0/8", until=50.0),
        enacted(7, Renewed, upto=6),
        enacted(10, Erase, pseudonym="erased_aaaaaaaa", groups=()),
        enacted(8, Block, user_id="w", first_seq=3),
        enacted(9, Unblock, user_id="w", first_seq=2),
    ]
    found = lasting(acts[::-1], now=100.0)
    assert [each.seq for each in found] == [1, 8, 5, 6, 10]
    assert [each.seq for each in lasting(acts, now=10.0)] == [1, 3, 8, 5, 6, 10]
    again = found[1].repetition
    assert again.first_seq == 3
    assert found[0].repetition.first_seq == 1


def test_many_acts_are_divided_among_entries() -> None:
    some = [enacted(seq, Block, user_id=f"u{seq}", reason="x" * 500) for seq in range(1, 3001)]
    parts = renewals(some, 9000, 0)
    assert [part.part for part in parts] == list(range(len(parts)))
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert [act.first_seq for part in parts for act in part.acts] == list(range(1, 3001))
    assert max(len(batch.encode_control(part)[1]) for part in parts) < batch.MAX_BYTES
    assert max(len(part.acts) for part in parts) < batch.MAX_MESSAGES
    few = renewals([], 7, 0)
    assert [(part.last, part.acts) for part in few] == [(True, ())]


# The same with real brokers, which forget.


async def change(url: str, **settings: int) -> None:
    """Change the stream's settings."""
    async with connected(shared_log(url), "") as operator:
        info = await operator.info()
        await operator.change("UPDATE", {**info["config"], **settings})


async def keep_for(url: str, seconds: float) -> None:
    """Have the stream keep its entries for so long."""
    age = int(seconds * 1e9)
    await change(url, max_age=age, duplicate_window=age)


@on_uvloop
async def test_brokers_that_keep_some_entries_only_keep_those_with_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "SPAN_SECONDS", 0)  # a new server begins at the oldest entry
    monkeypatch.setattr(renewing, "SAID_EVERY", 0.05)
    monkeypatch.setattr(renewing, "_LOOK_SECONDS", 0.05)
    url = fresh_url()
    async with node(url) as house:
        await house.admin("block", user_id="ann")
        acts = Inside(house).context.log.acts
        seq = acts()[0].seq
        await change(url, max_msgs=40)
        for number in range(60):
            await house.publish(user(id=f"m{number}"))
        await soon(forgotten(url, seq))
        await until(lambda: any(isinstance(each.act, Renewed) for each in acts()), "a repetition")
        async with node(url) as new:
            await soon(new.ready())
            assert await blocked(new) == ["ann"]


async def forgotten(url: str, seq: int) -> None:
    """Wait until the stream does not have the entry with a seq any more."""
    async with connected(shared_log(url), "") as operator:
        while True:
            bounds = operator.bounds(await operator.info())
            if bounds.places.number_of(seq) < bounds.first:
                return
            await asyncio.sleep(0.05)


@on_uvloop
async def test_brokers_that_forget_a_redaction_do_not_bring_its_text_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture
) -> None:
    monkeypatch.setattr(settings, "_LEAST_DUPLICATES", 0)
    monkeypatch.setattr(renewing, "SAID_EVERY", 0.5)
    monkeypatch.setattr("livelog.server.server.READY_SECONDS", 0.2)
    url = fresh_url()
    full, away = (str(tmp_path / name) for name in ("full.db", "away.db"))

    def server(store: str) -> Server:
        return Server(Config(port=0, store=store, engine=url))

    async with server(full) as house:
        async with server(away) as other:
            receipt = await house.publish(user(TEXT, id="a"))
            await soon(known(other, "a"))
        await keep_for(url, 2.0)
    async with server(full) as house:
        answer = await house.admin("redact", seq=receipt.seq)
        await house.admin("block", user_id="ann")
        await forgotten(url, answer.result["seq"] + batch.MAX_MESSAGES)
        async with server(away) as other:
            await soon(other.ready())
            await soon(redacted(other, "a"))
            assert await blocked(other) == ["ann"]
        await house.publish(user(id="b"))
    # All were away, and the one that knows it all does not come: the operator lets it go on.
    await forgotten(url, await last(url))
    async with server(away) as other:
        await soon(named(other, "this node was away for so long"))
    await keep_for(url, 60.0)
    async with node(url) as well_:
        assert well_.unready == ""
        code, said = await healed(capfdbinary, url, "--store", away)
        assert (code, said) == (0, f"the stream has all that {away} has\n")
    code, said = await healed(capfdbinary, url, "--store", away)
    assert (code, "2 acts of moderators were repeated" in said) == (0, True), said
    async with server(away) as other:
        await soon(other.ready())
        assert other.unready == ""
        await redacted(other, "a")


async def last(url: str) -> int:
    """The highest seq of the stream."""
    async with connected(shared_log(url), "") as operator:
        return operator.bounds(await operator.info()).end
