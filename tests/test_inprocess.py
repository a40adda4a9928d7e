"""A program that embeds the server: in-process reads, and calls out of season."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from livelog import (
    Config,
    Delivered,
    Filters,
    Gap,
    NotRunningError,
    Page,
    RefusedError,
    Server,
    Subscription,
    UserMessage,
)
from livelog.client.subscription import QUEUE
from livelog.net.feed import HIGH_WATER
from livelog.wire.stubs import Received
from tests.support.identity import SECRET
from tests.support.wire import SAMPLES, TYPES, House, on_uvloop, serving, soon, until, user

Item = Received | Gap


async def take(messages: AsyncIterator[Item], count: int) -> list[Item]:
    return [await soon(anext(messages)) for _ in range(count)]


def contents(items: list[Item] | list[Received]) -> list[str]:
    return [item.content for item in items if isinstance(item, UserMessage)]


# Pages.


@on_uvloop
async def test_history_and_search_return_pages_of_structs() -> None:
    async with serving() as house:
        seqs = house.publish("red dragon", "blue bird", "red bird")
        past = await house.server.history(limit=2, filters={"type": "user"})
        assert isinstance(past, Page)
        assert (contents(past.messages), past.total, past.offset) == (
            ["red bird", "blue bird"],
            3,
            0,
        )
        assert past.messages[0].seq == seqs[2]
        found = await house.server.search("red", offset=1)
        assert (contents(found.messages), found.total, found.offset) == (["red dragon"], 2, 1)
        asked: list[Filters | dict[str, Any]] = [
            Filters(where="red -dragon"),
            {"where": {"and": [{"word": "red"}, {"not": {"word": "dragon"}}]}},
        ]
        for filters in asked:
            found = await house.server.search(filters=filters)
            assert contents(found.messages) == ["red bird"]
        for place in ({"before": seqs[1]}, {"offset": 2}):
            page = await house.server.history(**place)  # type: ignore[arg-type]  # either is an int
            assert contents(page.messages) == ["red dragon"]
        assert contents((await house.server.history(after=seqs[1])).messages) == ["red bird"]
        around = await house.server.history(around=seqs[1], limit=1)
        assert contents(around.messages) == ["blue bird"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"before": 1, "after": 1}, "after"),
        ({"filters": {"colour": "red"}}, "filters.colour"),
        ({"filters": {"date_from": "yesterday"}}, "filters.date_from"),
    ],
)
@on_uvloop
async def test_a_wrong_question_is_refused(arguments: dict[str, Any], field: str) -> None:
    async with serving() as house:
        with pytest.raises(RefusedError) as refused:
            await house.server.history(**arguments)
        assert refused.value.field == field


@on_uvloop
async def test_the_program_reads_all_and_a_user_no_direct_message_of_others() -> None:
    tries: list[dict[str, Any]] = [{}, {"jwt_secret": SECRET}]
    for settings in tries:
        async with serving(**settings) as house:
            for sample in SAMPLES:
                house.append(sample)
            for user_id, total in ((None, 6), ("user_12345", 6), ("user_67890", 6), ("u9", 5)):
                page = await house.server.history(as_user=user_id)
                assert (page.total, len(page.messages)) == (total, total)
                found = await house.server.search("private", as_user=user_id)
                assert found.total == total - 5


# Subscriptions.


@on_uvloop
async def test_a_subscription_yields_what_is_published_from_its_start_on() -> None:
    async with serving() as house:
        house.publish("before")
        async with house.server.subscribe() as messages:
            assert isinstance(messages, Subscription)
            seqs = [house.append(sample).seq for sample in SAMPLES]
            got = await take(aiter(messages), 6)
        assert [type(item).__struct_config__.tag for item in got] == TYPES
        assert [item.seq for item in got if not isinstance(item, Gap)] == seqs


@on_uvloop
async def test_filters_types_and_since_hold() -> None:
    async with serving() as house:
        first, *_ = house.publish("a", "b", "c", metadata={"channel": "general"})
        house.publish("no", metadata={"channel": "trade"})
        house.append(SAMPLES[3])
        general = {"channel": "general"}
        async with house.server.subscribe("user", filters=general, since=first) as messages:
            house.publish("d", metadata={"channel": "general"})
            assert contents(await take(aiter(messages), 3)) == ["b", "c", "d"]


@on_uvloop
async def test_a_user_hears_no_direct_messages_of_others() -> None:
    async with (
        serving(jwt_secret=SECRET) as house,
        house.server.subscribe(as_user="user_67890") as recipient,
        house.server.subscribe(as_user="u9") as other,
    ):
        house.append(SAMPLES[2])
        house.publish("to all")
        [direct, _] = await take(aiter(recipient), 2)
        assert not isinstance(direct, Gap)
        assert direct.id == SAMPLES[2]["id"]
        assert contents(await take(aiter(other), 1)) == ["to all"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"types": ["usr"]}, "message_types[0]"),
        ({"types": []}, "message_types"),
        ({"filters": {"type": "user"}}, "filters.type"),
        ({"filters": {"text": '""'}}, "filters.text"),
        ({"since": 2**52}, "since"),
        ({"since": -1}, "since"),
    ],
)
@on_uvloop
async def test_a_wrong_subscription_is_refused_at_once(
    arguments: dict[str, Any], field: str
) -> None:
    async with serving() as house:
        with pytest.raises(RefusedError) as refused:
            house.server.subscribe(**arguments)
        assert refused.value.field == field


@pytest.mark.parametrize("window", [100, 100_000])
@on_uvloop
async def test_a_slow_consumer_gets_everything_and_holds_little(
    window: int, tmp_path: Path
) -> None:
    store = str(tmp_path / "live.db")
    async with (
        serving(store=store, window_messages=window) as house,
        house.server.subscribe(["user"]) as slow,
        house.server.subscribe() as quick,
    ):
        count = 5 * QUEUE
        seen = asyncio.ensure_future(take(aiter(quick), count))
        for start in range(0, count, 100):
            house.publish(*(f"{n} {'x' * 1000}" for n in range(start, start + 100)))
            await asyncio.sleep(0.001)
        assert len(await soon(seen)) == count
        assert held(house, slow) <= QUEUE
        got = contents(await take(aiter(slow), count))
        assert [int(text.split()[0]) for text in got] == [*range(count)]
        house.publish("live again")
        assert contents(await take(aiter(slow), 1)) == ["live again"]


def held(house: House, subscription: Subscription) -> int:
    """Assert that a blocked reader stands behind `subscription`; return the size of its queue."""
    feed = house.feeds[subscription]
    assert feed._reader.blocked
    assert HIGH_WATER < feed._bytes < 1_000_000  # one write may be larger than the mark
    return len(subscription._items)


@on_uvloop
async def test_what_is_no_longer_kept_shows_as_a_gap() -> None:
    async with serving(window_messages=10) as house:
        seqs = house.publish(*map(str, range(100)))
        async with house.server.subscribe("user", since=seqs[0]) as messages:
            gap, *rest = await take(aiter(messages), 11)
            assert isinstance(gap, Gap)
            assert (gap.from_, gap.to) == (seqs[0], seqs[89])
            assert contents(rest) == [str(number) for number in range(90, 100)]


@on_uvloop
async def test_a_loop_that_is_left_leaves_nothing_behind() -> None:
    async with serving() as house:
        house.publish("a")
        async for message in house.server.subscribe(["user"], since=0):
            assert isinstance(message, (UserMessage, Gap))
            break
        await until(lambda: not house.feeds, "left")
        house.inside.check_empty()


@on_uvloop
async def test_the_end_of_the_server_ends_the_loop() -> None:
    async with serving() as house, house.server.subscribe() as messages:
        house.publish("the last")
        stream = aiter(messages)
        assert contents(await take(stream, 1)) == ["the last"]
        reading = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(0)
        await house.server.close()
        assert await soon(reading) is None


@on_uvloop
async def test_a_loop_ends_behind_everything_that_was_acknowledged() -> None:
    async with serving() as house:
        reading = asyncio.ensure_future(everything(house.server.subscribe(["user"])))
        await until(lambda: house.feeds, "the loop to begin")
        for number in range(50):
            await house.server.publish(user(str(number)))
        await house.server.close()
        assert contents(await soon(reading)) == [str(number) for number in range(50)]
        assert not house.feeds


@pytest.mark.parametrize("count", [2 * QUEUE, 20 * QUEUE])
@on_uvloop
async def test_a_consumer_behind_its_queue_gets_the_rest_or_a_gap(count: int) -> None:
    async with serving() as house, house.server.subscribe(["user"]) as messages:
        for start in range(0, count, 100):
            house.publish(*(str(number) for number in range(start, start + 100)))
            await asyncio.sleep(0.001)
        await until(lambda: messages.full, "the queue to be full")
        house.append(SAMPLES[3])  # no message of the subscription
        head = house.context.log.head
        await house.server.close()
        got = await everything(messages)
    texts = contents(got)
    assert texts == [str(number) for number in range(len(texts))]
    if count == 2 * QUEUE:
        assert len(got) == len(texts) == count
    else:
        *_, newest, gap = got
        assert isinstance(newest, UserMessage)
        assert gap == Gap(from_=newest.seq, to=head)


@on_uvloop
async def test_what_only_the_store_has_is_a_gap_at_the_end(tmp_path: Path) -> None:
    async with serving(store=str(tmp_path / "live.db"), window_messages=10) as house:
        seqs = house.publish(*(str(number) for number in range(100)))
        await house.server.publish(user("on disk"))
        await until(lambda: len(house.inside.window) == 10, "evicted")
        async with house.server.subscribe(since=seqs[0]) as messages:
            house.inside.end_subscriptions()  # before the store can be asked
            gap = Gap(from_=seqs[0], to=house.context.log.head)
            assert await everything(messages) == [gap]


async def everything(messages: Subscription) -> list[Item]:
    return [item async for item in messages]


@on_uvloop
async def test_a_failure_ends_the_loop_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as house:
        async with house.server.subscribe(["user"]) as messages, house.server.subscribe() as other:
            monkeypatch.setattr(messages, "put", failing)
            house.publish("a")
            with pytest.raises(ZeroDivisionError):
                await soon(anext(aiter(messages)))
            assert [*house.feeds] == [other]
            assert contents(await take(aiter(other), 1)) == ["a"]
        house.inside.check_empty()


@on_uvloop
async def test_a_failure_at_the_end_is_raised_and_ends_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        serving() as house,
        house.server.subscribe(["user"]) as messages,
        house.server.subscribe(["user"]) as other,
    ):
        monkeypatch.setattr(messages, "put", failing)
        house.publish("a")
        await house.server.close()
        with pytest.raises(ZeroDivisionError):
            await soon(anext(aiter(messages)))
        assert contents(await everything(other)) == ["a"]


def failing(message: Delivered) -> None:
    raise ZeroDivisionError


# Before the start, after the end, elsewhere.

CALLS: list[Callable[[Server], object]] = [
    lambda server: server.publish(user()),
    lambda server: server.publish_nowait(user()),
    lambda server: server.history(),
    lambda server: server.search("x"),
    lambda server: server.subscribe(),
]


async def outcome(call: Callable[[Server], object], server: Server) -> str:
    """Return the text with which `server` says that it is not running."""
    try:
        made = call(server)
        if asyncio.iscoroutine(made):
            await made
    except NotRunningError as error:
        return str(error)
    raise AssertionError("was not refused")


@pytest.mark.parametrize("call", CALLS)
@on_uvloop
async def test_a_call_before_the_start_or_after_the_end_says_so(
    call: Callable[[Server], object],
) -> None:
    server = Server(Config(port=0, store="memory"))
    assert "`start`" in await outcome(call, server)
    async with server:
        pass
    assert "closed" in await outcome(call, server)


@pytest.mark.parametrize("call", CALLS)
@on_uvloop
async def test_a_call_from_another_thread_says_what_to_use(
    call: Callable[[Server], object],
) -> None:
    async with serving() as house:

        def from_there() -> tuple[str, str]:
            async def in_a_loop() -> str:
                return await outcome(call, house.server)

            with_loop = asyncio.run(in_a_loop())
            try:
                made = call(house.server)
                if asyncio.iscoroutine(made):
                    made.send(None)
            except NotRunningError as error:
                return with_loop, str(error)
            raise AssertionError("was not refused")

        for text in await asyncio.to_thread(from_there):
            assert "call_soon_threadsafe" in text
        assert (await house.server.history()).total == 0


@on_uvloop
async def test_a_subscription_made_in_time_is_entered_too_late() -> None:
    async with serving() as house:
        messages = house.server.subscribe()
    with pytest.raises(NotRunningError, match="closed"):
        await anext(aiter(messages))


@on_uvloop
async def test_each_attempt_after_the_end_says_so() -> None:
    async with serving() as house:
        messages = house.server.subscribe()
    for _ in range(2):
        with pytest.raises(NotRunningError, match="closed"):
            await soon(anext(aiter(messages)))
        with pytest.raises(NotRunningError, match="closed"):
            await soon(messages.__aenter__())


@on_uvloop
async def test_one_that_is_closed_before_its_start_yields_nothing_and_leaves_nothing() -> None:
    async with serving() as house:
        house.publish("a")
        messages = house.server.subscribe(since=0)
        messages.close()
        assert [item async for item in messages] == []
        assert not house.feeds


@on_uvloop
async def test_a_server_starts_once() -> None:
    server = Server(Config(port=0, store="memory"))
    for name in ("port", "url"):
        with pytest.raises(NotRunningError, match="`start`"):
            getattr(server, name)
    await server.close()  # has no effect
    async with server:
        with pytest.raises(NotRunningError, match="running already"):
            await server.start()
        assert server.url == f"ws://127.0.0.1:{server.port}/ws/live-log"
    await server.close()
    with pytest.raises(NotRunningError, match="closed"):
        await server.start()


@on_uvloop
async def test_a_start_that_failed_can_be_repeated() -> None:
    async with serving() as house:
        server = Server(Config(port=house.server.port, store="memory"))
        with pytest.raises(OSError, match="in use"):
            await server.start()
        assert "`start`" in await outcome(CALLS[0], server)
    async with server:
        await server.publish(user())


@on_uvloop
async def test_publishing_without_a_wait_raises_what_is_known_at_once() -> None:
    async with serving() as house:
        assert house.server.publish_nowait(user(id="mine")) == "mine"
        assert house.server.publish_nowait(user()).startswith("msg_")
        with pytest.raises(RefusedError, match="somebody else"):
            house.server.publish_nowait(user(id="mine", user_id="u2"))


@pytest.mark.parametrize("form", [lambda message: message, msgspec.to_builtins])
@on_uvloop
async def test_a_message_that_was_received_can_be_sent_on(
    form: Callable[[Received], Received | dict[str, Any]],
) -> None:
    async with serving() as house, serving() as other:
        receipts = [await house.server.publish(sample) for sample in SAMPLES]
        received = (await house.server.history()).messages[::-1]
        for message, receipt in zip(received, receipts, strict=True):
            assert message.seq == receipt.seq
            assert await house.server.publish(form(message)) == receipt  # its id is known
            assert (await other.server.publish(form(message))).seq != receipt.seq
            assert other.server.publish_nowait(form(message)) == message.id
        copies = (await other.server.history()).messages[::-1]
        assert [*map(without_seq, copies)] == [*map(without_seq, received)]


def without_seq(message: Received) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(message)
    del fields["seq"]
    return fields


@on_uvloop
async def test_a_message_that_was_received_is_checked_again() -> None:
    async with serving() as house:
        await house.server.publish(SAMPLES[0])
        [message] = (await house.server.history()).messages
        for field, value in (("content", 5), ("metadata", {"x": object()})):
            wrong = msgspec.structs.replace(message, **{field: value})
            with pytest.raises(RefusedError):
                await house.server.publish(wrong)
        with pytest.raises(RefusedError) as refused:  # from outside it is refused
            await house.server.publish(msgspec.json.encode(message))
        assert refused.value.field == "seq"
