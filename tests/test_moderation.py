"""Moderators and clients: disconnecting, blocking and announcing, and the record of it."""

from __future__ import annotations

import asyncio
import json
import math
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livelog.errors import RefusedError
from livelog.index.plan import finish
from livelog.net.blocks import Block, BlockedError, Blocks
from livelog.wire import acts
from tests.support.clock import Clock
from tests.support.identity import token
from tests.support.moderating import AUTH, OUTSIDE, at_each_outer_door, entered, give
from tests.support.wire import (
    Client,
    House,
    Json,
    on_each_loop,
    on_uvloop,
    serving,
    until,
    upgrade,
    user,
)

ANN, BOB = "127.0.1.1", "127.0.2.1"


async def expelled(client: Client) -> Json:
    """The last event of a client whose connection is closed with 1008."""
    event = await client.reply("disconnected")
    assert await client.close_code() == 1008
    return event


async def opened(house: House, who: str = "ann", source: str = "") -> Any:
    """A stream of Server-Sent Events."""
    http = await house.http(source=source)
    head = f"GET /api/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token(who)}\r\n"
    await http.send(f"{head}Accept: text/event-stream\r\n\r\n".encode())
    await http.upto(b"\r\n\r\n")
    return http


async def greeted(house: House, source: str = "") -> int:
    """The status with which a handshake is answered."""
    wire = await house.wire(source=source)
    try:
        await wire.send(upgrade())
        head = await wire.upto(b"\r\n\r\n")
    finally:
        wire.close()
    return int(head.split()[1])


# Disconnecting.


@at_each_outer_door
@on_uvloop
async def test_a_user_is_disconnected_everywhere_and_told_whether_to_come_back(door: str) -> None:
    async with serving(**AUTH) as house:
        phone, desk = await entered(house, "ann"), await entered(house, "ann")
        stream, other = await opened(house), await entered(house, "bob")
        answer = await give(
            house,
            door,
            "disconnect",
            user_id="ann",
            reason="calm down",
            reconnect_after_seconds=30.0,
        )
        assert answer["result"] == {"disconnected": 3}
        for client in (phone, desk):
            event = await expelled(client)
            assert event == {
                "action": "disconnected",
                "reason": "protocol_error",
                "reconnect_after_ms": 30_000,
            }
        told = (await stream.rest()).decode()
        assert "event: disconnected\nretry: 30000\n" in told
        assert await other.everything() == []


@on_each_loop
async def test_a_client_that_may_not_come_back_is_told_so() -> None:
    async with serving(**AUTH) as house:
        client, stream = await entered(house, "ann"), await opened(house)
        await give(house, "http", "disconnect", user_id="ann", reconnect=False)
        assert (await expelled(client))["reconnect"] is False
        told = (await stream.rest()).decode()
        assert '"reconnect":false' in told
        assert "retry:" not in told


@on_uvloop
async def test_one_connection_or_a_network_is_disconnected() -> None:
    async with serving(**AUTH) as house:
        ann, bob = await entered(house, "ann", source=ANN), await entered(house, "bob", source=BOB)
        rows = (await give(house, "http", "connections", user_id="bob"))["result"]["connections"]
        await give(house, "http", "disconnect", connection_id=rows[0]["id"])
        await expelled(bob)
        assert await ann.everything() == []
        answer = await give(house, "http", "disconnect", address="127.0.1.0/24", force=True)
        assert answer["result"] == {"disconnected": 1}
        await expelled(ann)


@on_uvloop
async def test_a_long_reason_is_whole_in_the_audit_log_and_shortened_for_the_close_frame() -> None:
    async with serving(**AUTH) as house:
        client = await entered(house, "ann")
        await give(house, "http", "disconnect", user_id="ann", reason="ü" * 500)
        await expelled(client)
        [act] = (await give(house, "http", "audit"))["result"]["acts"]
        assert act["reason"] == "ü" * 500


# Slips.


