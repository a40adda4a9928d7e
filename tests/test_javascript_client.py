"""livelog.js under Node, against real servers: killed, slowed, drained, and cut off in between.

That nothing is lost is always asserted in the same way: what was published is what was delivered,
in order and once, but for what a `gap` event named.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import pytest

from tests.support.follower import CLIENT, Door, Follower, door, following
from tests.support.forks import livelog
from tests.support.identity import SECRET, token
from tests.support.process import CLEAN
from tests.support.wire import PATIENCE, Client, House, Json, on_uvloop, serving, soon, user

pytestmark = pytest.mark.node

LIMITLESS: dict[str, Any] = {"limits": False}
AT_ONCE: dict[str, Any] = {"stableMs": 0}
"""Every connection counts as one that lasted, so every reconnect is a first attempt."""


@asynccontextmanager
async def cut_off(modules: Path, **settings: Any) -> AsyncIterator[tuple[House, Door, Follower]]:
    """A server, a door before it, and a client that follows everything through the door."""
    async with (
        serving(**LIMITLESS) as house,
        door(house.server.port) as proxy,
        following(proxy.url, modules, **{**AT_ONCE, **settings}) as follower,
    ):
        assert await follower.call("listen", name="all", types=["user"]) is None
        yield house, proxy, follower


def seqs(messages: list[Json]) -> list[int]:
    return [message["seq"] for message in messages]


# What can be asked of it.


@on_uvloop
async def test_follows_publishes_asks_for_the_past_and_leaves(node_modules: Path) -> None:
    async with serving() as house, following(house.server.url, node_modules) as follower:
        await follower.call("listen", name="all")
        receipt = await follower.call("publish", message=user("grüße → 🐉", id="m1"))
        await follower.until(follower.messages, "the message")
        [message] = follower.messages()
        assert (message["id"], message["seq"]) == ("m1", receipt["seq"])
        history = await follower.call("history", limit=5, filters={"type": "user"})
        assert history["messages"] == [message]
        assert history["total_count"] == 1
        assert (await follower.call("search", query="grüße"))["results"] == [message]
        for where, found in (("type:user -dragon", [message]), ({"not": {"word": "grüße"}}, [])):
            answer = await follower.call("search", query=None, filters={"where": where})
            assert answer["results"] == found
        counts = await follower.call("analyze", group_by="user_id", filters={"type": "user"})
        assert counts["total_count"] == counts["groups"][0]["count"] == 1
        assert (await follower.call("ping"))["seq"] == receipt["seq"]
        await follower.call("close")
        assert (await follower.state("stopped"))["code"] == 1000
        await house.emptied()


@on_uvloop
async def test_asks_who_is_on_line(node_modules: Path) -> None:
    async with serving(jwt_secret=SECRET) as house:
        tokens = [token("u1", "presence")]
        async with following(house.server.url, node_modules, tokens=tokens) as follower:
            told = await follower.call("presence", limit=5)
            assert told["count"] == 1
            assert [user["id"] for user in told["users"]] == ["u1"]
            await follower.call("presence", follow=True)
            other = await house.client(f"?token={token('u2')}")

            def joined() -> list[str]:
                changes = [each for each in follower.events if each["event"] == "online_changed"]
                return [user["id"] for each in changes for user in each["joined"]]

            await follower.until(lambda: "u2" in joined(), "the other user")
            other.close()
    async with serving() as house, following(house.server.url, node_modules) as follower:
        refused = await follower.call("presence")
        assert refused["error"]["code"] == 1008


@on_uvloop
async def test_a_refusal_carries_the_server_s_words(node_modules: Path) -> None:
    async with serving() as house, following(house.server.url, node_modules) as follower:
        refused = await follower.call("publish", message={"type": "user", "user_id": "u1"})
        assert refused["error"]["code"] == 1002
        assert refused["error"]["field"] == "message.username"
        refused = await follower.call("listen", name="bad", types=["user"], filters={"colour": "r"})
        assert refused["error"]["field"] == "filters.colour"
        assert await follower.call("listen", name="good", types=["user"]) is None
        house.publish("after")
        await follower.until(lambda: follower.contents("good") == ["after"], "the message")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (user("x" * 70_000), 1009),
        (user("€" * 22_000), 1009),
        (user("cut \ud83d"), 1002),
        (user("x", metadata={"\udc09": 1}), 1002),
    ],
    ids=["too long", "too long in bytes", "half an emoji", "half an emoji as a name"],
)
@on_uvloop
async def test_a_message_that_cannot_be_sent_is_refused_alone(
    node_modules: Path, message: Json, code: int
) -> None:
    async with serving() as house, following(house.server.url, node_modules) as follower:
        await follower.call("listen", name="all")
        calls = [await follower.tell("publish", message=message) for _ in range(25)]
        for call in calls:
            event = await follower.until(partial(failed, follower, call), "a refusal")
            assert event["error"]["code"] == code
        await follower.call("publish", message=user("after"))
        await follower.until(lambda: follower.contents() == ["after"], "the message")
        assert [s["name"] for s in follower.said("state")] == ["connecting", "connected"]


def failed(follower: Follower, call: int) -> Json | None:
    return next((event for event in follower.said("failed") if event["call"] == call), None)


@on_uvloop
async def test_the_longest_message_is_as_long_as_the_server_says(node_modules: Path) -> None:
    async with (
        serving(**LIMITLESS) as house,
        following(house.server.url, node_modules) as follower,
    ):
        size = house.server.config.net.max_frame_bytes
        for length in range(size - 400, size):
            # The first that is refused is refused by either side, but the connection lives.
            answer = await follower.call("publish", message=user("x" * length, id=f"m{length}"))
            if "error" in answer:
                break
        assert answer["error"]["code"] in (1002, 1009)
        await follower.call("ping")
        assert len(follower.said("state")) == 2


@on_uvloop
async def test_a_message_nested_too_deep_for_the_server_is_refused_alone(
    node_modules: Path,
) -> None:
    async with serving() as house, following(house.server.url, node_modules) as follower:
        for depth in (40, 400, 4000):
            refused = await follower.call("nest", depth=depth)
            assert refused["error"]["code"] == 1002
        await follower.call("publish", message=user("after"))
        assert len(follower.said("state")) == 2


@on_uvloop
async def test_a_message_without_an_id_is_given_one(node_modules: Path) -> None:
    async with serving() as house, following(house.server.url, node_modules) as follower:
        receipt = await follower.call("publish", message=user("hello"))
        assert receipt["id"].startswith("js_")


@on_uvloop
async def test_listeners_share_one_connection_and_each_has_its_filters(node_modules: Path) -> None:
    async with serving() as house, following(house.server.url, node_modules) as follower:
        general = {"channel": "general"}
        await follower.call("listen", name="talk", types=["user"], filters=general)
        await follower.call("listen", name="talk too", types=["user"], filters=general)
        await follower.call("listen", name="rest", types=["system", "guild"])
        house.publish("no", metadata={"channel": "trade"})
        house.publish("yes", metadata=general)
        house.append({"type": "system", "event": "error"})
        await follower.until(lambda: follower.messages("rest"), "the last message")
        assert follower.contents("talk") == follower.contents("talk too") == ["yes"]
        assert house.inside.websockets.total() == 1
        refused = await follower.call("listen", name="other", types=["user"])
        assert "user is followed with other filters already" in refused["error"]["message"]
        refused = await follower.call("listen", name="other", types=["users"])
        assert "users is no message type" in refused["error"]["message"]


@on_uvloop
async def test_one_that_leaves_does_not_disturb_the_other(node_modules: Path) -> None:
    async with serving() as house, following(house.server.url, node_modules) as follower:
        await follower.call("listen", name="one", types=["user", "raid"])
        await follower.call("listen", name="two", types=["user"])
        house.publish("both")
        await follower.until(lambda: follower.contents("two") == ["both"], "the first message")
        await follower.call("stop", name="one")
        house.publish("two only")
        await follower.until(lambda: len(follower.contents("two")) == 2, "the second message")
        assert follower.contents("one") == ["both"]
        # With other filters it can be followed again, once nobody else wants the type.
        await follower.call("stop", name="two")
        await follower.call("listen", name="three", types=["user"], filters={"user_id": "u2"})
        house.publish("for nobody")
        house.publish("for three", user_id="u2")
        await follower.until(lambda: follower.contents("three") == ["for three"], "the third")


@on_uvloop
async def test_one_that_begins_earlier_does_not_make_the_others_hear_twice(
    node_modules: Path,
) -> None:
    async with serving() as house, following(house.server.url, node_modules) as follower:
        first, *_ = house.publish("0", "1", "2")
        await follower.call("listen", name="now", types=["user"])
        house.publish("3", "4")
        await follower.until(lambda: len(follower.messages("now")) == 2, "the live ones")
        await follower.call("listen", name="late", types=["user"], since=first)
        house.publish("5")
        await follower.until(lambda: len(follower.messages("late")) == 5, "the older ones")
        await follower.until(lambda: len(follower.messages("now")) == 3, "the newest one")
        assert follower.contents("late") == ["1", "2", "3", "4", "5"]
        assert follower.contents("now") == ["3", "4", "5"]


@on_uvloop
async def test_keeps_within_the_limits_and_does_what_had_to_wait(node_modules: Path) -> None:
    async with (
        serving(command_limit=3, limit_window=1) as house,
        following(house.server.url, node_modules) as follower,
    ):
        house.publish("one")
        calls = [await follower.tell("history", limit=number) for number in range(1, 9)]
        await follower.until(lambda: len(follower.said("done")) == len(calls), "all pages")
        assert [event["call"] for event in follower.said("done")] == calls
        assert follower.said("throttled")
        assert await follower.call("listen", name="all", types=["user"]) is None


@on_uvloop
async def test_a_burst_of_messages_beyond_the_limit_arrives_whole(node_modules: Path) -> None:
    async with (
        serving(message_limit=100, limit_window=2) as house,
        following(house.server.url, node_modules) as follower,
    ):
        for number in range(250):
            await follower.tell("publish", message=user(str(number)))
        await follower.until(lambda: len(follower.said("done")) == 250, "all receipts")
        published = [event["answer"]["seq"] for event in follower.said("done")]
        assert published == sorted(set(published))
        assert len(follower.said("state")) == 2, "it was not sent away for its haste"
        assert (await follower.call("history", limit=1))["total_count"] == 250
        assert house.inside.websockets.total() == 1


@on_uvloop
async def test_the_quick_start_of_the_readme_runs_in_an_empty_folder(
    node_modules: Path, tmp_path: Path
) -> None:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm")
    readme = (CLIENT.parents[2] / "README.md").read_text(encoding="utf-8")
    [commands] = re.findall(r"^    (npm .*\n    node .*)$", readme, re.MULTILINE)
    [example] = re.findall(r"```javascript\n(import .*?)```", readme, re.DOTALL)
    async with serving() as house:
        place = f"127.0.0.1:{house.server.port}"
        (tmp_path / "follow.mjs").write_text(example.replace("localhost:8000", place))
        install, run = commands.replace("localhost:8000", place).splitlines()
        npm = await started(install, tmp_path)
        await soon(npm.wait(), "npm")
        assert npm.returncode == 0
        node = await started(run, tmp_path)
        assert node.stdout is not None
        lines = [(await soon(node.stdout.readline(), "a line")).decode() for _ in range(3)]
        node.kill()
        await node.wait()
        assert lines[0] == "connected 0\n"
        assert sorted(line.split(" ", 1)[1] for line in lines[1:]) == ["hi\n", "in all\n"]


async def started(command: str, folder: Path) -> asyncio.subprocess.Process:
    """Start a command of the README; npm asks nobody but the server."""
    quiet = ("audit", "fund", "update_notifier")
    return await asyncio.create_subprocess_exec(
        *shlex.split(command),
        cwd=folder,
        env={
            **os.environ,
            **{f"npm_config_{name}": "false" for name in quiet},
            "npm_config_cache": str(folder / "cache"),
            "NODE_NO_WARNINGS": "1",
        },
        stdout=asyncio.subprocess.PIPE,
    )


# Reconnecting.


@on_uvloop
async def test_the_schedule_of_reconnects(node_modules: Path) -> None:
    nowhere = "ws://127.0.0.1:1/ws/live-log"
    async with following(nowhere, node_modules, clock="test", random=0.5) as follower:
        waits = []
        passed = 0.0
        for attempt in range(1, 9):
            waiting = await follower.state("waiting", times=attempt)
            assert (waiting["attempt"], waiting["code"]) == (attempt, 1006)
            waits.append(waiting["retryAt"] - passed)
            if waits[-1]:
                await follower.call("advance", ms=waits[-1] - 1)
                assert follower.said("state")[-1]["name"] == "waiting"
                await follower.call("advance", ms=1)
            else:
                await follower.call("advance", ms=0)
            passed += waits[-1]
        assert waits == [0, 500, 1000, 2000, 4000, 30000, 30000, 30000]


@on_uvloop
async def test_a_connection_that_lasted_starts_the_schedule_anew(node_modules: Path) -> None:
    async with (
        serving() as house,
        door(house.server.port) as proxy,
        following(proxy.url, node_modules, clock="test", random=1) as follower,
    ):
        await follower.state("connected")
        waits = []
        for number, lasted in enumerate([0, 0, 9_999, 10_000, 0], 1):
            await follower.state("connected", times=number)
            await follower.call("advance", ms=lasted)
            proxy.cut()
            waiting = await follower.state("waiting", times=number)
            await follower.call("reconnect")
            waits.append((waiting["attempt"], waiting["retryAt"]))
        assert [attempt for attempt, _ in waits] == [1, 2, 3, 1, 2]
        assert waits == [(1, 0), (2, 1000), (3, 11_999), (1, 19_999), (2, 20_999)]


@on_uvloop
async def test_nothing_is_lost_or_doubled_over_fifty_cuts(node_modules: Path) -> None:
    async with cut_off(node_modules) as (house, proxy, follower):
        chance = random.Random(4)
        proxy.cut_after(*(chance.randrange(300, 6000) for _ in range(50)))
        expected: list[int] = []
        number = 0
        while proxy.cuts < 50:
            burst = [f"{number + step} {'x' * chance.randrange(400)}" for step in range(5)]
            expected += house.publish(*burst)
            number += 5
            await asyncio.sleep(0.005)
        expected += house.publish("the last")
        await follower.until(
            lambda: (follower.contents() or [""])[-1] == "the last", "the last message"
        )
        assert seqs(follower.messages()) == expected
        assert not follower.said("gap")
        assert len([s for s in follower.said("state") if s["name"] == "waiting"]) > 25
        await follower.until(lambda: follower.said("resumed"), "the report")
        assert all(not report["gaps"] for report in follower.said("resumed"))


@on_uvloop
async def test_types_with_filters_of_their_own_are_resumed_together(node_modules: Path) -> None:
    async with cut_off(node_modules) as (house, proxy, follower):
        await follower.call("stop", name="all")
        general = {"channel": "general"}
        await follower.call("listen", name="talk", types=["user"], filters=general)
        await follower.call(
            "listen", name="alarms", types=["system"], filters={"severity": "error"}
        )
        await follower.call("listen", name="rest", types=["guild", "raid"])
        proxy.cut_after(*[1200] * 12)
        talk, alarms = [], []
        for number in range(400):
            house.publish("no", metadata={"channel": "trade"})
            talk += house.publish(f"{number}", metadata=general)
            severity = "error" if number % 3 else "info"
            told = house.append({"type": "system", "event": "error", "severity": severity})
            alarms += [told.seq] if number % 3 else []
            if number % 10 == 0:
                await asyncio.sleep(0.01)
        [last] = house.publish("last", metadata=general)
        await follower.until(lambda: last in seqs(follower.messages("talk")), "the last message")
        await follower.until(lambda: len(follower.messages("alarms")) >= len(alarms), "all alarms")
        assert proxy.cuts > 5
        assert seqs(follower.messages("talk")) == [*talk, last]
        assert seqs(follower.messages("alarms")) == alarms
        together = seqs([event["message"] for event in follower.said("message")])
        assert together == sorted(together)


@on_uvloop
async def test_publishing_is_finished_after_a_cut_and_not_doubled(node_modules: Path) -> None:
    async with cut_off(node_modules) as (_, proxy, follower):
        # No eight without an answer, after which a message is given up.
        proxy.cut_after(*range(600, 1300, 100))
        calls = [await follower.tell("publish", message=user(str(n))) for n in range(60)]
        await follower.until(lambda: len(follower.said("done")) == 61, "the receipts")
        assert proxy.cuts == 7
        await follower.until(lambda: len(follower.messages()) >= 60, "the messages")
        await follower.call("ping")
        assert sorted(follower.contents(), key=int) == [str(n) for n in range(60)]
        assert {event["call"] for event in follower.said("done")} > set(calls)


@on_uvloop
async def test_a_pong_says_how_far_a_narrow_filter_is_complete(node_modules: Path) -> None:
    async with (
        serving(window_messages=20, **LIMITLESS) as house,
        door(house.server.port) as proxy,
        following(proxy.url, node_modules, **AT_ONCE) as follower,
    ):
        rare = {"user_id": "rare"}
        await follower.call("listen", name="all", types=["user"], filters=rare)
        house.publish(*[str(n) for n in range(100)])  # none of them is for this listener
        await follower.call("ping")
        proxy.cut()
        await follower.until(lambda: follower.said("resumed"), "the report")
        assert follower.said("resumed")[0]["gaps"] == []
        house.publish("mine", user_id="rare")
        await follower.until(lambda: follower.contents() == ["mine"], "the message")
        assert not follower.said("gap")


@on_uvloop
async def test_what_is_no_longer_kept_is_reported_as_a_gap(node_modules: Path) -> None:
    async with (
        serving(window_messages=20, **LIMITLESS) as house,
        door(house.server.port) as proxy,
        following(proxy.url, node_modules, clock="test", random=1) as follower,
    ):
        await follower.call("listen", name="all", types=["user"])
        [last] = house.publish("before")
        await follower.until(follower.messages, "the first message")
        for number in (1, 2):  # the second attempt does not come at once
            proxy.cut()
            await follower.state("waiting", times=number)
            if number == 1:
                await follower.call("advance", ms=0)
                await follower.state("connected", times=2)
        missed = house.publish(*[str(n) for n in range(100)])
        await follower.call("reconnect")
        await follower.until(lambda: follower.contents()[-1] == "99", "what is left")
        [gap] = follower.said("gap")
        assert gap["from"] == last
        assert [seq for seq in missed if seq > gap["to"]] == seqs(follower.messages())[1:]
        await follower.until(lambda: follower.said("resumed"), "the report")
        assert follower.said("resumed")[-1]["gaps"] == [{"from": last, "to": gap["to"]}]


@on_uvloop
async def test_a_log_that_is_behind_is_another_log_and_followed_from_now(
    node_modules: Path,
) -> None:
    async with serving() as house, following(house.server.url, node_modules) as follower:
        await follower.call("listen", name="all", types=["user"], since=2**52)
        assert follower.said("gap") == [{"event": "gap", "from": 2**52, "to": None}]
        house.publish("now")
        await follower.until(lambda: follower.contents() == ["now"], "the message")


@on_uvloop
async def test_a_server_that_hangs_is_left_and_found_again(node_modules: Path) -> None:
    quick = {"heartbeatMs": 50, "timeoutMs": 150}
    async with cut_off(node_modules, **quick) as (house, proxy, follower):
        proxy.hold()
        house.publish("while it hangs")
        waiting = await follower.state("waiting")
        assert waiting["reason"] == "the server does not answer"
        proxy.release()
        await follower.until(lambda: follower.contents() == ["while it hangs"], "the message")
        assert not follower.said("gap")


@on_uvloop
async def test_a_timer_that_was_held_back_proves_nothing(node_modules: Path) -> None:
    async with (
        serving() as house,
        door(house.server.port) as proxy,
        following(proxy.url, node_modules, clock="test") as follower,
    ):
        await follower.call("listen", name="all", types=["user"])
        proxy.hold()
        await follower.call("advance", ms=20_000)  # it asks for a sign of life
        await follower.call("advance", ms=10_000, late=3_600_000)  # asleep for an hour
        assert [s["name"] for s in follower.said("state")] == ["connecting", "connected"]
        proxy.release()
        await follower.call("ping")
        await follower.call("advance", ms=10_000)
        house.publish("still here")
        await follower.until(lambda: follower.contents() == ["still here"], "the message")
        assert len(follower.said("state")) == 2
        proxy.hold()
        await follower.call("advance", ms=20_000)
        await follower.call("advance", ms=10_000)  # in time, and no sign
        assert (await follower.state("waiting"))["reason"] == "the server does not answer"


@pytest.mark.parametrize(
    ("code", "fate"),
    [
        (1000, "waiting"),
        (1001, "waiting"),
        (1002, "stopped"),
        (1003, "stopped"),
        (1008, "waiting"),
        (1009, "waiting"),
        (1011, "waiting"),
        (4000, "stopped"),
        (4001, "stopped"),
        (4002, "stopped"),
        (4003, "waiting"),
    ],
)
@on_uvloop
async def test_which_close_codes_are_final(node_modules: Path, code: int, fate: str) -> None:
    from websockets.asyncio.server import ServerConnection, serve

    async def turn_away(client: ServerConnection) -> None:
        await client.send('{"action":"connected","connection_id":"c","message":""}')
        await client.send('{"action":"disconnected","reason":"server_error"}')
        await client.close(code)

    async with serve(turn_away, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}/ws/live-log"
        async with following(url, node_modules, clock="test", random=1) as follower:
            state = await follower.state(fate)
            assert state["code"] == code
            if fate == "stopped":
                assert state["reason"]
                refused = await follower.call("publish", message=user())
                assert refused["error"]["code"] == code
            else:
                # Who was too hasty does not come back at once.
                assert state["retryAt"] == (1000 if code == 4003 else 0)


@pytest.mark.parametrize(
    ("asked", "obeyed"),
    [("1234", 1234), ("-5", 100), ("1e300", 3_600_000), ('"soon"', 0), ("null", 0)],
)
@on_uvloop
async def test_obeys_a_server_that_says_when_to_come_back(
    asked: str, obeyed: int, node_modules: Path
) -> None:
    """Unless it makes no sense: then the first attempt is due at once, as after any other end."""
    from websockets.asyncio.server import ServerConnection, serve

    async def drain(client: ServerConnection) -> None:
        await client.send('{"action":"connected","connection_id":"c","message":""}')
        await client.send(
            f'{{"action":"disconnected","reason":"normal_closure","reconnect_after_ms":{asked}}}'
        )
        await client.close(1001)

    async with serve(drain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}/ws/live-log"
        async with following(url, node_modules, clock="test") as follower:
            assert (await follower.state("waiting"))["retryAt"] == obeyed


@on_uvloop
async def test_a_slow_client_is_sent_away_and_misses_nothing(node_modules: Path) -> None:
    async with (
        serving(stall_seconds=0.5, **LIMITLESS) as house,
        door(house.server.port) as proxy,
        following(proxy.url, node_modules, **AT_ONCE) as follower,
    ):
        await follower.call("listen", name="all", types=["user"])
        proxy.hold()
        expected = house.publish(*[f"{n} {'x' * 4000}" for n in range(3000)])
        await house.emptied()  # it did not read for too long
        proxy.release()
        await follower.until(lambda: len(follower.messages()) == len(expected), "all messages")
        assert seqs(follower.messages()) == expected
        assert not follower.said("gap")


# A server that dies.


@asynccontextmanager
async def process(port: int, store: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A server as its own process; killed at the end, as a crash would."""
    arguments = ("--port", str(port), "--no-limits", "--store", store)
    server = livelog(*arguments, env=CLEAN, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)
    try:
        await soon(answers(port), "a server")
        yield server
    finally:
        server.kill()
        await asyncio.to_thread(server.communicate)


