"""The parser of requests: bytes in, events out, however the bytes are cut."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livelog.net.http.errors import status_of
from livelog.net.http.parser import (
    MAX_HEAD_BYTES,
    ContinueExpected,
    Event,
    HeadComplete,
    Malformed,
    RequestComplete,
    RequestParser,
    UpgradeRequested,
)
from tests.support.smuggling import SMUGGLED, TOLERATED
from tests.support.wire import request, upgrade

MAX_BODY = 1000
CHUNKED = request("POST", "/c", Transfer_Encoding="chunked") + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


H2C = request("POST", "/h", b"body", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def events(*pieces: bytes) -> list[Event]:
    parser = RequestParser(MAX_BODY)
    return [event for piece in pieces for event in parser.feed(piece)]


def kinds(found: list[Event]) -> list[type[Event]]:
    return [type(event) for event in found]


def described(found: list[Event]) -> list[object]:
    """All that can be told of events; the start of another protocol may come in pieces."""
    return [event._replace(rest=b"") if isinstance(event, UpgradeRequested) else (
        (type(event), event.request, str(event.refused), status_of(event.refused))
        if isinstance(event, Malformed) else event
    ) for event in found]  # fmt: skip


def test_a_request_has_a_head_and_an_end() -> None:
    found = events(request("POST", "/x?a=b", b"body", Content_Type="text/plain"))
    assert kinds(found) == [HeadComplete, RequestComplete]
    got = found[1].request
    assert (got.method, got.path, got.query, bytes(got.body)) == ("POST", "/x", {"a": "b"}, b"body")
    assert got.header("content-type") == "text/plain"


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    [_, done] = events(b"GET / HTTP/1.1\r\nHost: \t here \t\r\nX: a b \r\nY: \r\n\r\n")
    assert done.request.headers == [("host", "here"), ("x", "a b"), ("y", "")]


def test_chunks_are_put_together_and_a_trailer_is_dropped() -> None:
    trailer = CHUNKED.removesuffix(b"\r\n") + b"Host: there\r\n\r\n"
    for data in (CHUNKED, trailer):
        [_, done] = events(data)
        assert bytes(done.request.body) == b"abcde"
        assert len(done.request.all("host")) == 1


def test_a_client_that_expects_it_is_to_be_told_to_continue() -> None:
    head = request("POST", "/x", Content_Length="5", Expect="100-continue")
    assert kinds(events(head)) == [HeadComplete, ContinueExpected]
    head = request("POST", "/x", Content_Length=str(MAX_BODY + 1), Expect="100-continue")
    assert kinds(events(head)) == [HeadComplete, Malformed]


def test_a_client_of_http_1_0_is_not_told_to_continue() -> None:
    """It knows no interim responses, and would take this one for the answer."""
    whole = request("POST", "/x", b"body", Expect="100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert kinds(events(whole)) == [HeadComplete, RequestComplete]


def test_an_upgrade_ends_the_stream_and_brings_what_follows() -> None:
    parser = RequestParser(MAX_BODY)
    [_, asked] = parser.feed(upgrade() + b"frames")
    assert isinstance(asked, UpgradeRequested)
    assert asked.rest == b"frames"
    assert parser.feed(request("GET", "/")) == []


OFFERS = {
    "curl": {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAMA"},
    "TLS": {"Connection": "upgrade", "Upgrade": "TLS/1.2, HTTP/1.1"},
    "a list": {"Connection": "keep-alive, Upgrade", "Upgrade": "h2c, h2, websocket2,"},
    "nothing": {"Connection": "Upgrade", "Upgrade": ","},
    "not this connection": {"Upgrade": "websocket"},
}


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())
def test_an_offer_of_another_protocol_is_passed_over(offer: dict[str, str]) -> None:
    chunks = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    data = (
        request("POST", "/1", b"body", **offer)
        + (request("POST", "/2", Transfer_Encoding="chunked", **offer) + chunks)
        + request("GET", "/3", **offer)
        + request("POST", "/4", b"body")
    )
    done = [event.request for event in events(data) if isinstance(event, RequestComplete)]
    assert kinds(events(data)) == [HeadComplete, RequestComplete] * 4
    assert [(asked.path, bytes(asked.body)) for asked in done] == [
        *(("/1", b"body"), ("/2", b"abcde"), ("/3", b""), ("/4", b"body"))
    ]
    assert all(asked.header("upgrade") == offer["Upgrade"] for asked in done[:3])
    assert all(asked.keep_alive for asked in done)


def test_of_http_1_0_every_offer_is_passed_over() -> None:
    data = upgrade().replace(b"HTTP/1.1", b"HTTP/1.0")
    [_, done] = events(data)
    assert isinstance(done, RequestComplete)
    assert not done.request.keep_alive


def test_the_size_of_a_body_is_bounded_behind_an_offer_too() -> None:
    offer = {"Connection": "Upgrade", "Upgrade": "h2c"}
    large = b"x" * (MAX_BODY + 1)
    chunked = request("POST", "/", Transfer_Encoding="chunked", **offer)
    for data in (request("POST", "/", large, **offer), chunked + b"%x\r\n" % len(large) + large):
        last = events(data)[-1]
        assert isinstance(last, Malformed)
        assert status_of(last.refused) == 413


def test_many_offers_at_once_are_passed_over_in_linear_time() -> None:
    data = request("GET", "/", Connection="Upgrade", Upgrade="h2c") * 3000
    began = time.thread_time()
    assert len(events(data)) == 6000
    assert time.thread_time() - began < 2


@pytest.mark.parametrize("websocket", ["websocket", "WebSocket", "h2c, websocket", "websocket,h2c"])
def test_a_websocket_may_be_offered_among_others(websocket: str) -> None:
    [_, asked] = events(upgrade(Upgrade=websocket))
    assert isinstance(asked, UpgradeRequested)


@pytest.mark.parametrize("data", [PREFACE, b"GET / HTTP/3.0\r\n\r\n"])
def test_a_later_version_is_told_which_one_is_spoken(data: bytes) -> None:
    [refused] = events(data)
    assert isinstance(refused, Malformed)
    assert status_of(refused.refused) == 505
    assert "HTTP/1.1" in refused.refused.issue


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (request("GET", "/", X="x" * MAX_HEAD_BYTES), 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 3 * MAX_HEAD_BYTES, 431),
        (b"\r\n" * 2 * MAX_HEAD_BYTES, 431),
        (request("POST", "/", b"x" * (MAX_BODY + 1)), 413),
        (CHUNKED.replace(b"3\r\nabc", b"%x\r\n" % (MAX_BODY + 1) + b"x" * (MAX_BODY + 1)), 413),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_what_is_too_large_or_no_http_ends_the_stream(data: bytes, status: int, size: int) -> None:
    found = events(*(data[n : n + size] for n in range(0, len(data), size)), request("GET", "/"))
    [last] = [event for event in found if isinstance(event, Malformed)]
    assert found[-1] is last
    assert status_of(last.refused) == status


def test_a_body_of_exactly_the_largest_size_is_taken() -> None:
    [_, done] = events(request("POST", "/", b"x" * MAX_BODY))
    assert isinstance(done, RequestComplete)


def test_a_failure_to_keep_a_request_is_not_the_clients() -> None:
    class Full(RequestParser):
        def on_body(self, body: bytes) -> None:
            raise MemoryError

    with pytest.raises(MemoryError):
        Full(100).feed(request("POST", "/api/messages", body=b"x" * 10))


def test_a_closed_parser_takes_nothing() -> None:
    parser = RequestParser(MAX_BODY)
    parser.close()
    assert parser.feed(request("GET", "/")) == []


PIECES = [
    request("GET", "/healthz"), request("POST", "/x", b"body"), CHUNKED, upgrade(), b"garbage\r\n",
    request("POST", "/x", b"x" * (MAX_BODY + 1)), request("GET", "/", Connection="close"), b"\r\n",
    request("HEAD", "/", X="y" * (MAX_HEAD_BYTES - 100)), H2C, PREFACE,
    *SMUGGLED.values(), *TOLERATED.values(),
]  # fmt: skip


@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map(b"".join),
    st.lists(st.integers(1, 200), max_size=30),
)
def test_however_the_bytes_are_cut_the_events_are_the_same(data: bytes, cuts: list[int]) -> None:
    pieces, rest = [], data
    for size in cuts:
        pieces.append(rest[:size])
        rest = rest[size:]
    assert described(events(*pieces, rest)) == described(events(data))