@pytest.mark.parametrize("command", ["disconnect", "block"])
@pytest.mark.parametrize(
    ("fields", "issue"),
    [
        ({"user_id": "mod"}, "is yourself"),
        ({"address": "127.0.0.1"}, "is where you are yourself"),
        ({"address": "127.0.9.9"}, "is this machine"),
        ({"address": "::1"}, "is this machine"),
        ({"address": "126.0.0.0/7"}, "is where you are yourself"),
        ({"address": "198.51.100.7"}, "is a trusted proxy"),
        ({"address": "198.0.0.0/8"}, "is a trusted proxy"),
        ({"address": "::/0"}, "is this machine"),
    ],
)
@on_uvloop
async def test_a_slip_is_refused_and_nothing_is_done(
    command: str, fields: Json, issue: str
) -> None:
    async with serving(**AUTH, trusted_proxies="198.51.100.7") as house:
        client = await entered(house, "ann")
        answer = await give(house, "http", command, **fields)
        assert answer["status"] == 400
        assert answer["details"]["issue"].startswith(issue)
        assert "force" in answer["details"]["issue"]
        assert (await give(house, "http", "blocks"))["result"]["blocks"] == []
        assert (await give(house, "http", "audit"))["result"]["acts"] == []
        assert await client.everything() == []


@on_uvloop
async def test_a_network_that_holds_everybody_is_refused() -> None:
    async with serving(**AUTH, trusted_proxies="127.0.0.1") as house:
        for address in ("192.0.2.1", "192.0.77.9"):
            client = await entered_behind(house, address)
        answer = await give(house, "program", "block", address="192.0.0.0/16")
        assert "is a network that holds everybody" in answer["details"]["issue"]
        assert await client.everything() == []
        answer = await give(house, "program", "block", address="192.0.2.0/24")
        assert answer["result"]["disconnected"] == 1


async def entered_behind(house: House, address: str) -> Client:
    """A client behind a proxy."""
    client = house.kept(await Client.connect(house.address))
    await client.send(upgrade(X_Forwarded_For=address))
    await client.upto(b"\r\n\r\n")
    assert (await client.event())["action"] == "connected"
    await client.ask("authenticate", token=token(address))
    return client


@on_uvloop
async def test_force_does_it_all_the_same() -> None:
    async with serving(**AUTH) as house:
        client = await entered(house, "mod", "moderate")
        await client.tell("admin", command="disconnect", user_id="mod", force=True)
        assert (await expelled(client))["reconnect_after_ms"] == 1000


# Blocks.


@at_each_outer_door
@on_uvloop
async def test_a_blocked_user_is_out_and_comes_in_at_no_door(door: str) -> None:
    async with serving(**AUTH) as house:
        inside, stream = await entered(house, "ann"), await opened(house)
        answer = await give(house, door, "block", user_id="ann", reason="spam")
        assert answer["result"] == {
            "user_id": "ann",
            "until": None,
            "disconnected": 2,
            "survives_restart": False,
        }
        assert (await expelled(inside))["reconnect"] is False
        assert b'"reconnect":false' in await stream.rest()
        again = await house.client()
        error = await again.ask("authenticate", token=token("ann"))
        assert (error["error_code"], error["details"]) == (
            1008,
            {"field": "user_id", "issue": "this user is blocked: spam"},
        )
        assert (await expelled(again))["reconnect"] is False
        http = await house.http()
        bearer = f"Bearer {token('ann')}"
        for method, target in [("GET", "/api/history"), ("GET", "/api/stream")]:
            refused = await http.ask(method, target, Authorization=bearer)
            assert refused.status == 403
            assert "retry-after" not in refused.headers
        assert (await http.ask("POST", "/api/messages", "{}", Authorization=bearer)).status == 403
        assert (await http.ask("GET", "/healthz", Authorization=bearer)).status == 200
        assert await (await entered(house, "Ann")).everything() == []
        assert (await give(house, door, "unblock", user_id="ann"))["result"] == {"user_id": "ann"}
        await entered(house, "ann")


