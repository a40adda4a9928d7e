"""The Python client and its commands with several addresses: servers of one log that die."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from livelog import ConfigError, ConnectionEndedError, Gap, Status, UnreachableError, connect
from livelog.client.addresses import Addresses
from livelog.client.backoff import Clock
from livelog.client.errors import Lost
from livelog.client.http import HttpPublisher
from livelog.client.url import listed, shown
from tests.support.brokers import fresh_url
from tests.support.command import done, running
from tests.support.following import IMPATIENT, contents, impatient_sleep, take
from tests.support.ports import free_port
from tests.support.process import Start, ready
from tests.support.tls import make_certificate
from tests.support.toyengine import Broker
from tests.support.wire import House, on_uvloop, serving, soon, until, user

IN_ORDER = Clock(sleep=impatient_sleep, random=lambda: 0.5)
"""Begins at the first address, and hardly waits."""


def nowhere() -> str:
    """An address at which nobody listens."""
    return f"ws://127.0.0.1:{free_port()}/ws/live-log"


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("ws://a", ["ws://a"]),
        ("ws://a,wss://b", ["ws://a", "wss://b"]),
        (" ws://a/x , ws+unix:///run/b,c.sock ", ["ws://a/x ", "ws+unix:///run/b,c.sock"]),
        ("ws://a?message_types=user,dm,ws://b", ["ws://a?message_types=user,dm", "ws://b"]),
        ("", []),
    ],
)
def test_commas_between_addresses_separate_them(text: str, addresses: list[str]) -> None:
    assert [each.strip() for each in listed(text)] == [each.strip() for each in addresses]


def test_no_token_in_a_list_is_shown() -> None:
    assert shown("ws://a/x?token=secret,ws://b?token=secret") == "ws://a/x, ws://b"


def test_each_client_draws_an_order_of_its_own() -> None:
    urls = ["ws://a", "ws://b", "ws://c"]
    drawn = {tuple(Addresses(urls)) for _ in range(500)}
    assert len(drawn) == 6


def test_connections_of_one_client_that_fail_together_go_on_once() -> None:
    addresses = Addresses(["ws://a", "ws://b", "ws://c", "ws://a"], lambda: 0.5)
    for _ in range(3):
        addresses.leave("ws://a")
    assert addresses.current == "ws://b"
    for url in ("ws://b", "ws://c"):
        addresses.leave(url)
    assert addresses.current == "ws://a"


@pytest.mark.parametrize("urls", ["", []])
def test_no_address_is_refused(urls: Sequence[str]) -> None:
    with pytest.raises(ConfigError, match="must be the address of a server"):
        connect(urls)


# Servers of one log.


@asynccontextmanager
async def two_servers() -> AsyncIterator[tuple[House, House]]:
    """Two servers of one log."""
    engine = Broker(seed=7).engine
    async with serving(engine=engine) as one, serving(engine=engine) as other:
        yield one, other


@on_uvloop
async def test_begins_at_the_next_where_the_first_is_out_of_reach() -> None:
    async with serving() as house:
        for urls in ([nowhere(), house.server.url], f"{nowhere()}, {house.server.url}"):
            async with connect(urls, clock=IN_ORDER) as log:
                await log.publish(user("hello"))


@on_uvloop
async def test_where_none_is_in_reach_each_is_named() -> None:
    urls = [nowhere(), nowhere()]
    with pytest.raises(UnreachableError) as unreachable:
        async with connect(urls):
            pass
    for url in urls:
        assert f"{url}: connection refused" in str(unreachable.value)


@on_uvloop
async def test_goes_on_at_another_at_once_when_its_server_shuts_down() -> None:
    waits: list[Status] = []
    async with two_servers() as (one, other):
        urls = [one.server.url, other.server.url]
        async with (
            connect(urls, clock=IN_ORDER, watch=waits.append) as log,
            log.subscribe("user") as messages,
        ):
            stream = aiter(messages)
            last = await log.publish(user("before"))
            await one.close()  # asks its clients to come back to it after more than a second
            await log.publish(user("after"))
            first, second = await take(stream, 2)
            assert contents([first, second]) == ["before", "after"]
            assert not isinstance(first, Gap)
            assert first.seq == last.seq
            assert [len(house.inside.connections) for house in (one, other)] == [0, 1]
    lost = [status for status in waits if not status.connected]
    assert [(status.why, status.retry_in) for status in lost] == [
        ("the server is shutting down", 0)
    ]


@on_uvloop
async def test_the_only_server_is_waited_for_as_it_asks() -> None:
    waits: list[Status] = []
    async with serving() as house:
        async with connect(house.server.url, clock=IN_ORDER, watch=waits.append):
            closing = asyncio.create_task(house.close())
            await until(lambda: any(not status.connected for status in waits), "the loss")
            assert next(status for status in waits if not status.connected).retry_in > 0
        await closing


class Rigged:
    """A server that does one thing, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.heard: list[str | bytes] = []
        self.url = ""

    async def refuse(self, socket: ServerConnection) -> None:
        """Close with a code that is final."""
        self.asked += 1
        await socket.close(4001, "no such token")

    async def listen(self, socket: ServerConnection) -> None:
        """Keep what comes."""
        async for data in socket:
            self.heard.append(data)


