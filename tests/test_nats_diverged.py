"""A server that starts on a stream which is not the one that it knew: it stops, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from livelog import Config, Server
from livelog.config.address import shared_log
from livelog.engine.nats import agreement, batch
from livelog.engine.nats.agreement import disagreement
from livelog.engine.nats.operator import connected
from livelog.engine.nats.places import Rebase
from livelog.engine.nats.stream import Bounds, Entry
from livelog.errors import RefusedError
from livelog.wire.acts import Act, Block, Enacted, Group, Redact
from tests.support.brokers import fresh_url
from tests.support.wire import on_uvloop, soon, user
from tests.test_cli_engine import Capture, filled, healed, lose, places
from tests.test_nats_cases import health, named, node

OTHER = "the stream has something else than this node"


async def enter(url: str, *ids: str) -> None:
    """Publish at a server that has nothing."""
    async with node(url) as server:
        for id in ids:
            await server.publish(user(id=id))


@pytest.mark.parametrize("others", ["x", "xy", "xyzuv"], ids=["fewer", "as many", "more"])
@pytest.mark.parametrize("kept", [0, 2], ids=["made anew", "lost its end"])
@on_uvloop
async def test_a_stream_that_went_on_without_what_was_lost_while_the_server_was_down(
    tmp_path: Path, capfdbinary: Capture, kept: int, others: str
) -> None:
    url, store = fresh_url(), str(tmp_path / "node.db")
    mine = await filled(url, store, *"abcd")
    await lose(url, kept)
    await enter(url, *others)
    async with Server(Config(port=0, store=store, engine=url)) as server:
        await soon(named(server, f"{OTHER} at seq {mine[kept][0]}"))
        said = await health(server)
        assert "use a new store, such as `livelog store copy` makes" in said
        with pytest.raises(RefusedError, match="something else"):
            await server.publish(user(id="e"))
        assert await places(server) == mine
    code, said = await healed(capfdbinary, url, "--store", store)
    assert (code, "cannot be healed with this store" in said) == (1, True)


@on_uvloop
async def test_an_act_that_was_lost_is_missed_too(tmp_path: Path) -> None:
    """It has nothing behind it, and all messages are where they were."""
    url, store = fresh_url(), str(tmp_path / "node.db")
    async with Server(Config(port=0, store=store, engine=url)) as server:
        receipt = await server.publish(user(id="a"))
        await server.admin("redact", seq=receipt.seq)
    await lose(url, 1)
    await enter(url, *"xy")
    async with Server(Config(port=0, store=store, engine=url)) as server:
        await soon(named(server, f"{OTHER} at seq {receipt.seq + batch.MAX_MESSAGES}"))


@on_uvloop
async def test_a_shorter_stream_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livelog.engine.nats.extent._LOST_SECONDS", 0.2)
    url, store = fresh_url(), str(tmp_path / "node.db")
    await filled(url, store, *"abcd")
    await lose(url, 2)
    async with Server(Config(port=0, store=store, engine=url)) as server:
        await soon(named(server, "have lost what they had acknowledged; run `livelog engine heal`"))


@pytest.mark.parametrize("deleted", [[3], [4], [1, 2, 3, 4]], ids=["one", "the newest", "all"])
@on_uvloop
async def test_what_an_operator_has_deleted_is_no_other_stream(
    tmp_path: Path, deleted: list[int]
) -> None:
    url, store = fresh_url(), str(tmp_path / "node.db")
    mine = await filled(url, store, *"abcd")
    async with connected(shared_log(url), "") as operator:
        subject = f"$JS.API.STREAM.MSG.DELETE.LIVELOG_{operator.name}"
        for number in deleted:
            answer = await operator.stream.broker.request(subject, b'{"seq":%d}' % number)
            assert answer["success"]
    async with Server(Config(port=0, store=store, engine=url)) as server:
        receipt = await server.publish(user(id="e"))
        assert await places(server) == [*mine, (receipt.seq, "e")]


# What is compared.

BASE = 10**15
AT = "2026-01-01T12:00:00.000Z"


class Kept:
    """The log as a node has it."""

    def __init__(self, *messages: tuple[int, str], acts: Sequence[Enacted] = ()) -> None:
        self._messages = messages
        self._acts = acts

    def stored(self, upto: int, limit: int) -> list[tuple[int, str]]:
        found = sorted(self._messages, reverse=True)
        return [each for each in found if each[0] <= upto][:limit]

    def acts(self, before: int | None, limit: int) -> list[Enacted]:
        found = sorted(self._acts, reverse=True, key=lambda each: each.seq)
        return [each for each in found if before is None or each.seq < before][:limit]


def entry(number: int, format: str, body: bytes, base: int = BASE) -> Entry:
    return Entry(number, number - 1, BASE + number, f"n-{number}", base, format, body)


def messages(number: int, *ids: str) -> Entry:
    payloads = [b'{"type":"user","id":"%b","user_id":"u"}' % id.encode() for id in ids]
    return entry(number, *batch.encode(payloads))


def compared(kept: Kept, *entries: Entry, first: int = 1, rebases: Sequence[Rebase] = ()) -> int:
    """The seq at which a node and a stream differ."""
    reads: list[int] = []

    async def read(number: int) -> list[Entry]:
        reads.append(number)
        return [each for each in entries if each.number >= number][:7]

    bounds = Bounds(BASE, 1, first, entries[-1].number, rebases=tuple(rebases))

    async def main() -> int:
        return await disagreement(read, bounds, kept)

    found = asyncio.run(main())
    assert len(reads) <= 2 * agreement.COMPARED
    return found


def seq(number: int, index: int = 0) -> int:
    return batch.seq_of(BASE, number, index)


STREAM = [messages(1, "a", "b"), messages(2, "c"), messages(3, "d", "e")]


def test_the_messages_that_both_have_are_compared_by_place_and_id() -> None:
    assert compared(Kept((seq(1, 1), "b"), (seq(3, 1), "e")), *STREAM) == 0
    assert compared(Kept((seq(2), "c"), (seq(3, 1), "x")), *STREAM) == seq(3, 1)
    assert compared(Kept((seq(2), "x"), (seq(3, 1), "e")), *STREAM) == seq(2)
    assert compared(Kept((seq(2, 1), "c")), *STREAM) == seq(2, 1)
    assert compared(Kept(), *STREAM) == 0


def test_what_only_one_of_them_has_is_not_compared() -> None:
    other = (seq(1), "x")
    assert compared(Kept(other, (seq(3), "d")), *STREAM, first=2) == 0
    assert compared(Kept((seq(4), "x"), (BASE - 7, "imported")), *STREAM) == 0
    assert compared(Kept(other), *STREAM[1:]) == 0  # an operator has deleted it
    many = [(seq(3, index), "d") for index in range(1, 2)]
    assert compared(Kept(other, *many), *STREAM) == seq(1)


def test_only_the_newest_are_compared() -> None:
    stream = [messages(number, f"m{number}") for number in range(1, 100)]
    mine = [(seq(number), f"m{number}") for number in range(1, 100)]
    assert compared(Kept(*mine), *stream) == 0
    mine[80] = (seq(81), "x")
    assert compared(Kept(*mine), *stream) == 0
    mine[99 - agreement.COMPARED] = (seq(100 - agreement.COMPARED), "x")
    assert compared(Kept(*mine), *stream) == seq(100 - agreement.COMPARED)


@pytest.mark.parametrize(
    ("found", "same"),
    [
        (messages(2, "c"), True),
        (messages(2, "c")._replace(base=BASE + 1), False),
        (messages(2, "c")._replace(body=b"nonsense"), False),
        (messages(2, "c")._replace(format="newer/9"), True),
        (entry(2, batch.ACT, b'{"act":"unblock","by":"m","at":"now"}'), False),
    ],
    ids=["same", "another log", "no JSON", "a newer livelog's", "an act"],
)
def test_an_entry_that_cannot_have_been_this_one_is_another(found: Entry, same: bool) -> None:
    known = seq(2) if found.format != "newer/9" else 0
    assert compared(Kept((seq(2), "c")), found) == (0 if same else known)


def act(**more: Any) -> Act:
    return Block(by="m", at=AT, **more)


def test_acts_are_compared_by_place_kind_and_time() -> None:
    redaction = Redact(by="m", at=AT, groups=(Group("user", (seq(1),)),))
    record = entry(4, *batch.encode_control(act(user_id="u")))
    mine = [Enacted(seq(4), act(user_id="erased_1"))]
    assert compared(Kept(acts=mine), *STREAM, record) == 0
    assert compared(Kept(acts=[Enacted(seq(4), redaction)]), *STREAM, record) == seq(4)
    assert compared(Kept(acts=[Enacted(seq(2), act())]), *STREAM) == seq(2)
    renewal = batch.Renewal(seq(3), 0, True, (act(user_id="u"), act(user_id="v")))
    again = entry(5, *batch.encode_control(renewal))
    every = [Enacted(each.seq, each.act) for each in renewal.enacted(seq(5), again.time)]
    assert compared(Kept(acts=every), *STREAM, again) == 0
    assert compared(Kept(acts=[Enacted(seq(5, 7), act())]), *STREAM, again) == seq(5, 7)


def test_what_was_lost_and_restored_has_its_seq_from_no_entry() -> None:
    rebase = Rebase(3, BASE + 2**30, seq(9))
    after = batch.seq_of(rebase.base, 4)
    stream = [
        *STREAM[:2],
        entry(3, *batch.encode_control(batch.Rebased(rebase.base, rebase.until))),
    ]
    stream.append(messages(4, "new"))
    kept = Kept((seq(2), "c"), (seq(3), "lost"), (seq(4), "lost too"), (after, "new"))
    assert compared(kept, *stream, rebases=[rebase]) == 0
    assert compared(Kept((after, "old")), *stream, rebases=[rebase]) == after