@on_each_loop
async def test_a_blocked_network_gets_a_403_until_the_block_ends() -> None:
    async with serving(**AUTH) as house:
        ann, bob = await entered(house, "ann", source=ANN), await entered(house, "bob", source=BOB)
        waiting = await house.http(source="127.0.1.9")
        answer = await give(
            house, "http", "block", address="127.0.1.77/24", duration_seconds=90.0, force=True
        )
        assert answer["result"]["address"] == "127.0.1.0/24"
        assert 80_000 < (await expelled(ann))["reconnect_after_ms"] <= 90_000
        refused = await waiting.ask("GET", "/api/history")
        assert refused.status == 403
        assert 80 < int(refused.headers["retry-after"]) <= 90
        assert await greeted(house, "127.0.1.3") == 403
        assert await greeted(house, BOB) == 101
        assert await bob.everything() == []
        await give(house, "http", "unblock", address="127.0.1.0/24")
        assert await greeted(house, "127.0.1.3") == 101


@on_uvloop
async def test_a_block_holds_without_limits_and_of_one_address_too() -> None:
    async with serving(**AUTH, limits=False) as house:
        await give(house, "http", "block", address="::ffff:127.0.1.3", force=True)
        assert await greeted(house, "127.0.1.3") == 403
        assert await greeted(house, "127.0.1.4") == 101
        [row] = (await give(house, "http", "blocks"))["result"]["blocks"]
        assert (row["address"], row["by"], row["until"]) == ("127.0.1.3", "mod", None)


