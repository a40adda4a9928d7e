"""Metrics: what they count, in which form, and for whom."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from livelog.budget.durations import BOUNDS, Durations
from livelog.net.metrics import METRICS
from tests.support.identity import api_key
from tests.support.ports import free_port
from tests.support.wire import Http, on_uvloop, serving, until, upgrade, user

PAGE = Path(__file__).parent.parent / "livelog" / "net" / "README.md"
Figures = dict[tuple[str, ...], float]
"""Name, and the values of the labels in the order of their names → the figure."""


def figures_in(body: bytes) -> Figures:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in parsed(body.decode())
        for sample in family.samples
    }


async def figures(http: Http) -> Figures:
    answer = await http.ask("GET", "/metrics")
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return figures_in(answer.body)


def test_durations_are_counted_up_to_the_bounds_of_their_buckets() -> None:
    durations = Durations()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[-1], BOUNDS[-1] + 1):
        durations.add(seconds)
    assert durations.counts == [2, 1, *[0] * (len(BOUNDS) - 3), 1, 1]
    assert durations.seconds == pytest.approx(2.01 * BOUNDS[0] + 2 * BOUNDS[-1] + 1)


@on_uvloop
async def test_publications_and_deliveries_are_counted_for_each_reader() -> None:
    async with serving() as house:
        http = await house.http()
        readers = [await house.client("?message_types=user,raid") for _ in range(3)]
        for reader in readers:
            await reader.event()
        before = await figures(http)
        assert before["livelog_connections", "websocket"] == 3
        assert before["livelog_connections", "http"] == 1
        assert before["livelog_audiences",] == 1
        await readers[0].ask("publish", message=user("by websocket"))
        body = b"\n".join([b'{"type":"system","event":"raid_started"}'] * 2)
        headers = {"Content_Type": "application/x-ndjson"}
        assert (await http.ask("POST", "/api/messages", body, **headers)).status == 201
        house.publish("by the program", "and again")
        for reader in readers:
            await reader.everything()
        after = await figures(http)
        assert after["livelog_published_total", "websocket", "user"] == 1
        assert after["livelog_published_total", "http", "system"] == 2
        assert after["livelog_published_total", "program", "user"] == 2
        assert after["livelog_messages_total", "user"] == 3
        assert after["livelog_messages_total", "system"] == 2
        assert after["livelog_delivered_messages_total",] == 3 * 3
        assert after["livelog_delivered_bytes_total",] > 9 * len("by the program")
        assert after["livelog_acknowledgement_seconds_count",] >= 4
        assert after["livelog_delivery_seconds_count",] >= 1
        assert after["livelog_head_seq",] == house.context.log.head


@on_uvloop
async def test_personal_messages_and_those_of_readers_behind_are_counted_too(
    tmp_path: Path,
) -> None:
    file = tmp_path / "keys.json"
    keys = [api_key(file, owner) for owner in ("alice", "bob")]
    async with serving(api_keys=str(file)) as house:
        clients = [await house.client(f"?message_types=user,dm&api_key={key}") for key in keys]
        for client in clients:
            await client.reply("subscribed")
        house.publish("for both")
        house.append(
            {"type": "dm", "from_user_id": "alice", "to_user_id": "carol", "content": "x"}
            | {"from_username": "Alice"}
        )
        for client in clients:
            await client.everything()
        hub, catch_up = house.context.hub, house.context.catch_up
        assert hub.delivered == 3
        assert catch_up.written_bytes == 0
        late = await house.client(f"?message_types=user&since=0&api_key={keys[0]}")
        await late.reply("subscribed")
        assert (await late.event())["content"] == "for both"
        assert hub.delivered == 3
        assert catch_up.written_bytes > 0


@on_uvloop
async def test_queries_refusals_limits_and_closes_are_counted() -> None:
    async with serving(message_limit=5) as house:
        http = await house.http()
        await http.ask("GET", "/api/search?query=x")
        await http.ask("GET", "/api/history?limit=1")
        await http.ask("GET", "/api/analytics?group_by=type")
        await http.ask("GET", "/nowhere")
        client = await house.client()
        for _ in range(6):
            await client.ask("ping")
        for _ in range(6):
            await client.tell("ping")
        await client.closed()
        found = await figures(http)
        for query in ("history", "search", "analyze"):
            assert found["livelog_read_seconds_count", query] == 1
        assert found["livelog_refusals_total", "1002"] == 1
        assert found["livelog_refusals_total", "4003"] >= 1
        assert found["livelog_limits_hit_total", "connection", "messages"] >= 1
        assert found["livelog_closes_total", "4003"] == 1


@on_uvloop
async def test_the_files_of_the_store_are_measured(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    async with serving(store=str(path)) as house:
        await house.server.publish(user("on disk"))
        found = await figures(await house.http())
        assert found["livelog_store_bytes", "database"] == path.stat().st_size
        assert found["livelog_state", "writable"] == 1
        assert found["livelog_memory_bytes", "limit"] == 512 * 2**20
    async with serving() as house:
        assert not [key for key in await figures(await house.http()) if "store_bytes" in key[0]]


@on_uvloop
async def test_open_metrics_are_given_to_those_who_ask_for_them() -> None:
    async with serving() as house:
        house.publish("one")
        accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
        answer = await (await house.http()).ask("GET", "/metrics", Accept=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        read: Any = openmetrics.text_string_to_metric_families  # untyped in the package
        families = read(answer.body.decode())
        assert "livelog_messages" in {family.name for family in families}


@pytest.mark.parametrize(
    "header",
    [
        *("Forwarded", "Via", "X_Forwarded_For", "X_Forwarded_Proto", "X_Real_IP"),
        *("X_Forwarded_Host", "X_Forwarded", "X_Original_Forwarded_For", "CDN_Loop"),
        *("CF_Connecting_IP", "True_Client_IP", "X_Client_IP", "X_Cluster_Client_IP"),
        *("Fastly_Client_IP", "X_Envoy_External_Address"),
    ],
)
@on_uvloop
async def test_an_open_server_gives_them_to_nobody_beyond_this_machine(header: str) -> None:
    async with serving() as house:
        http = await house.http()
        answer = await http.ask("GET", "/metrics", **{header: "for=203.0.113.9"})
        assert (answer.status, answer.json["error_code"]) == (403, 1008)
        assert "livelog keys create" in answer.json["details"]["issue"]
        assert b"head_seq" not in answer.body
    async with serving(trusted_proxies="127.0.0.9") as house:
        http = await house.http("127.0.0.9")
        answer = await http.ask("GET", "/metrics", X_Forwarded_For="203.0.113.9")
        assert answer.status == 403


@on_uvloop
async def test_with_authentication_they_take_a_scope(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    scopes = {"metrics": 200, "admin": 200, "read publish publish:any": 403}
    keys = {
        api_key(file, f"u{n}", given): status for n, (given, status) in enumerate(scopes.items())
    }
    async with serving(api_keys=str(file)) as house:
        http = await house.http()
        for key, status in keys.items():
            answer = await http.ask("GET", "/metrics", X_API_Key=key)
            assert answer.status == status
        assert answer.json["details"]["scope"] == "metrics"
        assert (await http.ask("GET", "/metrics")).status == 401


@on_uvloop
async def test_the_scope_allows_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = api_key(file, "watcher", "metrics")
    async with serving(api_keys=str(file)) as house:
        house.publish("not for the watcher")
        http = await house.http()
        answer = await http.ask("GET", "/api/history", X_API_Key=key)
        assert answer.status == 403
        answer = await http.ask(
            "POST", "/api/messages", b'{"type":"system","event":"raid_started"}', X_API_Key=key
        )
        assert answer.status == 403


@on_uvloop
async def test_a_listener_of_their_own_gives_them_and_health_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    api_key(file)
    port = free_port()
    async with serving(
        api_keys=str(file), metrics_port=port, allowed_hosts="live.example.com"
    ) as house:
        with closing(await Http.connect(("127.0.0.1", port))) as http:
            answer = await http.ask("GET", "/metrics", Host="127.0.0.1", Via="1.1 x")
            assert ("livelog_head_seq",) in figures_in(answer.body)
            health = (await http.ask("GET", "/healthz", Host="127.0.0.1")).json
            assert health["status"] == "ok"
            assert "memory" not in health
            for target in ("/", "/api/history", "/api/messages", "/asyncapi.json"):
                assert (await http.ask("GET", target, Host="127.0.0.1")).status == 404
            assert (await http.ask("GET", "/metrics", Host="evil.example")).status == 421
        with closing(await Http.connect(("127.0.0.1", port))) as http:
            await http.send(upgrade(Host="127.0.0.1"))
            assert (await http.answer()).status == 404
        await until(lambda: not house.context.limiter.connections, "the connections gone")


@on_uvloop
async def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with serving() as house:
        answer = await (await house.http()).ask("GET", "/metrics")
        assert answer.status == 501
        assert "pip install 'livelog-server[metrics]'" in answer.json["details"]["issue"]


def test_the_page_lists_every_metric() -> None:
    rows = [
        f"| `livelog_{metric.name}{'_total' if metric.kind == 'counter' else ''}` | {metric.kind} |"
        f" {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
        for metric in METRICS
    ]
    text = PAGE.read_text(encoding="utf-8")
    assert "\n".join(rows) in text
    assert text.count("\n| `livelog_") == len(rows)
