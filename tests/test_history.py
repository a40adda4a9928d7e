"""The commands `get_history` and `search`."""

from __future__ import annotations

from tests.support.wire import (
    SAMPLES,
    on_each_loop,
    on_uvloop,
    serving,
)


@on_each_loop
async def test_history_is_answered_as_the_api_says() -> None:
    async with serving() as house:
        seqs = house.publish(*map(str, range(250)))
        client = await house.client()
        history = await client.ask("get_history", request_id="h")
        assert [m["content"] for m in history["messages"]] == [str(n) for n in range(249, 149, -1)]
        assert [m["seq"] for m in history.pop("messages")] == seqs[:149:-1]
        assert history == {
            "action": "history",
            "total_count": 250,
            "limit": 100,
            "offset": 0,
            "request_id": "h",
        }


@on_uvloop
async def test_the_pages_of_history_make_the_whole() -> None:
    async with serving(limits=False) as house:
        seqs = house.publish(*map(str, range(95)))
        client = await house.client()
        pages = [
            await client.ask("get_history", limit=10, offset=offset) for offset in range(0, 110, 10)
        ]
        assert [m["seq"] for page in pages for m in page["messages"]] == seqs[::-1]
        assert {page["total_count"] for page in pages} == {95}
        assert [page["offset"] for page in pages] == [*range(0, 110, 10)]
        far = await client.ask("get_history", limit=1000, offset=2**53 - 1)
        assert (far["messages"], far["total_count"]) == ([], 95)


@on_uvloop
async def test_history_can_be_asked_for_one_type_or_several() -> None:
    async with serving() as house:
        for sample in SAMPLES:
            house.append(sample)
        client = await house.client()
        one = await client.ask("get_history", filters={"type": "raid"})
        assert [m["type"] for m in one["messages"]] == ["raid"]
        two = await client.ask("get_history", filters={"type": ["user", "guild"]})
        assert [m["type"] for m in two["messages"]] == ["guild", "user"]


@on_each_loop
async def test_search_is_answered_as_the_api_says() -> None:
    async with serving() as house:
        receipts = [house.append(sample) for sample in SAMPLES]
        client = await house.client()
        assert await client.ask("search", query="dragon LAIR", request_id=3, limit=5) == {
            "action": "search_results",
            "query": "dragon LAIR",
            "results": [{**SAMPLES[3], "seq": receipts[3].seq}],
            "count": 1,
            "limit": 5,
            "offset": 0,
            "request_id": 3,
        }


@on_uvloop
async def test_search_counts_all_and_gives_pages() -> None:
    async with serving(limits=False) as house:
        house.publish(*[f"dragon {n}" if n % 3 else "cat" for n in range(60)])
        client = await house.client()
        pages = [
            await client.ask("search", query="dragon", limit=15, offset=n) for n in (0, 15, 30)
        ]
        assert {page["count"] for page in pages} == {40}
        found = [m["content"] for page in pages for m in page["results"]]
        assert found == [f"dragon {n}" for n in range(59, 0, -1) if n % 3]