@on_uvloop
async def test_a_request_whose_body_comes_after_the_block_is_refused() -> None:
    async with serving(**AUTH) as house:
        http, body = await house.http(source=ANN), json.dumps(user(user_id="ann")).encode()
        head = (
            "POST /api/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token('ann')}\r\nContent-Length: {len(body)}\r\n"
        )
        await http.send(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert b" 100 " in await http.upto(b"\r\n\r\n")
        await give(house, "program", "block", address=ANN, force=True)
        head_seq = house.context.log.head
        await http.send(body)
        assert b" 403 " in await http.upto(b"\r\n\r\n")
        assert house.context.log.head == head_seq


@on_uvloop
async def test_a_network_of_ipv4_mapped_addresses_is_that_of_ipv4() -> None:
    async with serving(**AUTH) as house:
        for network in ("::ffff:127.0.0.0/104", "::ffff:0:0/96"):
            answer = await give(house, "http", "block", address=network)
            assert "with `force`" in answer["details"]["issue"]
        answer = await give(house, "http", "block", address="::ffff:127.0.1.0/120", force=True)
        assert answer["result"]["address"] == "127.0.1.0/24"
        assert await greeted(house, ANN) == 403
        assert await greeted(house, BOB) == 101
        await give(house, "http", "unblock", address="127.0.1.0/24")
        assert await greeted(house, ANN) == 101
        answer = await give(house, "http", "block", address="fe80::%eth0/64")
        assert answer["details"]["field"] == "address"


@on_uvloop
async def test_blocks_that_have_ended_leave_room_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("livelog.net.admin.disconnecting.MOST", 2)
    async with serving(**AUTH) as house:
        for user in ("ann", "bob"):
            await give(house, "program", "block", user_id=user, duration_seconds=1e-6)
        answer = await give(house, "program", "block", user_id="eve")
        assert answer["result"]["user_id"] == "eve"
        await give(house, "program", "block", user_id="ann")
        answer = await give(house, "program", "block", user_id="joe")
        assert "there are 2 blocks already" in answer["details"]["issue"]


@on_uvloop
async def test_a_block_ends_by_itself() -> None:
    now = 1_764_763_200.0
    moment = [now]
    async with serving(clock=lambda: moment[0]) as house:
        await house.server.admin("block", address="127.0.1.3", duration_seconds=60, force=True)
        assert await greeted(house, "127.0.1.3") == 403
        moment[0] = now + 61
        assert await greeted(house, "127.0.1.3") == 101
        assert (await house.server.admin("blocks")).result["blocks"] == []
        with pytest.raises(RefusedError, match="is not blocked"):
            await house.server.admin("unblock", address="127.0.1.3")


@on_uvloop
async def test_a_block_that_comes_again_when_it_has_ended_disconnects_nobody() -> None:
    """Servers repeat the last word about a user, for those that may know an earlier one."""
    async with serving(**AUTH) as house:
        ann, bob = await entered(house, "ann"), await entered(house, "bob")
        log, at = house.context.log, "2026-01-01T12:00:00.000Z"
        for user_id, until_ in (("ann", 1.0), ("bob", None)):
            act = acts.Block(by="m", at=at, first_seq=1, user_id=user_id, until=until_)
            log.apply(log.head + 1, act, lambda _: None)
        await expelled(bob)
        assert (await ann.ask("ping"))["action"] == "pong"
        rows = (await house.server.admin("blocks")).result["blocks"]
        assert [row["user_id"] for row in rows] == ["bob"]


@on_uvloop
async def test_blocks_and_the_audit_log_survive_a_restart(tmp_path: Path) -> None:
    store: dict[str, Any] = {"store": str(tmp_path / "live.db")}
    async with serving(**AUTH, **store) as house:
        answer = await give(house, "http", "block", user_id="ann", reason="spam")
        assert answer["result"]["survives_restart"] is True
        await give(house, "http", "block", address="127.0.1.0/24", force=True)
        await give(house, "http", "block", user_id="bob", duration_seconds=3600.0)
        await give(house, "http", "block", user_id="cat")
        await give(house, "http", "unblock", user_id="cat", reason="mistake")
        before = (await give(house, "http", "audit"))["result"]["acts"]
        listed = (await give(house, "http", "blocks"))["result"]
    async with serving(**AUTH, **store) as house:
        assert (await give(house, "http", "blocks"))["result"] == listed
        assert listed["total_count"] == 3
        assert (await give(house, "http", "audit"))["result"]["acts"] == before
        assert [act["act"] for act in before] == ["unblock", *["block"] * 4]
        assert before[0]["reason"] == "mistake"
        client = await house.client()
        assert (await client.ask("authenticate", token=token("ann")))["error_code"] == 1008
        assert await greeted(house, "127.0.1.3") == 403
        await entered(house, "cat")


@on_uvloop
async def test_two_moderators_at_once_end_with_what_the_log_has_last() -> None:
    async with serving(**AUTH) as house:
        acts = [
            give(house, "http", "block", who=who, user_id="ann", reason=who)
            for who in ("mod1", "mod2")
        ]
        answers = await asyncio.gather(*acts)
        assert [answer["status"] for answer in answers] == [200, 200]
        [row] = (await give(house, "http", "blocks"))["result"]["blocks"]
        newest, oldest = (await give(house, "http", "audit"))["result"]["acts"]
        assert row["by"] == newest["by"] == newest["reason"]
        assert {newest["by"], oldest["by"]} == {"mod1", "mod2"}
        both = [give(house, "http", "unblock", who=who, user_id="ann") for who in ("mod1", "mod2")]
        assert 200 in [answer["status"] for answer in await asyncio.gather(*both)]
        assert (await give(house, "http", "blocks"))["result"]["blocks"] == []
        assert (await give(house, "http", "unblock", user_id="ann"))["status"] == 404


@on_uvloop
async def test_a_user_who_is_blocked_while_a_token_is_checked_stays_out() -> None:
    async with serving(**AUTH) as house:
        client = await house.client()
        await client.tell("authenticate", token=token("ann"))
        await house.server.admin("block", user_id="ann")
        assert (await expelled(client))["reconnect"] is False
        await until(lambda: not house.inside.websockets, "nobody is connected")


V4 = ["192.0.2.0/24", "192.0.2.7", "192.0.0.0/16", "10.1.0.0/16"]
V6 = ["2001:db8::/32", "2001:db8::1"]
ADDRESSES = {
    4: ["192.0.2.7", "192.0.2.8", "192.0.9.1", "10.1.2.3"],
    6: ["2001:db8::1", "2001:db9::1", "2001:db8:1::"],
}
STEPS = st.tuples(
    st.sampled_from([*V4, *V6]), st.booleans(), st.none() | st.integers(1, 9), st.integers(0, 3)
)


@given(st.lists(STEPS, max_size=12))
def test_a_block_holds_exactly_its_network_while_it_lasts(steps: list[Any]) -> None:
    clock = Clock()
    blocks, ends = Blocks(clock), dict[str, float]()
    for seq, (network, sets, seconds, passes) in enumerate(steps):
        if sets:
            until = None if seconds is None else clock() + seconds
            blocks.add(Block("", network, until, "", "mod", str(clock()), seq))
            ends[network] = math.inf if until is None else until
        else:
            blocks.remove("", network)
            ends.pop(network, None)
        clock.now += passes
        blocks._check()
        in_force = {each for each, end in ends.items() if end > clock()}
        listed, count = finish(blocks.page(0, 1000))
        assert {block.address for block in listed} == in_force
        assert count == len(in_force)
        for version, addresses in ADDRESSES.items():
            networks = [net for net in map(ip_network, in_force) if net.version == version]
            for address in addresses:
                inside = any(ip_address(address) in network for network in networks)
                assert _is_blocked(blocks, address) == inside


def _is_blocked(blocks: Blocks, address: str) -> bool:
    try:
        blocks.check_address(address)
    except BlockedError:
        return True
    return False


# Announcements and the audit log.


@at_each_outer_door
@on_uvloop
async def test_an_announcement_reaches_all_as_a_message(door: str) -> None:
    async with serving(**AUTH) as house:
        client = await entered(house, "ann")
        await client.ask("subscribe", message_types=["system"])
        answer = await give(
            house, door, "announce", text="restart at 3", severity="warning", reason="patch"
        )
        message = await client.event()
        assert message["event"] == "server_maintenance"
        assert (message["severity"], message["data"]) == ("warning", {"message": "restart at 3"})
        told = {"id": message["id"], "seq": message["seq"], "audited": True}
        assert answer["result"] == told
        [act] = (await give(house, "http", "audit"))["result"]["acts"]
        assert (act["act"], act["by"], act["reason"]) == ("announce", "mod", "patch")
        assert (act["message"], act["severity"]) == (message["seq"], "warning")
        assert "restart at 3" not in json.dumps(act)


@on_uvloop
async def test_the_audit_log_is_read_in_pages() -> None:
    async with serving(**AUTH) as house:
        for number in range(5):
            await give(house, "program", "block", user_id=f"u{number}")
        first = (await give(house, "http", "audit", limit=2))["result"]["acts"]
        assert [act["user_id"] for act in first] == ["u4", "u3"]
        assert all(act["at"].endswith("Z") for act in first)
        rest = (await give(house, "http", "audit", before=first[-1]["seq"]))["result"]["acts"]
        assert [act["user_id"] for act in rest] == ["u2", "u1", "u0"]


@pytest.mark.parametrize(
    ("command", "fields", "field"),
    [
        ("block", {}, "user_id"),
        ("block", {"user_id": "a", "address": "192.0.2.1"}, "address"),
        ("block", {"user_id": "a", "duration_seconds": 0}, "duration_seconds"),
        ("block", {"user_id": "a", "duration_seconds": "long"}, "duration_seconds"),
        ("block", {"address": "example.com"}, "address"),
        ("block", {"connection_id": "conn_1"}, "connection_id"),
        ("unblock", {"address": "1.2.3"}, "address"),
        ("blocks", {"limit": 0}, "limit"),
        ("audit", {"before": -1}, "before"),
        ("announce", {}, "text"),
        ("announce", {"text": ""}, "text"),
        ("announce", {"text": "x", "severity": "loud"}, "severity"),
        ("log-level", {"level": "shout"}, "level"),
        ("drain", {"undo": "yes"}, "undo"),
        ("reload", {"what": "all"}, "what"),
    ],
)
@on_uvloop
async def test_bad_input_is_named_and_nothing_is_done(
    command: str, fields: Json, field: str
) -> None:
    async with serving(**AUTH) as house:
        head = house.context.log.head
        for door in OUTSIDE[:2]:
            answer = await give(house, door, command, "admin", **fields)
            assert (answer["error_code"], answer["details"]["field"]) == (1002, field)
        assert (await house.server.admin("audit")).result["acts"] == []
        assert house.context.log.head == head
        assert not len(house.context.limiter.blocked)