async def answers(port: int) -> None:
    """Wait until somebody listens."""
    while True:
        with contextlib.suppress(OSError):
            (await Client.connect(("127.0.0.1", port))).close()
            return
        await asyncio.sleep(0.02)


async def publish(port: int, count: int, mark: str) -> list[int]:
    """Publish from a client of its own; returns the seqs that the server has acknowledged."""
    client = await Client.connect(("127.0.0.1", port))
    await client.open()
    await client.reply("connected")
    acknowledged = []
    for number in range(count):
        await client.tell("publish", message=user(f"{mark} {number}"))
        acknowledged.append((await client.reply("published"))["seq"])
    client.close()
    return acknowledged


@pytest.mark.parametrize("store", ["memory", "file"])
@on_uvloop
async def test_killed_and_restarted_nothing_is_lost_but_what_a_gap_names(
    node_modules: Path, tmp_path: Path, unused_tcp_port: int, store: str
) -> None:
    port = unused_tcp_port
    kept = store != "memory"
    url = f"ws://127.0.0.1:{port}/ws/live-log"
    published: list[int] = []
    async with following(url, node_modules, **AT_ONCE, random=0.1) as follower:
        for life in range(1, 4):
            async with process(port, str(tmp_path / "log.db") if kept else store) as server:
                if life == 1:
                    await follower.call("listen", name="all", types=["user"])
                published += await publish(port, 50, f"life {life}")
                await follower.state("connected", times=life)
                everything = partial(covered, follower, list(published))
                await follower.until(everything, "everything, or a gap where it was")
                server.kill()
                await asyncio.to_thread(server.wait)
        delivered = seqs(follower.messages())
        assert delivered == sorted(set(delivered))
        assert set(delivered) <= set(published)
        assert bool(follower.said("gap")) == (not kept)
        if kept:
            assert delivered == published


def covered(follower: Follower, published: list[int]) -> bool:
    delivered = set(seqs(follower.messages()))
    gaps = [(gap["from"], gap["to"]) for gap in follower.said("gap")]
    return all(
        seq in delivered or any(begin < seq <= end for begin, end in gaps) for seq in published
    )


@pytest.fixture
def unused_tcp_port() -> int:
    """A port that was free a moment ago."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@on_uvloop
async def test_drained_and_restarted_it_comes_back_at_once(
    node_modules: Path, unused_tcp_port: int
) -> None:
    port = unused_tcp_port
    url = f"ws://127.0.0.1:{port}/ws/live-log"
    async with following(url, node_modules, **AT_ONCE, random=0.1) as follower:
        async with process(port, "memory") as server:
            await follower.state("connected")
            server.send_signal(signal.SIGTERM)
            waiting = await follower.state("waiting")
            assert waiting["code"] in (1001, 1006), "unless it was told, it tried while it was down"
            await asyncio.to_thread(server.wait, PATIENCE)
        async with process(port, "memory"):
            await follower.call("reconnect")
            await follower.state("connected", times=2)
