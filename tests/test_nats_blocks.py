"""Blocks where two servers share a log on a real broker, and each has a store of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.brokers import fresh_url
from tests.support.identity import token
from tests.support.moderating import AUTH, entered, give
from tests.support.wire import House, on_uvloop, serving, until
from tests.test_nats_cases import ALONE, on


def authenticated(url: str, store: Path, name: str, *faults: str) -> Any:
    """A server with users."""
    return serving(**AUTH, engine=on(url), store=str(store), node_name=name, faults=faults)


async def is_refused(house: House, who: str) -> bool:
    """Try to authenticate."""
    client = await house.client()
    answer = await client.ask("authenticate", token=token(who))
    client.close()
    return answer.get("error_code") == 1008


@on_uvloop
async def test_a_block_holds_on_another_server_and_after_a_restart_of_both(tmp_path: Path) -> None:
    url = fresh_url()
    files = tmp_path / "one.db", tmp_path / "two.db"
    async with (
        authenticated(url, files[0], "one", ALONE) as one,
        authenticated(url, files[1], "two") as two,
    ):
        there = await entered(two, "ann")
        await until(lambda: len(one.context.ingest.nodes or ()) == 2, "both are heard")
        answer = await give(one, "http", "block", user_id="ann", reason="spam")
        assert answer["result"]["survives_restart"] is True
        assert (await there.reply("disconnected"))["reconnect"] is False
        assert [await is_refused(house, "ann") for house in (one, two)] == [True, True]
        assert not await is_refused(two, "bob")
    async with (
        authenticated(url, files[0], "one") as one,
        authenticated(url, files[1], "two") as two,
    ):
        assert [await is_refused(house, "ann") for house in (one, two)] == [True, True]
        answer = await give(two, "http", "unblock", user_id="ann")
        assert answer["status"] == 200
        await until(lambda: not len(one.context.limiter.blocked), "it is ended there, too")
        assert [await is_refused(house, "ann") for house in (one, two)] == [False, False]
    async with authenticated(url, files[0], "one") as one:
        assert not await is_refused(one, "ann")
