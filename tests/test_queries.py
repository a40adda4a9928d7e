"""History and search through both doors: a command and a URL get the same page."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.wire import Client, House, Http, Json, frame, on_uvloop, serving

CHANNELS = ("general", "trade")


def filled(house: House, count: int) -> list[int]:
    """`count` messages, alternating between two channels; their seqs, newest first."""
    seqs = []
    for number in range(count):
        metadata = {"channel": CHANNELS[number % 2]}
        seqs += house.publish(f"dragon {number}", metadata=metadata)
    return seqs[::-1]


async def both(client: Client, http: Http, action: str, **fields: Any) -> Json:
    """Return the page that both doors give."""
    reply = await client.ask(action, **fields)
    filters = fields.pop("filters", {})
    path = {"get_history": "/api/history", "search": "/api/search"}[action]
    answer = await http.ask("GET", f"{path}?{urlencode(fields | filters, doseq=True)}")
    assert answer.status == (400 if reply["action"] == "error" else 200)
    assert answer.json["action"] == reply["action"]
    if reply["action"] != "error":
        assert answer.json == reply
    return reply


def seqs_of(page: Json) -> list[int]:
    messages = page["messages"] if "messages" in page else page["results"]
    return [message["seq"] for message in messages]


@on_uvloop
async def test_pages_lie_at_an_offset_or_beside_a_message() -> None:
    async with serving(limits=False) as house:
        client, http = await house.client(), await house.http()
        seqs = filled(house, 40)
        filters = {"channel": "general"}
        general = seqs[1::2]
        for where, expected, offset in [
            ({}, general[:6], 0),
            ({"offset": 17}, general[17:], 17),
            ({"offset": 20}, [], 20),
            ({"before": seqs[10]}, general[5:11], 5),
            ({"before": general[3]}, general[4:10], 4),
            ({"after": general[10]}, general[4:10], 4),
            ({"after": general[2]}, general[:2], 0),
            ({"around": general[10]}, general[7:13], 7),
            ({"around": general[1]}, general[:6], 0),
            ({"around": general[19]}, general[16:], 16),
        ]:
            page = await both(client, http, "get_history", limit=6, filters=filters, **where)
            assert seqs_of(page) == expected, where
            assert (page["total_count"], page["limit"], page["offset"]) == (20, 6, offset)


@on_uvloop
async def test_a_search_is_paged_and_filtered_the_same_way() -> None:
    async with serving(limits=False) as house:
        client, http = await house.client(), await house.http()
        seqs = filled(house, 20)
        filters = {"type": ["user", "raid"], "channel": "trade"}
        page = await both(client, http, "search", query="drag 1", limit=3, filters=filters)
        assert seqs_of(page) == [seqs[n] for n in (0, 2, 4)]
        assert page["count"] == 6  # 1, 11, 13 … 19


@pytest.mark.parametrize(
    ("action", "fields", "field"),
    [
        ("get_history", {"before": 5, "after": 3}, "after"),
        ("get_history", {"around": 5, "offset": 1}, "offset"),
        ("get_history", {"before": -1}, "before"),
        ("get_history", {"around": 2**53}, "around"),
        ("get_history", {"limit": 0}, "limit"),
        ("get_history", {"limit": 1001}, "limit"),
        ("get_history", {"offset": -1}, "offset"),
        ("get_history", {"filters": {"date_from": "yesterday"}}, "filters.date_from"),
        ("get_history", {"filters": {"colour": "red"}}, "filters.colour"),
        ("search", {}, "query"),
        ("search", {"query": "  "}, "query"),
        ("search", {"query": "x" * 1001}, "query"),
        ("search", {"query": " ".join(f"w{n}" for n in range(33))}, "query"),
        ("search", {"query": "a", "before": 3}, "before"),
    ],
)
@on_uvloop
async def test_an_invalid_query_is_refused_by_field(
    action: str, fields: dict[str, Any], field: str
) -> None:
    async with serving() as house:
        client, http = await house.client(), await house.http()
        reply = await both(client, http, action, **fields)
        assert reply["details"]["field"] == field
        assert reply["error_code"] == 1002


@on_uvloop
async def test_a_url_is_refused_in_the_name_of_its_parameter() -> None:
    async with serving() as house:
        http = await house.http()
        for target, field in [
            ("/api/history?date_from=yesterday", "date_from"),
            ("/api/history?colour=red", "colour"),
            ("/api/history?limit=ten", "limit"),
            ("/api/history?limit=1&limit=2", "limit"),
            ("/api/history?query=dragon", "query"),
            ("/api/history?type=elf", "type"),
            ("/api/history?user_id=", "user_id"),
            ("/api/search?query=", "query"),
            ("/api/search?query=a&around=3", "around"),
        ]:
            answer = await http.ask("GET", target)
            assert (answer.status, answer.json["details"]["field"]) == (400, field)
        assert (await http.ask("POST", "/api/history", "{}")).status == 405


WHERE = "type:user dragon -channel:trade"
TREE = {
    "and": [
        {"not": {"field": "channel", "eq": "trade"}},
        {"word": "dragon"},
        {"field": "type", "eq": "user"},
    ]
}


@on_uvloop
async def test_an_expression_selects_through_both_doors() -> None:
    async with serving(limits=False) as house:
        client, http = await house.client(), await house.http()
        seqs = filled(house, 20)
        asked: list[tuple[str, Json]] = [
            ("get_history", {"filters": {"where": WHERE}}),
            ("search", {"filters": {"where": WHERE}}),
            ("search", {"filters": {"where": "-channel:trade type:user"}, "query": "dragon"}),
            ("search", {"filters": {"where": "-channel:trade", "type": "user"}, "query": "drag"}),
        ]
        for action, fields in asked:
            page = await both(client, http, action, limit=5, **fields)
            assert seqs_of(page) == seqs[1:10:2]
            assert page.get("count", page.get("total_count")) == 10
        in_json = await client.ask("search", filters={"where": TREE}, limit=5)
        assert seqs_of(in_json) == seqs[1:10:2]
        assert "query" not in in_json


@on_uvloop
async def test_the_expression_in_force_is_told_in_both_forms() -> None:
    async with serving(limits=False) as house:
        client, http = await house.client(), await house.http()
        for where in (WHERE, "dragon AND (-channel:trade type:user) dragon"):
            for action in ("get_history", "search"):
                page = await both(client, http, action, filters={"where": where})
                assert page["where"] == "-channel:trade dragon type:user"
                assert page["where_ast"] == TREE
        reply = await client.ask(
            "subscribe", message_types=["user", "raid"], filters={"where": WHERE}
        )
        canonical = {"where": "-channel:trade dragon type:user"}
        assert reply["filters"] == {"user": canonical, "raid": canonical}
        assert reply["where_ast"] == {"user": TREE, "raid": TREE}
        reply = await client.ask("subscribe", message_types=["raid"])
        assert reply["where_ast"] == {"user": TREE}
        page = await both(client, http, "get_history", filters={"type": "raid"})
        assert not {"where", "where_ast"} & page.keys()


@on_uvloop
async def test_an_invalid_expression_is_refused_with_its_place() -> None:
    async with serving(limits=False) as house:
        client, http = await house.client(), await house.http()
        asked: list[tuple[str, Json]] = [
            ("get_history", {}),
            ("search", {}),
            ("subscribe", {"message_types": ["user"]}),
        ]
        for action, fields in asked:
            reply = await client.ask(action, filters={"where": "dragon chanel:x"}, **fields)
            assert (reply["error_code"], reply["details"]["field"]) == (1002, "filters.where")
            assert reply["details"]["column"] == 8
            assert "did you mean 'channel'" in reply["details"]["issue"]
            reply = await client.ask(action, filters={"where": {"and": [{"no": 1}]}}, **fields)
            assert reply["details"]["path"] == "and[0]"
            for wrong in (5, True, None):
                reply = await client.ask(action, filters={"where": wrong}, **fields)
                assert (reply["error_code"], reply["details"]["field"]) == (1002, "filters.where")
        answer = await http.ask("GET", "/api/search?where=a+OR")
        assert (answer.status, answer.json["details"]["field"]) == (400, "where")
        assert answer.json["details"]["column"] == 3


@pytest.mark.parametrize(
    "where",
    [
        '{"not":' * 900 + '{"word":"a"}' + "}" * 900,
        '{"not":' * 8000 + '{"word":"a"}' + "}" * 8000,
        '{"and":[' * 7000 + "]}" * 7000,
        '{"or":[' + ",".join(['{"word":"a"}'] * 4000) + "]}",
        '"' + "NOT " * 10_000 + 'a"',
        '"' + "(" * 60_000 + '"',
        '"' + "a OR " * 12_000 + 'a"',
        '"metadata.level:>1e999"',
        '"metadata.level:60..40"',
    ],
    ids=lambda where: f"{where[:20]} {len(where)}",
)
@on_uvloop
async def test_no_expression_is_more_than_a_refusal(where: str) -> None:
    async with serving(limits=False, max_frame_bytes=1 << 20) as house:
        client = await house.client()
        head = '{"action":"get_history","request_id":5,"filters":{"where":'
        await client.send(frame(head + where + "}}"))
        reply = await client.event()
        assert (reply["error_code"], reply["request_id"]) == (1002, 5)


@on_uvloop
async def test_now_is_when_an_expression_arrives() -> None:
    async with serving(limits=False) as house:
        client, http = await house.client(), await house.http()
        [old] = house.publish("old", timestamp="2020-01-01T00:00:00Z")
        [new] = house.publish("new")
        for where, found in (("timestamp:>-1h", [new]), ("timestamp:<-1h", [old])):
            assert seqs_of(await client.ask("get_history", filters={"where": where})) == found
            answer = await http.ask("GET", f"/api/history?{urlencode({'where': where})}")
            assert seqs_of(answer.json) == found
            await client.ask("subscribe", message_types=["user"], filters={"where": where}, since=0)
            assert (await client.event())["seq"] == found[0]
