"""Commands to one server: the level of its log, its drain, and its reload."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from livelog.auth import keyfile
from livelog.engine.base import ActDone
from livelog.engine.local import LocalEngine
from livelog.errors import SERVER_ERROR, RefusedError
from livelog.wire.acts import Act
from tests.support.identity import SECRET, api_key
from tests.support.moderating import AUTH, at_each_outer_door, entered, give
from tests.support.wire import on_uvloop, serving, until, upgrade


@pytest.fixture
def kept_level() -> Iterator[None]:
    """The level of livelog's log is that of before."""
    log = logging.getLogger("livelog")
    before = log.level
    yield
    log.setLevel(before)


@at_each_outer_door
@on_uvloop
async def test_the_log_level_is_set_and_that_is_noted(door: str, kept_level: None) -> None:
    async with serving(**AUTH) as house:
        answer = await give(house, door, "log-level", "admin", level="error", reason="too noisy")
        assert answer["result"] == {"level": "error", "audited": True}
        assert logging.getLogger("livelog.net").getEffectiveLevel() == logging.ERROR
        [act] = (await give(house, "http", "audit"))["result"]["acts"]
        assert (act["act"], act["command"], act["detail"]) == ("operate", "log-level", "error")
        assert (act["node"], act["reason"]) == (house.context.node(), "too noisy")


@at_each_outer_door
@on_uvloop
async def test_a_server_is_drained_and_takes_clients_again(door: str) -> None:
    async with serving(**AUTH) as house:
        client = await entered(house, "ann")
        answer = await give(house, door, "drain", "admin", reason="new kernel")
        assert answer["result"]["draining"] is True
        event = await client.reply("disconnected")
        assert event["reason"] == "normal_closure"
        assert await client.close_code() == 1001
        http = await house.http()
        assert (await http.ask("GET", "/readyz")).status == 503
        wire = await house.http()
        await wire.send(upgrade())
        assert (await wire.answer()).status == 503
        undone = await house.server.admin("drain", undo=True)
        assert undone.result["draining"] is False
        await until(lambda: not house.inside.websockets, "all are gone")
        assert (await (await house.http()).ask("GET", "/readyz")).status == 200
        assert await (await entered(house, "ann")).everything() == []


@on_uvloop
async def test_a_drain_that_is_undone_leaves_the_rest_of_the_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("livelog.net.drain._PER_CLIENT", 5.0)
    async with serving(**AUTH, drain_seconds=60) as house:
        clients = [await entered(house, f"u{number}") for number in range(3)]
        await house.server.admin("drain")
        await house.server.admin("drain")  # again has no effect
        await house.server.admin("drain", undo=True)
        for client in clients:
            assert await client.everything() == []


@at_each_outer_door
@on_uvloop
async def test_a_reload_reads_the_keys_again_and_reports_it(door: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    api_key(keys, "bot")
    said = "reloaded the API keys"
    async with serving(jwt_secret=SECRET, api_keys=str(keys), faults=[said]) as house:
        with keyfile.changing(str(keys)) as held:
            held.clear()
        answer = await give(house, door, "reload", "admin")
        assert answer["result"].keys() >= {"changed", "restart", "failed", "audited"}
        assert "api_keys" in answer["result"]["changed"]


@on_uvloop
async def test_another_server_or_an_unknown_one_is_not_commanded_from_here() -> None:
    async with serving(**AUTH, node_name="one") as house:
        answer = await give(house, "http", "drain", "admin", node="two")
        assert answer["status"] == 404
        assert answer["details"]["issue"] == "there is no server 'two'; there is one"
        answer = await give(house, "http", "drain", "admin", node="one", undo=True)
        assert answer["status"] == 200


class Full(LocalEngine):
    """An engine that takes no acts, as when the disk is full."""

    def act(self, act: Act, done: ActDone) -> None:
        """Refuse it."""
        done(RefusedError(SERVER_ERROR, "", "the disk is full", retry_after=1))


@on_uvloop
async def test_a_server_that_cannot_note_acts_is_operated_all_the_same(kept_level: None) -> None:
    said = "log-level by ops is not in the audit log: the disk is full"
    async with serving(**AUTH, engine=Full, faults=[said]) as house:
        answer = await give(house, "http", "log-level", "admin", who="ops", level="warning")
        assert answer["result"] == {"level": "warning", "audited": False}
        assert logging.getLogger("livelog").level == logging.WARNING


@on_uvloop
async def test_an_announcement_that_cannot_be_noted_has_gone_out_and_the_reply_says_so() -> None:
    said = "announce by ops is not in the audit log: the disk is full"
    async with serving(**AUTH, engine=Full, faults=[said]) as house:
        client = await entered(house, "ann")
        await client.ask("subscribe", message_types=["system"])
        answer = await give(house, "http", "announce", who="ops", text="restart at 3")
        message = await client.event()
        assert message["data"] == {"message": "restart at 3"}
        assert answer["result"] == {
            "id": message["id"], "seq": message["seq"], "audited": False,
        }  # fmt: skip


@on_uvloop
async def test_a_block_that_cannot_be_noted_is_refused_and_not_set() -> None:
    async with serving(**AUTH, engine=Full) as house:
        client = await entered(house, "ann")
        for command in ("block", "disconnect"):
            answer = await give(house, "http", command, user_id="ann")
            assert answer["status"] == 503
            assert answer["details"]["issue"] == "the disk is full"
        assert not len(house.context.limiter.blocked)
        assert await client.everything() == []
