"""Whatever bytes a client sends: the server answers or closes, nothing breaks or stays behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livelog.errors import CODES
from tests.support.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    SAMPLES,
    TEXT,
    TYPES,
    Frame,
    House,
    Wire,
    close_frame,
    frame,
    request,
    serving,
    soon,
    take_frame,
    upgrade,
    user,
)

# What may be sent.

texts = st.text(max_size=20)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
commands = st.fixed_dictionaries(
    {
        "action": st.sampled_from(
            [
                "subscribe",
                "unsubscribe",
                "get_history",
                "search",
                "analyze",
                "watch",
                "unwatch",
                "ping",
                "publish",
                "authenticate",
            ]
        )
        | texts
    },
    optional={
        "message_types": st.lists(st.sampled_from(TYPES), min_size=1) | anything,
        "id": st.sampled_from(["w1", "__proto__"]) | anything,
        "since": st.just(0) | anything,
        "token": texts | anything,
        "filters": st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from(TYPES) | anything,
                "text": texts,
                "channel": texts,
                "date_from": st.just("2025-12-01T00:00:00Z") | texts,
                "user_id": texts | anything,
                "where": st.sampled_from(["-a", "channel:a OR b", "a:(", "timestamp:>-1h"])
                | texts
                | anything,
            },
        ),
        "limit": st.integers(0, 1001) | anything,
        "offset": st.integers(-1, 10) | anything,
        "query": texts,
        "group_by": st.sampled_from(["type", "channel", "metadata.level"]) | anything,
        "distinct": st.sampled_from(["user_id", "author_id"]) | anything,
        "interval_seconds": st.sampled_from([1, 3600]) | anything,
        "timezone": st.just("Europe/Berlin") | anything,
        "request_id": texts | st.integers() | anything,
        "message": st.sampled_from([*SAMPLES, user()])
        | st.builds(
            lambda sample, more: {**sample, **more},
            st.sampled_from(SAMPLES),
            st.dictionaries(st.sampled_from(["id", "timestamp", "content", "event"]), anything),
        )
        | anything,
    },
)
payloads = (
    commands.map(lambda value: json.dumps(value).encode())
    | commands.map(lambda value: json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    | st.binary(max_size=200)
    | st.sampled_from([b"", b"{}", b"[" * 3000, b'{"action":"ping"}', b" " * 1500, b"\xff"])
)
opcodes = st.sampled_from([TEXT] * 6 + [CONTINUATION, BINARY, CLOSE, PING, PONG, 3, 11, 15])
frames = st.builds(
    lambda payload, opcode, fin, reserved, mask: frame(
        payload, opcode, fin=fin, reserved=reserved, mask=mask
    ),
    payloads,
    opcodes,
    st.sampled_from([True] * 5 + [False]),
    st.sampled_from([0] * 15 + [1, 4]),
    st.binary(min_size=4, max_size=4) | st.sampled_from([b"\0\0\0\0"] * 5 + [None]),
)
text_frames = payloads.map(frame)
close_frames = st.builds(close_frame, st.integers(0, 65535), st.text(max_size=10)) | st.just(
    close_frame()
)
upgrades = st.builds(
    lambda target, headers: upgrade(target, **headers),
    st.sampled_from(["/ws/live-log"] * 6)
    | st.builds(
        "/ws/live-log?message_types={}&since={}".format, st.sampled_from(TYPES), st.integers()
    )
    | st.text("/?=&%ws-live.log09\x7f", max_size=20).map("/{}".format),
    st.dictionaries(
        st.sampled_from(
            ["Upgrade", "Connection", "Sec_WebSocket_Version", "Sec_WebSocket_Key", "X"]
        ),
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=30),
        max_size=1,
    ),
)
requests = st.builds(
    lambda method, target, body, headers: request(method, target, body, **headers),
    st.sampled_from(["GET", "POST", "HEAD", "PUT", "CONNECT", "BREW", "get", ""]),
    st.sampled_from(["/", "/healthz", "/api/messages", "/ws/live-log", "*", "http://x/", "?", ""]),
    st.just(b"") | payloads | st.lists(st.sampled_from(SAMPLES)).map(json.dumps).map(str.encode),
    st.dictionaries(
        st.sampled_from(
            [
                "Content_Length",
                "Content_Type",
                "Transfer_Encoding",
                "Connection",
                "Expect",
                "Upgrade",
                "X",
            ]
        ),
        st.sampled_from(
            ["application/json", "application/x-ndjson", "chunked", "close", "100-continue", "5"]
        )
        | st.text(st.characters(max_codepoint=255), max_size=20),
        max_size=2,
    ),
)


def damaged(data: bytes, damage: list[tuple[int, int, bytes]], cut: int | None) -> bytes:
    """`data` with some bytes replaced, and perhaps its end cut off."""
    mutable = bytearray(data)
    for place, length, instead in damage:
        if mutable:
            begin = place % len(mutable)
            mutable[begin : begin + length] = instead
    return bytes(mutable[: cut % (len(mutable) + 1)] if cut is not None else mutable)


def with_damage(valid: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Some as they are, some broken."""
    wounds = st.tuples(st.integers(0, 10_000), st.integers(0, 4), st.binary(max_size=4))
    return valid | st.builds(
        damaged, valid, st.lists(wounds, max_size=4), st.none() | st.integers(0, 10_000)
    )


