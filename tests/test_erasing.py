"""The command `erase`: what it finds, what it refuses, and what is noted of it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from livelog import SystemMessage
from livelog.net.admin import erasing
from livelog.wire import acts
from livelog.wire.acts import Block, Disconnect
from tests.support.identity import token
from tests.support.moderating import AUTH, at_each_door, entered, give
from tests.support.wire import House, Json, on_uvloop, serving, user

DM = {
    "type": "dm",
    "id": "d1",
    "from_user_id": "eve",
    "from_username": "Eve",
    "to_user_id": "bob",
    "content": "hi Bob",
}


async def filled(house: House) -> list[int]:
    eve = {"user_id": "eve", "username": "Eve"}
    messages = [user("hello", id="m0", **eve), user("Eve is gone", id="m1"), DM]
    return [one.seq for one in await asyncio.gather(*map(house.server.publish, messages))]


async def told(house: House, door: str = "program", **fields: Any) -> Json:
    """The result of the command."""
    answer = await give(house, door, "erase", "admin", **{"user_id": "eve", **fields})
    assert answer["action"] == "admin_result", answer
    result: Json = answer["result"]
    return result


async def refused(house: House, **fields: Any) -> Json:
    answer = await give(house, "http", "erase", "admin", **fields)
    assert answer["action"] == "error", answer
    return answer


async def named(house: House, user: str) -> int:
    return (await house.server.history(filters={"user_id": user})).total


@at_each_door
@on_uvloop
async def test_a_user_is_counted_first_and_then_erased_everywhere(door: str) -> None:
    async with serving(**AUTH) as house:
        seqs = await filled(house)
        dry = await told(house, door, dry_run=True)
        assert dry == {"count": 2, "upto_seq": seqs[2]}
        assert await named(house, "eve") == 2
        done = await told(house, door, **dry, reason="asked for it")
        assert re.fullmatch(r"erased_[a-z2-7]{8}", done["pseudonym"])
        assert done == {"erased": 2, "pseudonym": done["pseudonym"], "seq": done["seq"]}
        assert (await named(house, "eve"), await named(house, done["pseudonym"])) == (0, 2)
        # What others wrote stays, and what they were written.
        assert [one.id for one in (await house.server.search("eve")).messages] == ["m1"]
        page = await house.server.history(filters={"type": "dm"}, as_user="bob")
        assert [getattr(one, "content", None) for one in page.messages] == ["hi Bob"]
        [act] = (await house.server.admin("audit")).result["acts"]
        assert act == {
            "seq": done["seq"],
            "act": "erase",
            "by": "program" if door == "program" else "mod",
            "at": act["at"],
            "reason": "asked for it",
            "pseudonym": done["pseudonym"],
            "messages": 2,
            "scrubbed": True,
        }
        assert "eve" not in json.dumps(act)


@on_uvloop
async def test_what_came_after_the_dry_run_is_left_if_it_is_named_and_else_erased() -> None:
    async with serving(**AUTH) as house:
        await filled(house)
        dry = await told(house, dry_run=True)
        await house.server.publish(user("late", id="late", user_id="eve"))
        assert (await told(house, **dry))["erased"] == 2
        assert await named(house, "eve") == 1
        assert (await told(house))["erased"] == 1
        assert await named(house, "eve") == 0


@on_uvloop
async def test_what_comes_before_the_act_has_its_place_is_erased_too() -> None:
    async with serving(**AUTH) as house:
        await filled(house)
        engine = house.inside.engine
        act = engine.act

        def late(one: Any, done: Any) -> None:
            """Another server, or the loop, was quicker."""
            engine.act = act
            house.server.publish_nowait(user("late", id="late", user_id="eve"))
            act(Disconnect(by="other", at="2026-01-01T12:00:00Z", user_id="eve"), lambda seq: None)
            act(one, done)

        engine.act = late
        done = await told(house)
        assert done["erased"] == 3
        assert (await named(house, "eve"), await named(house, done["pseudonym"])) == (0, 3)
        assert "eve" not in json.dumps((await house.server.admin("audit")).result)


@pytest.mark.parametrize("upto", [True, False])
@on_uvloop
async def test_a_block_that_comes_meanwhile_holds(upto: bool, tmp_path: Path) -> None:
    async with serving(**AUTH, store=str(tmp_path / "live.db")) as house:
        await filled(house)
        fields = await told(house, dry_run=True) if upto else {}
        engine = house.inside.engine
        act = engine.act

        def late(one: Any, done: Any) -> None:
            engine.act = act
            act(Block(by="other", at="2026-01-01T12:00:00Z", user_id="eve"), lambda seq: None)
            act(one, done)

        engine.act = late
        assert (await told(house, **fields))["erased"] == 2
    async with serving(**AUTH, store=str(tmp_path / "live.db")) as house:
        [row] = (await house.server.admin("blocks")).result["blocks"]
        assert row["user_id"] == "eve"


@pytest.mark.parametrize(
    ("fields", "code", "status", "field", "issue"),
    [
        ({}, 1002, 400, "user_id", ""),
        ({"user_id": ""}, 1002, 400, "user_id", ""),
        ({"user_id": 5}, 1002, 400, "user_id", ""),
        ({"user_id": "x" * 257}, 1002, 400, "user_id", ""),
        ({"user_id": "nobody"}, 1002, 404, "user_id", "there is no message and no act that"),
        ({"user_id": "Eve"}, 1002, 404, "user_id", "there is no message and no act that"),
        ({"user_id": "erased_abcdefgh"}, 1002, 400, "user_id", "is the pseudonym of an erased"),
        ({"user_id": "mod"}, 1008, 403, "user_id", "is yourself"),
        ({"user_id": "eve", "count": 3}, 1002, 400, "count", "is not the number of messages"),
        ({"user_id": "eve", "count": -1}, 1002, 400, "count", ""),
        ({"user_id": "eve", "upto_seq": "now"}, 1002, 400, "upto_seq", ""),
        ({"user_id": "eve", "upto_seq": 1}, 1002, 404, "user_id", "there is no message"),
        ({"user_id": "eve", "reason": "eve has asked"}, 1002, 400, "reason", "must not name"),
        ({"user_id": "eve", "username": "Eve"}, 1002, 400, "username", ""),
    ],
)
@on_uvloop
async def test_a_wrong_command_is_refused_and_changes_nothing(
    fields: Json, code: int, status: int, field: str, issue: str
) -> None:
    async with serving(**AUTH) as house:
        await filled(house)
        answer = await refused(house, **fields)
        assert (answer["error_code"], answer["status"]) == (code, status), answer
        assert answer["details"]["field"] == field, answer
        assert issue in answer["details"]["issue"]
        assert "nobody" not in answer["details"]["issue"]
        assert await named(house, "eve") == 2
        assert house.context.log.acts() == []


@on_uvloop
async def test_a_block_that_is_set_meanwhile_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    enact = erasing._enact
    async with serving(**AUTH) as house:
        await filled(house)

        async def late(*given: Any) -> int:
            if not len(house.context.limiter.blocked):
                await house.server.admin("block", user_id="eve")
            return await enact(*given)

        monkeypatch.setattr(erasing, "_enact", late)
        assert (await told(house))["erased"] == 2
        rows = (await house.server.admin("blocks")).result["blocks"]
        assert [row["user_id"] for row in rows] == ["eve"]
        await house.server.admin("unblock", user_id="eve")
        monkeypatch.setattr(erasing, "_enact", enact)
        assert (await told(house))["erased"] == 0  # the two acts
        assert (await house.server.admin("blocks")).result["blocks"] == []


@on_uvloop
async def test_a_block_names_the_moderator_who_is_erased_no_more() -> None:
    async with serving(**AUTH) as house:
        for number in range(3):
            await give(
                house, "http", "block", who="mod" if number == 1 else "eve", user_id=f"u{number}"
            )
        done = await told(house)
        rows = (await house.server.admin("blocks")).result["blocks"]
        assert [(row["user_id"], row["by"]) for row in rows] == [
            ("u0", done["pseudonym"]),
            ("u1", "mod"),
            ("u2", done["pseudonym"]),
        ]
        house.context.limiter.blocked._check()
        await house.server.admin("unblock", user_id="u1")
        rows = (await house.server.admin("blocks")).result["blocks"]
        assert [row["user_id"] for row in rows] == ["u0", "u2"]


@on_uvloop
async def test_a_user_who_is_blocked_is_unblocked_first() -> None:
    async with serving(**AUTH) as house:
        await filled(house)
        await house.server.admin("block", user_id="eve")
        answer = await refused(house, user_id="eve")
        assert answer["error_code"] == 1008
        assert "unblock them first" in answer["details"]["issue"]
        await house.server.admin("unblock", user_id="eve")
        assert (await told(house))["erased"] == 2
        acts = (await house.server.admin("audit")).result["acts"]
        assert "eve" not in json.dumps(acts)


@on_uvloop
async def test_only_operators_erase() -> None:
    async with serving(**AUTH) as house:
        await filled(house)
        for scope in ("read publish", "moderate", "moderate read publish:any"):
            answer = await give(house, "http", "erase", scope, user_id="eve")
            assert (answer["error_code"], answer["details"]["scope"]) == (1008, "admin")
        assert await named(house, "eve") == 2


@on_uvloop
async def test_nobody_becomes_an_erased_user() -> None:
    async with serving(**AUTH) as house:
        await filled(house)
        done = await told(house)
        client = await house.client()
        answer = await client.ask("authenticate", token=token(done["pseudonym"], "read"))
        assert answer["error_code"] == 4001
        assert "kept for an erased user" in answer["details"]["issue"]
        # The user comes back, and sees nothing of what was.
        again = await entered(house, "eve", "read publish")
        assert (await again.ask("get_history", filters={"type": "dm"}))["total_count"] == 0
        bob = await entered(house, "bob", "read")
        page = await bob.ask("get_history", filters={"type": "dm"})
        assert [one["from_user_id"] for one in page["messages"]] == [done["pseudonym"]]


@on_uvloop
async def test_a_user_whom_one_message_names_very_often_is_erased_by_acts_that_every_log_takes(
    tmp_path: Path,
) -> None:
    """Its places alone would make an act that a broker refuses."""
    participants = ["eve"] * 19_000
    raid = {"type": "system", "event": "raid_started", "data": {"participants": participants}}
    async with serving(**AUTH, max_frame_bytes=2**20, store=str(tmp_path / "live.db")) as house:
        await house.server.publish(raid)
        done = await told(house)
        assert done["erased"] == 1
        assert await named(house, "eve") == 0
        found = house.context.log.acts()
        assert len(found) > 1
        assert all(len(acts.encode(one.act)) <= acts.MAX_BYTES for one in found)
        [message] = (await house.server.history()).messages
        assert isinstance(message, SystemMessage)
        assert set(message.data["participants"]) == {done["pseudonym"]}
