"""Counts through every door: WebSocket, HTTP, in process, the Python client, the command line."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from livelog import RefusedError, connect
from livelog.cli.width import cut, padded, width
from livelog.client.decoding import Analysis
from tests.support.command import done
from tests.support.wire import House, Json, on_uvloop, serving, user

SAID = [("12:00:10", "general"), ("12:00:50", "General"), ("12:01:00", "trade"), ("12:01:30", "")]
QUESTION: Json = {"group_by": "channel", "interval_seconds": 60, "distinct": "user_id"}
COUNTS: Json = {
    "action": "analysis",
    "total_count": 4,
    "groups": [{"value": "General", "count": 2}, {"value": "trade", "count": 1}],
    "others": 0,
    "missing": 1,
    "distinct": 2,
    "buckets": [
        {"start": "2025-12-03T12:00:00Z", "count": 2, "groups": {"General": 2}, "distinct": 2},
        {"start": "2025-12-03T12:01:00Z", "count": 2, "groups": {"trade": 1}, "distinct": 2},
    ],
}


def talk(house: House) -> None:
    for number, (time, channel) in enumerate(SAID):
        more: Json = {"metadata": {"channel": channel}} if channel else {}
        message = user("hello", user_id=f"u{number % 2}", timestamp=f"2025-12-03T{time}Z", **more)
        house.append(message)


def target(question: Json) -> str:
    return f"/api/analytics?{urlencode(question)}"


@on_uvloop
async def test_every_door_counts_the_same() -> None:
    async with serving() as house:
        talk(house)
        client, http = await house.client(), await house.http()
        answer = await client.ask("analyze", request_id="r1", **QUESTION)
        assert answer == {**COUNTS, "request_id": "r1"}
        asked = await http.ask("GET", target(QUESTION))
        assert (asked.status, asked.json) == (200, COUNTS)
        here = await house.server.analyze(**QUESTION)
        assert (here.total, here.missing, here.distinct, here.incomplete) == (4, 1, 2, False)
        assert [(one.value, one.count) for one in here.groups] == [("General", 2), ("trade", 1)]
        assert [one.groups for one in here.buckets] == [{"General": 2}, {"trade": 1}]
        async with connect(house.server.url) as log:
            assert await log.analyze(**QUESTION) == here
            assert await log.analyze() == Analysis(4)
            with pytest.raises(RefusedError, match="did you mean channel"):
                await log.analyze(group_by="chanel")


@on_uvloop
async def test_filters_hold_for_counts_and_the_expression_comes_back() -> None:
    async with serving() as house:
        talk(house)
        client, http = await house.client(), await house.http()
        where = "channel:general,trade"
        filters = {"where": where, "date_from": "2025-12-03T12:00:30Z"}
        expected = {
            "action": "analysis",
            "total_count": 2,
            "groups": [{"value": "General", "count": 1}],
            "others": 1,
            "missing": 0,
            "where": where,
        }
        answer = await client.ask("analyze", group_by="channel", limit=1, filters=filters)
        ast = answer.pop("where_ast")
        assert answer == expected
        asked = await http.ask("GET", target({"group_by": "channel", "limit": 1, **filters}))
        assert asked.json == {**answer, "where_ast": ast}
        again = await client.ask("analyze", filters={"where": ast})
        assert (again["total_count"], again["where"]) == (3, where)


@on_uvloop
async def test_a_value_may_be_the_name_of_anything() -> None:
    async with serving() as house:
        values = ["__proto__", "constructor", "a=b", "", 'a"\n', "x" * 300]
        for value in values:
            house.append(user("hello", metadata={"tag": value, "channel": value}))
        client = await house.client()
        for field in ("metadata.tag", "channel"):
            answer = await client.ask("analyze", group_by=field, interval_seconds=3_155_760_000)
            found = {one["value"]: one["count"] for one in answer["groups"]}
            assert found == dict.fromkeys(values, 1)
            assert [bucket["groups"] for bucket in answer["buckets"]] == [found]


WRONG = [
    ({"group_by": "nothing"}, "group_by"),
    ({"group_by": "metadata"}, "group_by"),
    ({"group_by": "content"}, "group_by"),
    ({"group_by": "__proto__"}, "group_by"),
    ({"group_by": ""}, "group_by"),
    ({"group_by": "x" * 300}, "group_by"),
    ({"distinct": "metadata."}, "distinct"),
    ({"distinct": "id"}, "distinct"),
    ({"limit": 0}, "limit"),
    ({"limit": 1001}, "limit"),
    ({"interval_seconds": 0}, "interval_seconds"),
    ({"interval_seconds": 1 << 40}, "interval_seconds"),
    ({"interval_seconds": 1.5}, "interval_seconds"),
    ({"interval_seconds": 100_000, "timezone": "Europe/Berlin"}, "interval_seconds"),
    ({"timezone": "Nowhere/Town"}, "timezone"),
    ({"timezone": "../../etc/passwd"}, "timezone"),
    ({"timezone": "x" * 65}, "timezone"),
    ({"group": "type"}, "group"),
]


@pytest.mark.parametrize(("question", "field"), WRONG, ids=str)
@on_uvloop
async def test_a_wrong_question_is_refused_by_field(question: Json, field: str) -> None:
    async with serving() as house:
        client, http = await house.client(), await house.http()
        refused = await client.ask("analyze", **question)
        assert (refused["error_code"], refused["details"]["field"]) == (1002, field)
        assert refused["details"]["issue"]
        answer = await http.ask("GET", target(question))
        assert (answer.status, answer.json["details"]["field"]) == (400, field)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
@pytest.mark.parametrize("zone", [{}, {"timezone": "America/New_York"}, {"timezone": "Asia/Tokyo"}])
@on_uvloop
async def test_a_message_at_the_end_of_time_is_counted(moment: str, zone: Json) -> None:
    async with serving() as house:
        talk(house)
        house.append(user("hello", timestamp=moment))
        client = await house.client()
        for interval in (1, 60, 3600, 86_400, 86_400 * 365):
            answer = await client.ask("analyze", interval_seconds=interval, **zone)
            assert sum(bucket["count"] for bucket in answer["buckets"]) == 5
            assert len(answer["buckets"]) >= 2
        await client.ask("ping")


@on_uvloop
async def test_it_takes_a_command_of_the_limits() -> None:
    async with serving(command_limit=2, message_limit=100) as house:
        client = await house.client()
        for _ in range(2):
            while (await client.ask("analyze"))["action"] == "rate_limit":
                pass
        refused = await client.ask("analyze")
        while refused["action"] == "rate_limit":
            refused = await client.event()
        assert refused["error_code"] == 4003


@on_uvloop
async def test_as_a_user_the_program_counts_no_direct_message_of_others() -> None:
    async with serving() as house:
        dm = {"type": "dm", "from_user_id": "u1", "from_username": "Ann", "to_user_id": "u2"}
        house.append({**dm, "content": "hello"})
        server = house.server
        assert (await server.analyze(group_by="user_id")).total == 1
        assert (await server.analyze(group_by="user_id", as_user="u2")).total == 1
        assert await server.analyze(group_by="user_id", as_user="u3") == Analysis(0)


@on_uvloop
async def test_stats_prints_a_table_or_json() -> None:
    async with serving() as house:
        talk(house)
        url = ["--url", house.server.url]
        code, out, err = await done("stats", *url)
        assert (code, err) == (0, "livelog: 4 messages match\n")
        assert out.split()[:2] == ["user", "4"]
        asked = ["--by", "channel", "--interval", "1m", "--distinct", "user_id"]
        code, out, err = await done("stats", *url, *asked, "--timezone", "Asia/Tokyo")
        assert (code, err) == (0, "livelog: 4 messages match, with 2 different values of user_id\n")
        lines = [line.split() for line in out.splitlines()]
        values = [["General", "2"], ["trade", "1"], ["(none)", "1"]]
        assert [line[:2] for line in lines[:3]] == values
        assert lines[4][:3] == ["2025-12-03", "21:00:00+09:00", "2"]
        assert lines[4][-4:] == ["2", "different,", "General", "2"]
        where = ["--where", "channel:trade", "--type", "user"]
        code, out, err = await done("stats", *url, *asked, *where, "--json")
        assert (code, err) == (0, "")
        printed = json.loads(out)
        assert printed["groups"] == [{"value": "trade", "count": 1}]
        assert printed["total_count"] == 1
        assert "total" not in printed
        code, out, err = await done("stats", *url, "--by", "chanel")
        assert (code, out) == (1, "")
        assert "did you mean channel?" in err
        code, out, err = await done("stats", *url, "--interval", "1x")
        assert (code, out, err.count("\n")) == (2, "", 1)


@on_uvloop
async def test_stats_aligns_values_of_any_width() -> None:
    names = ["general", "世界チャンネル", "한국어", "🐉 raid", "cafe\u0301", "界" * 30]
    async with serving() as house:
        for name in names:
            house.append(user("hello", metadata={"channel": name}))
        code, out, _ = await done("stats", "--url", house.server.url, "--by", "channel")
    assert code == 0
    values = [line[: line.index("  ")] for line in out.splitlines()]
    assert f"{'界' * 19}…" in values
    before = [line[: line.index("1")] for line in out.splitlines()]
    assert {width(one) for one in before} == {39 + 2}


def test_the_width_of_text_is_that_on_a_terminal() -> None:
    assert [width(text) for text in ("", "abc", "世界", "é", "e\u0301", "🐉", "ﾊ", "ﾊﾞ")] == [
        0, 3, 4, 1, 1, 2, 1, 2,
    ]  # fmt: skip
    assert padded("世", 4) == "世  "
    assert padded("abcde", 4) == "abcde"
    assert [cut("世界abc", columns) for columns in (7, 6, 5, 4, 3, 2)] == [
        "世界abc", "世界a…", "世界…", "世…", "世…", "…",
    ]  # fmt: skip
