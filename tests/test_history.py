"""The commands `get_history` and `search`."""

from __future__ import annotations

from urllib.parse import quote

from tests.support.wire import (
    SAMPLES,
    on_each_loop,
    on_uvloop,
    serving,
    user,
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


@on_uvloop
async def test_text_of_any_script_is_searched_by_its_words() -> None:
    texts = ["नदी हमारा देश", "مُحَمَّد", "İSTANBUL", "dra\u00adgon", "gg🐉", "well :) done"]
    found: dict[str, list[str]] = {
        "हिन्दी": [],
        "محمد": [texts[1]],
        "istanbul": [texts[2]],
        "dragon": [texts[3]],
        "🐉": [texts[4]],
        ":)": [texts[5]],
        '"well done"': [texts[5]],
    }
    async with serving(limits=False) as house:
        house.publish(*texts)
        client, http = await house.client(), await house.http()
        for query, expected in found.items():
            answer = await client.ask("search", query=query)
            assert [message["content"] for message in answer["results"]] == expected, query
            page = (await http.ask("GET", f"/api/search?query={quote(query)}")).json
            assert (page["results"], page["count"]) == (answer["results"], answer["count"])


@on_uvloop
async def test_names_are_found_however_they_are_encoded() -> None:
    async with serving() as house:
        client, reader = await house.client(), await house.client()
        await reader.ask("subscribe", message_types=["user"], filters={"username": "José"})
        house.append(user("by name", user_id="Jose\u0301", username="Jose\u0301"))
        assert await reader.contents(1) == ["by name"]
        for filters, count in (
            ({"username": "José"}, 1),
            ({"username": "JOSÉ"}, 1),
            ({"username": "Jose"}, 0),
            ({"user_id": "Jose\u0301"}, 1),
            ({"user_id": "José"}, 0),
        ):
            answer = await client.ask("get_history", filters=filters)
            assert answer["total_count"] == count, filters


@on_uvloop
async def test_a_word_that_is_too_long_is_refused_by_field() -> None:
    async with serving() as house:
        client = await house.client()
        long = "a" * 257
        refused = await client.ask("search", query=f"x {long}")
        assert (refused["action"], refused["error_code"]) == ("error", 1002)
        assert refused["details"]["field"] == "query"
        assert "256" in refused["details"]["issue"]
        refused = await client.ask("subscribe", message_types=["user"], filters={"text": long})
        assert refused["details"]["field"] == "filters.text"