after_handshake = with_damage(
    st.lists(text_frames | text_frames | frames | close_frames, max_size=12).map(b"".join)
)
from_the_start = with_damage(
    st.builds(
        lambda ask, opening, rest: b"".join([*ask, opening, *rest]),
        st.lists(requests, max_size=3),
        upgrades | requests | st.binary(max_size=100),
        st.lists(text_frames | frames, max_size=5),
    )
)
cuts = st.lists(st.integers(1, 300), max_size=6)
endings = st.sampled_from(["finish", "close", "reset"])

# The trial.


class Trial:
    """One server for all examples, on a loop that runs while an example does."""

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.runner = asyncio.Runner(loop_factory=new_loop)
        self.context = serving(max_frame_bytes=1024, max_body_bytes=4096, close_timeout=5)
        self.house: House = self.runner.run(self.context.__aenter__())

    def close(self) -> None:
        """Stop, and look for faults."""
        try:
            self.runner.run(self.context.__aexit__(None, None, None))
        finally:
            self.runner.close()

    def websocket(self, data: bytes, pieces: list[int], ending: str) -> None:
        """Send `data` after a handshake, look at each answer, and vanish."""
        self.runner.run(self._websocket(data, pieces, ending))

    def anything(self, data: bytes, pieces: list[int], ending: str) -> None:
        """Send `data` on a fresh connection, and vanish."""
        self.runner.run(self._anything(data, pieces, ending))

    async def _websocket(self, data: bytes, pieces: list[int], ending: str) -> None:
        client = await self.house.client("?message_types=user,raid&since=0")
        answers = await self._exchange(client, data, pieces, ending)
        if answers is not None:
            check_frames(client.unread + answers)
        await self._forgotten()

    async def _anything(self, data: bytes, pieces: list[int], ending: str) -> None:
        wire = await self.house.wire()
        answers = await self._exchange(wire, data, pieces, ending)
        if answers:
            assert answers.startswith(b"HTTP/1.1 "), answers
        await self._forgotten()

    async def _exchange(
        self, wire: Wire, data: bytes, pieces: list[int], ending: str
    ) -> bytes | None:
        """Send in pieces; returns all that came back, None for a client that does not look."""
        reading = asyncio.ensure_future(wire.rest()) if ending == "finish" else None
        try:
            for size in pieces:
                await wire.send(data[:size])
                data = data[size:]
                await asyncio.sleep(0)
            await wire.send(data)
            if reading is not None:
                wire.finish()
        except ConnectionError:
            pass  # the server has closed already, which it may
        try:
            return None if reading is None else await soon(reading, "the end")
        except ConnectionError:
            return None
        finally:
            (wire.reset if ending == "reset" else wire.close)()

    async def _forgotten(self) -> None:
        await self.house.emptied()
        self.house._wires.clear()


def check_frames(data: bytes | bytearray) -> None:
    """Assert that `data` is whole frames, each as the API has them, and a close frame the last."""
    unread = bytearray(data)
    got: list[Frame] = []
    while (taken := take_frame(unread)) is not None:
        assert not got or got[-1].opcode != CLOSE, "something came after the close frame"
        got.append(taken)
    assert not unread, "the last frame was not whole"
    for opcode, payload, fin in got:
        assert fin
        assert opcode in (TEXT, PONG, CLOSE)
        if opcode == TEXT:
            check_event(payload)
    if got and got[-1].opcode == CLOSE:
        [*_, last_event] = (payload for opcode, payload, _ in got if opcode == TEXT)
        assert json.loads(last_event)["action"] == "disconnected"


def check_event(payload: bytes) -> None:
    """Assert that a text frame is a message, or an event of the API."""
    event = json.loads(payload)
    if "action" not in event:
        assert event["type"] in TYPES
        assert isinstance(event["seq"], int)
    elif event["action"] == "error":
        assert event["error_code"] in CODES
        assert event["error_code"] != 1011, "a fault of the server"
        assert event["error_message"] == CODES[event["error_code"]].text
        assert {"field", "issue"} <= event["details"].keys()
    else:
        assert event["action"] in {
            "authenticated",
            "subscribed",
            "unsubscribed",
            "history",
            "search_results",
            "analysis",
            "pong",
            "published",
            "rate_limit",
            "disconnected",
        }


@contextmanager
def trial(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[Trial]:
    running = Trial(new_loop)
    try:
        yield running
    finally:
        running.close()


loops = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
EXAMPLES = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@loops
def test_no_bytes_after_the_handshake_can_do_harm(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with trial(new_loop) as running:

        @EXAMPLES
        @given(after_handshake, cuts, endings)
        def explore(data: bytes, pieces: list[int], ending: str) -> None:
            running.websocket(data, pieces, ending)

        explore()


@loops
def test_no_bytes_from_the_start_can_do_harm(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with trial(new_loop) as running:

        @EXAMPLES
        @given(from_the_start, cuts, endings)
        def explore(data: bytes, pieces: list[int], ending: str) -> None:
            running.anything(data, pieces, ending)

        explore()
