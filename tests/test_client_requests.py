"""Commands of the client against real servers: pages, publishing, rate limits, lifecycle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from livelog import (
    Client,
    ConnectionEndedError,
    Filters,
    NotRunningError,
    RefusedError,
    Status,
    UserMessage,
    connect,
)
from livelog.client.backoff import Clock
from tests.support.following import IMPATIENT, contents, impatient_sleep, take
from tests.support.wire import on_uvloop, serving, soon, until, user


@on_uvloop
async def test_history_and_search_answer_with_pages() -> None:
    async with serving() as house, connect(house.server.url) as log:
        house.publish("red dragon", "blue bird", "red bird")
        past = await log.history(limit=2, filters={"type": "user"})
        assert (contents(past.messages), past.total, past.offset) == (
            ["red bird", "blue bird"],
            3,
            0,
        )
        found = await log.search("red", offset=1)
        assert (contents(found.messages), found.total, found.offset) == (["red dragon"], 2, 1)
        asked: list[Filters | dict[str, Any]] = [
            Filters(where="red -dragon"),
            {"where": {"and": [{"word": "red"}, {"not": {"word": "dragon"}}]}},
        ]
        for filters in asked:
            found = await log.search(filters=filters)
            assert contents(found.messages) == ["red bird"]
        with pytest.raises(RefusedError, match="limit"):
            await log.history(limit=0)


@on_uvloop
async def test_publishing_waits_for_the_acknowledgement() -> None:
    async with serving() as house, connect(house.server.url) as log:
        struct = await log.publish(UserMessage(user_id="u", username="Ann", content="one"))
        assert struct.id.startswith("msg_")
        plain = await log.publish(user("two", id="mine"))
        again = await log.publish(user("two", id="mine"))
        assert (plain.id, plain.seq) == ("mine", again.seq)
        received = (await log.history()).messages[0]
        assert (await log.publish(received)).seq == plain.seq
        assert house.context.log.head == plain.seq
        with pytest.raises(RefusedError, match="content") as caught:
            await log.publish({"type": "user", "user_id": "u", "username": "Ann"})
        assert caught.value.field == "message.content"


@on_uvloop
async def test_commands_over_the_limit_wait_and_are_sent_again() -> None:
    async with (
        serving(command_limit=3, message_limit=30, limit_window=1) as house,
        connect(house.server.url) as log,
    ):
        pages = await soon(asyncio.gather(*(log.history() for _ in range(8))))
        assert len(pages) == 8
        await soon(asyncio.gather(*(log.publish(user(str(n))) for n in range(60))))
        assert (await log.history()).total == 60
        assert len(house.inside.connections) == 1


@on_uvloop
async def test_a_message_that_is_too_big_ends_nothing_but_itself() -> None:
    async with (
        serving() as house,
        connect(house.server.url, clock=IMPATIENT) as log,
        log.subscribe(["user"]) as messages,
    ):
        small = asyncio.ensure_future(log.publish(user("small")))
        with pytest.raises(RefusedError, match="message: 70") as caught:
            await soon(log.publish(user("x" * 70_000)))
        assert caught.value.code == 1009
        await soon(small)
        assert contents(await take(aiter(messages), 1)) == ["small"]
        assert (await log.history()).total == 1


# Connections that end, whatever comes.


async def _published(client: ServerConnection, command: dict[str, Any]) -> None:
    answer = {"action": "published", "id": "m", "seq": 1, "request_id": command["request_id"]}
    await client.send(json.dumps(answer))


@asynccontextmanager
async def ending(at: str, most: int) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve connections that end after `most` answers, or at once with the message `at`.

    Yields the URL, and a list of the texts that end up published.
    """
    kept: list[str] = []

    async def handle(client: ServerConnection) -> None:
        answered = 0
        with suppress(ConnectionClosed):
            await client.send('{"action":"connected","connection_id":"c","message":"hello"}')
            async for text in client:
                command = json.loads(text)
                if (content := command["message"]["content"]) == at or answered == most:
                    await client.close(1011)
                    return
                kept.append(content)
                answered += 1
                await _published(client, command)

    async with serve(handle, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/live-log", kept


@on_uvloop
async def test_a_command_that_ends_one_connection_after_the_other_is_given_up_alone() -> None:
    async with ending("deadly", 100) as (url, kept), connect(url, clock=IMPATIENT) as log:
        deadly = asyncio.ensure_future(log.publish(user("deadly")))
        others = asyncio.gather(*(log.publish(user(str(number))) for number in range(3)))
        with pytest.raises(ConnectionEndedError, match="8 connections"):
            await soon(deadly)
        assert len(await soon(others)) == 3
        assert kept == ["0", "1", "2"]


@on_uvloop
async def test_on_a_bad_line_where_each_connection_brings_an_answer_none_is_given_up() -> None:
    async with ending("", 1) as (url, kept), connect(url, clock=IMPATIENT) as log:
        await soon(asyncio.gather(*(log.publish(user(str(number))) for number in range(15))))
        assert kept == [str(number) for number in range(15)]


@on_uvloop
async def test_a_message_that_a_server_may_have_taken_is_sent_again_for_ten_minutes_only() -> None:
    """Servers that share a log know its id for a quarter of an hour."""
    now, kept = 1e9, list[str]()

    async def handle(client: ServerConnection) -> None:
        nonlocal now
        await client.send('{"action":"connected","connection_id":"c","message":"hello"}')
        async for text in client:
            command = json.loads(text)
            kept.append(command["message"]["content"])
            if kept == ["early"]:
                now += 599
                await client.close(1011)
            elif kept == ["early", "early", "late"]:
                now += 600
                await client.close(1011)
            else:
                await _published(client, command)

    async with serve(handle, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws/live-log"
        clock = Clock(sleep=impatient_sleep, wall=lambda: now)
        async with connect(url, clock=clock) as log:
            await soon(log.publish(user("early")))
            with pytest.raises(ConnectionEndedError, match="10 minutes ago; it may have been"):
                await soon(log.publish(user("late")))
            await soon(log.publish(user("next")))
    assert kept == ["early", "early", "late", "next"]


@on_uvloop
async def test_a_message_is_given_up_in_time_where_no_server_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("livelog.client.requests._REPEATED_SECONDS", 0.1)
    never = asyncio.Event()
    clock = Clock(sleep=lambda seconds: never.wait())
    async with ending("lost", 100) as (url, kept), connect(url, clock=clock) as log:
        with pytest.raises(ConnectionEndedError, match="it may have been carried out"):
            await soon(log.publish(user("lost")))
        assert kept == []


# Outside of the block, and elsewhere.

CALLS: list[Callable[[Client], object]] = [
    lambda log: log.publish(user()),
    lambda log: log.history(),
    lambda log: log.search("x"),
    lambda log: log.subscribe(),
]


async def refusal(call: Callable[[Client], object], log: Client) -> str:
    """Return the text with which the client says that it is not running."""
    try:
        made = call(log)
        if asyncio.iscoroutine(made):
            await soon(made)
    except NotRunningError as error:
        return str(error)
    raise AssertionError("was not refused")


@pytest.mark.parametrize("call", CALLS)
@on_uvloop
async def test_a_call_outside_of_the_block_says_so(call: Callable[[Client], object]) -> None:
    async with serving() as house:
        log = connect(house.server.url)
        assert "async with" in await refusal(call, log)
        async with log:
            pass
        assert "closed" in await refusal(call, log)


@pytest.mark.parametrize("call", CALLS)
@on_uvloop
async def test_a_call_from_another_thread_says_what_to_use(
    call: Callable[[Client], object],
) -> None:
    async with serving() as house, connect(house.server.url) as log:

        def from_there() -> str:
            async def in_a_loop() -> str:
                return await refusal(call, log)

            return asyncio.run(in_a_loop())

        assert "run_coroutine_threadsafe" in await asyncio.to_thread(from_there)
        with pytest.raises(NotRunningError, match="run_coroutine_threadsafe"):
            await asyncio.to_thread(log.subscribe)
        assert (await log.history()).total == 0


@on_uvloop
async def test_a_client_connects_once() -> None:
    async with serving() as house, connect(house.server.url) as log:
        with pytest.raises(NotRunningError, match="once"):
            await log.__aenter__()
        assert (await log.history()).total == 0


@on_uvloop
async def test_a_client_that_could_not_connect_is_closed() -> None:
    async with serving() as house:
        log = connect(house.server.url.replace("live-log", "elsewhere"))
        with pytest.raises(ConnectionEndedError, match="404"):
            await log.__aenter__()
        assert "closed" in await refusal(CALLS[0], log)


@on_uvloop
async def test_a_client_that_is_cancelled_while_it_connects_leaves_nothing() -> None:
    connected = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        before = asyncio.all_tasks()
        entering = asyncio.ensure_future(connect(f"ws://127.0.0.1:{port}/ws/live-log").__aenter__())
        await soon(connected.wait())
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(entering)
        await until(lambda: len(asyncio.all_tasks()) <= len(before), "no task is left")


@on_uvloop
async def test_a_subscription_made_in_time_is_entered_too_late() -> None:
    async with serving() as house:
        async with connect(house.server.url) as log:
            messages = log.subscribe()
        with pytest.raises(NotRunningError, match="closed"):
            await anext(aiter(messages))


# What the client refuses itself, and what ends a connection.


@on_uvloop
async def test_a_message_that_is_too_large_is_refused_and_all_else_lives() -> None:
    states: list[Status] = []
    async with (
        serving() as house,
        connect(house.server.url, watch=states.append) as log,
        log.subscribe(["user"]) as messages,
    ):
        calls = [log.publish(user("a")), log.publish(user("x" * 70_000)), log.publish(user("b"))]
        first, large, last = await soon(asyncio.gather(*calls, return_exceptions=True))
        assert isinstance(large, RefusedError)
        assert (large.code, large.field) == (1009, "message")
        assert "65536" in large.issue
        with pytest.raises(RefusedError, match="65536"):
            await log.search("x" * 70_000)
        assert sorted(contents(await take(aiter(messages), 2))) == ["a", "b"]
        assert not isinstance(first, BaseException)
        assert not isinstance(last, BaseException)
    assert [state.connected for state in states] == [True]


_HALF = "\ud83d"  # the first half of an emoji: no Unicode text, but a Python string


@on_uvloop
async def test_half_a_character_is_refused_in_the_call_itself() -> None:
    async with serving() as house, connect(house.server.url) as log:
        for _ in range(30):  # more than may be under way
            with pytest.raises(RefusedError, match="surrogate"):
                await log.publish(user(_HALF))
        with pytest.raises(RefusedError, match="surrogate"):
            log.subscribe(["user"], filters={"username": _HALF})
        with pytest.raises(RefusedError, match="surrogate"):
            await log.search(_HALF)
        with pytest.raises(RefusedError, match="surrogate"):
            await log.history(filters={"channel": _HALF})
        assert await soon(log.publish(user("whole")))


@pytest.mark.parametrize("bad", [object(), {("a", "b"): 1}, b"\xff".decode("latin-1") + _HALF])
@on_uvloop
async def test_what_json_cannot_hold_is_refused_in_the_call_itself(bad: object) -> None:
    async with serving() as house, connect(house.server.url) as log:
        with pytest.raises(RefusedError, match="cannot be written as JSON") as caught:
            await log.publish(user("x", metadata={"n": bad}))
        assert (caught.value.code, caught.value.field) == (1002, "message")
        with pytest.raises(RefusedError, match="cannot be written as JSON"):
            log.subscribe(["user"], filters={"channel": bad})
        assert await soon(log.publish(user("good", type="user", metadata={"n": 2**200})))


@on_uvloop
async def test_a_message_is_what_it_was_when_it_was_published() -> None:
    async with serving() as house, connect(house.server.url) as log:
        message = user("before", metadata={"n": 1})
        publishing = asyncio.ensure_future(log.publish(message))
        await asyncio.sleep(0)
        message["content"] = "after"
        message["metadata"]["n"] = 2
        await soon(publishing)
        [received] = (await log.history()).messages
        assert isinstance(received, UserMessage)
        assert (received.content, received.metadata) == ("before", {"n": 1})