@on_uvloop
async def test_a_final_end_at_one_is_final_at_all() -> None:
    one, other = Rigged(), Rigged()
    async with (
        serve(one.refuse, "127.0.0.1", 0) as first,
        serve(other.refuse, "127.0.0.1", 0) as second,
    ):
        urls = [f"ws://127.0.0.1:{each.sockets[0].getsockname()[1]}" for each in (first, second)]
        with pytest.raises(ConnectionEndedError) as ended:
            async with connect(urls, token="t", clock=IN_ORDER):
                pass
    assert ended.value.code == 4001
    assert one.asked + other.asked == 1


@on_uvloop
async def test_a_token_is_not_sent_to_a_host_that_was_not_given() -> None:
    other = Rigged()
    async with serve(other.listen, "127.0.0.1", 0) as target:
        port = target.sockets[0].getsockname()[1]

        async def elsewhere(socket: ServerConnection, request: Request) -> Response:
            place = {"Location": f"ws://localhost:{port}/", "Content-Length": "0"}
            return Response(302, "Found", Headers(place))

        async with serve(other.listen, "127.0.0.1", 0, process_request=elsewhere) as source:
            url = f"ws://127.0.0.1:{source.sockets[0].getsockname()[1]}"
            with pytest.raises(ConnectionEndedError, match="redirects to another host"):
                async with connect(url, token="secret"):
                    pass
    assert not other.heard


@on_uvloop
async def test_a_wrong_certificate_at_one_leads_to_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, wrong = make_certificate(tmp_path, "mine"), make_certificate(tmp_path, "wrong")
    monkeypatch.setenv("SSL_CERT_FILE", str(mine.cert))
    async with serving(**wrong.settings) as one, serving(**mine.settings) as other:
        urls = [f"wss://localhost:{house.server.port}/ws/live-log" for house in (one, other)]
        for order in (urls, urls[::-1]):
            async with connect(order, clock=IN_ORDER) as log:
                await soon(log.publish(user("hello")))
        assert (await other.server.history()).total == 2
        with pytest.raises(ConnectionEndedError, match="TLS failed"):
            async with connect(urls[:1], clock=IN_ORDER):
                pass


# Servers that are killed.


@on_uvloop
async def _kill_them_in_turn(start: Start, engine: str) -> None:
    processes = [start("--port", "0", "--engine", engine, "--no-limits") for _ in range(3)]
    urls = [ready(process) for process in processes]
    async with (
        connect(urls, clock=IMPATIENT) as log,
        log.subscribe("user") as messages,
        log.subscribe("user", since=0) as own,  # on a connection of its own
    ):
        reading = [asyncio.ensure_future(take(aiter(each), 300)) for each in (messages, own)]
        receipts = []
        for process in processes[:2]:
            sending = [asyncio.ensure_future(log.publish(user(str(n)))) for n in range(150)]
            await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
            process.send_signal(signal.SIGKILL)
            receipts += await soon(asyncio.gather(*sending))
        got = [await soon(each) for each in reading]
        seqs = sorted(receipt.seq for receipt in receipts)
        for items in got:
            assert [item.seq for item in items if not isinstance(item, Gap)] == seqs
        assert len({receipt.id for receipt in receipts}) == 300
        assert (await log.history(limit=1)).total == 300


def test_goes_on_where_servers_are_killed_with_all_once_and_in_order(start: Start) -> None:
    _kill_them_in_turn(start, fresh_url())


# Commands, and batches over HTTP.


@on_uvloop
async def test_a_batch_that_one_server_does_not_take_goes_to_the_next() -> None:
    async with two_servers() as (one, other):
        publisher = HttpPublisher([nowhere(), one.server.url, other.server.url])

        async def post(*ids: str) -> None:
            lines = [json.dumps(user(id=id)).encode() for id in ids]
            await soon(asyncio.to_thread(publisher.post, lines))

        await post("a", "b")
        first, last = (one, other) if one.inside.connections else (other, one)
        assert (len(first.inside.connections), len(last.inside.connections)) == (1, 0)
        await first.close()
        await post("b", "c")
        messages = (await last.server.history()).messages
        assert [message.id for message in messages] == ["c", "b", "a"]
        await last.close()
        with pytest.raises(Lost, match="refused"):
            await post("d")
        publisher.close()


@on_uvloop
async def test_commands_go_on_at_another_server() -> None:
    async with two_servers() as (one, other):
        url = ("--url", f"{nowhere()},{one.server.url},{other.server.url}")
        async with running("tail", *url, "--json") as tail:
            await until(lambda: one.inside.listening or other.inside.listening, "listening")
            left, right = (one, other) if one.inside.listening else (other, one)
            for content in ("before", "after"):
                line = json.dumps(user(content))
                code, _, said = await done("publish", *url, given=line)
                assert (code, said) == (0, "livelog: 1 message published\n")
                assert json.loads(await tail.line())["content"] == content
                await left.close()
            assert right.inside.listening == 1
        for command in (("history",), ("search", "before")):
            code, printed, said = await done(*command, *url)
            assert code == 0, said
            assert "before" in printed
        code, _, said = await done("history", "--url", f"{nowhere()},{nowhere()}")
        assert (code, said.count("connection refused")) == (1, 2)
