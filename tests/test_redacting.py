"""The command `redact`: what it finds, what it refuses, and what is noted of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from livelog.errors import RefusedError
from livelog.wire.acts import MAX_BYTES
from tests.support.moderating import AUTH, at_each_door, give
from tests.support.wire import House, Json, on_uvloop, serving, user

SCOPE = "moderate read"
DM = {
    "type": "dm",
    "id": "d1",
    "from_user_id": "a",
    "from_username": "A",
    "to_user_id": "b",
    "content": "buy gold",
}


async def filled(house: House) -> list[int]:
    texts = ["buy gold", "hello", "BUY more gold", "gold rush"]
    messages = [*(user(text, id=f"m{n}") for n, text in enumerate(texts)), DM]
    return [one.seq for one in await asyncio.gather(*map(house.server.publish, messages))]


async def told(house: House, door: str = "program", **fields: Any) -> Json:
    """The result of the command."""
    answer = await give(house, door, "redact", SCOPE, **fields)
    assert answer["action"] == "admin_result", answer
    result: Json = answer["result"]
    return result


async def refused(house: House, **fields: Any) -> Json:
    answer = await give(house, "http", "redact", SCOPE, **fields)
    assert answer["action"] == "error", answer
    details: Json = answer["details"]
    return details


async def contents(house: House) -> list[str | None]:
    page = await house.server.history()
    return [getattr(one, "content", None) for one in page.messages][::-1]


@at_each_door
@on_uvloop
async def test_an_expression_is_tried_first_and_then_does_what_was_seen(door: str) -> None:
    async with serving(**AUTH) as house:
        seqs = await filled(house)
        dry = await told(house, door, where="buy gold", dry_run=True)
        everybody = door == "program"  # it may read direct messages, too
        assert dry == {"count": 2 + everybody, "upto_seq": seqs[4] if everybody else seqs[2]}
        assert None not in await contents(house)
        await house.server.publish(user("buy gold again", id="late"))
        done = await told(house, door, where="buy gold", **dry, reason="spam")
        assert done["redacted"] == dry["count"]
        dm = None if everybody else "buy gold"
        assert await contents(house) == [None, "hello", None, "gold rush", dm, "buy gold again"]
        [act, *_] = (await house.server.admin("audit")).result["acts"]
        assert (act["seq"], act["act"], act["messages"]) == (done["seq"], "redact", dry["count"])
        assert act["reason"] == "spam"
        assert "gold" not in json.dumps(act)
        assert await told(house, door, where="buy gold", dry_run=True) != dry


@on_uvloop
async def test_a_message_is_named_by_its_id_or_seq_also_a_direct_one_of_others() -> None:
    async with serving(**AUTH) as house:
        seqs = await filled(house)
        assert (await told(house, "http", id="d1"))["redacted"] == 1
        assert (await told(house, "http", seq=seqs[1], dry_run=True)) == {
            "count": 1,
            "upto_seq": seqs[1],
        }
        assert (await told(house, "http", seq=seqs[1], reason="off topic"))["redacted"] == 1
        assert await contents(house) == ["buy gold", None, "BUY more gold", "gold rush", None]
        found = await refused(house, id="d1")
        assert found["issue"] == "is that of a message that has been redacted already"


@pytest.mark.parametrize(
    ("fields", "field", "issue"),
    [
        ({}, "id", "required: one of id, seq, where"),
        ({"id": "m1", "seq": 5}, "seq", "cannot be combined with id"),
        ({"id": "nobody"}, "id", "there is no message with it"),
        ({"seq": 17}, "seq", "there is no message with it"),
        ({"seq": 0}, "seq", ""),
        ({"id": ""}, "id", ""),
        ({"where": "gold"}, "count", "required with where: make a dry run"),
        ({"where": "gold", "count": 3}, "upto_seq", "required with where: make a dry run"),
        ({"where": "gold", "count": 9, "upto_seq": 2**52}, "count", "is not the number"),
        ({"where": "chanel:x", "dry_run": True}, "where", ""),
        ({"where": "gold", "dry_run": True, "expression": 1}, "expression", ""),
    ],
)
@on_uvloop
async def test_a_wrong_command_is_refused_and_changes_nothing(
    fields: Json, field: str, issue: str
) -> None:
    async with serving(**AUTH) as house:
        await filled(house)
        details = await refused(house, **fields)
        assert details["field"] == field, details
        assert issue in details["issue"]
        assert None not in await contents(house)
        assert house.context.log.acts() == []


@on_uvloop
async def test_a_dry_run_that_finds_nothing_says_what_may_be_meant() -> None:
    async with serving(**AUTH) as house:
        await filled(house)
        dry = await told(house, where="rush or hello", dry_run=True)
        assert (dry["count"], dry["hint"]) == (
            0, "'or' is a word here; the operator is OR, in capitals",
        )  # fmt: skip
        for where in ("nothing", '"rush or" hello'):
            assert await told(house, where=where, dry_run=True) == {"count": 0, "upto_seq": 0}
        assert (await told(house, where="rush OR hello", dry_run=True))["count"] == 2


@on_uvloop
async def test_two_moderators_at_once_do_not_redact_twice() -> None:
    async with serving(**AUTH) as house:
        await filled(house)
        dry = await told(house, where="gold", dry_run=True)
        answers = await asyncio.gather(
            *(give(house, "http", "redact", SCOPE, id="m0") for _ in range(2))
        )
        assert sorted(one["action"] for one in answers)[0] == "admin_result"
        details = await refused(house, where="gold", **dry)
        assert details["field"] == "count"


@on_uvloop
async def test_only_moderators_redact() -> None:
    async with serving(**AUTH) as house:
        await filled(house)
        answer = await give(house, "http", "redact", "read publish", id="m0")
        assert answer["error_code"] == 1008
        assert None not in await contents(house)


@on_uvloop
async def test_an_act_that_some_log_would_not_take_is_refused_before_anything_is_done() -> None:
    """Ten thousand direct messages have as many pairs of readers, whom the act names."""
    async with serving(**AUTH) as house:
        for number in range(MAX_BYTES // 400):
            house.append({**DM, "id": f"d{number}", "to_user_id": f"{number}{'🐉' * 100}"})
        dry = await told(house, where="buy", dry_run=True)
        with pytest.raises(RefusedError, match=f"of {MAX_BYTES} at most; narrow it"):
            await house.server.admin("redact", where="buy", **dry)
        assert (await told(house, where="buy", dry_run=True)) == dry
        assert (await house.server.admin("audit")).result["acts"] == []


@on_uvloop
async def test_words_that_no_log_can_keep_are_refused() -> None:
    """They come from a program; without a check they ended all writing."""
    async with serving(**AUTH) as house:
        [seq] = house.publish("gold")
        half = "\ud83d"
        for command in (
            house.server.admin("redact", seq=seq, reason=half),
            house.server.admin("block", user_id=half),
            house.server.admin("block", user_id="eve", by=half),
        ):
            with pytest.raises(RefusedError, match="half a surrogate pair"):
                await command
        assert (await house.server.admin("audit")).result["acts"] == []
        await house.server.publish(user())
