"""Batches in the stream: what goes in comes out, and what others write is told apart."""

from __future__ import annotations

import json
from contextlib import suppress

import hypothesis.strategies as st
import pytest
import zstandard
from hypothesis import given

from livelog.auth.principal import PROGRAM
from livelog.engine.local import LocalEngine
from livelog.engine.nats import batch
from livelog.engine.nats.batch import COMPRESSED, PLAIN, MalformedError, UnknownError
from livelog.log.ingest import Ingest, convert
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.store.memory import open_memory
from livelog.wire.record import Draft
from tests.support.strategies import messages
from tests.support.wire import SAMPLES, Json, user

BASE = 1_764_763_200_000_000
numbers = st.integers(1, 2**40)
indexes = st.integers(0, batch.MAX_MESSAGES - 1)


@given(numbers, indexes, numbers, indexes)
def test_seqs_rise_with_the_place_and_fit_into_a_double(a: int, i: int, b: int, j: int) -> None:
    first, second = batch.seq_of(BASE, a, i), batch.seq_of(BASE, b, j)
    assert (first < second) == ((a, i) < (b, j))
    assert batch.place_of(BASE, first) == a
    assert BASE < first < 2**53


@pytest.mark.parametrize("seq", [0, 1, BASE - 1, BASE, BASE + batch.MAX_MESSAGES - 1])
def test_what_is_from_before_the_first_batch_has_the_place_0(seq: int) -> None:
    assert batch.place_of(BASE, seq) == 0


@given(st.lists(st.integers(1, batch.MAX_BYTES // 3), max_size=20), st.integers(1, 2**20))
def test_a_batch_takes_as_many_messages_as_fit_but_one_at_least(
    sizes: list[int], most: int
) -> None:
    count = batch.fitting(sizes, most)
    assert bool(count) == bool(sizes)
    assert count <= 1 or sum(sizes[:count]) + count <= most
    if count < len(sizes):
        assert sum(sizes[: count + 1]) + count + 1 > most


def test_a_batch_has_as_many_messages_as_it_has_seqs() -> None:
    assert batch.fitting([1] * 5000) == batch.MAX_MESSAGES


@given(st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line), min_size=1))
def test_what_goes_in_comes_out(lines: list[bytes]) -> None:
    format, body = batch.encode(lines)
    assert format == (PLAIN if sum(map(len, lines)) + len(lines) - 1 < 1024 else COMPRESSED)
    assert batch.decode(format, body) == lines


def packed(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


@pytest.mark.parametrize(
    ("format", "body"),
    [
        ("", b"{}"),
        (PLAIN, b""),
        (COMPRESSED, packed(b"")),
        (COMPRESSED, b"no zstd"),
        (COMPRESSED, packed(b"x" * 2000)[:-5]),
        (COMPRESSED, packed(bytes(100 * 2**20))),
        (PLAIN, b"\n".join([b"{}"] * (batch.MAX_MESSAGES + 1))),
    ],
)
def test_what_nobody_can_read_is_malformed(format: str, body: bytes) -> None:
    with pytest.raises(MalformedError):
        batch.decode(format, body)


@pytest.mark.parametrize("format", ["ndjson/2", "redaction/1", "ndjson+lz4/1"])
def test_another_format_is_unknown_whatever_the_body(format: str) -> None:
    with pytest.raises(UnknownError, match=format.replace("+", r"\+")):
        batch.decode(format, b"")


@given(st.binary(), st.sampled_from([PLAIN, COMPRESSED]))
def test_no_body_raises_anything_else(body: bytes, format: str) -> None:
    try:
        for line in batch.decode(format, body):
            batch.draft(line)
    except (MalformedError, UnknownError):
        pass


def admitted(message: Json) -> Draft:
    log = Log(Window(10, 10**6), open_memory())
    engine = LocalEngine(lambda: 0.0)
    engine.start(log)
    return Ingest(engine, lambda: 1e9, 1 << 20).admit(PROGRAM, convert(message))


@given(st.lists(messages, min_size=1, max_size=5))
def test_all_nodes_see_every_message_as_it_was_admitted(sent: list[Json]) -> None:
    """One that only its own node could read would stop all the others."""
    drafts = [admitted(message) for message in sent]
    lines = batch.decode(*batch.encode([draft.payload for draft in drafts]))
    assert [batch.draft(line) for line in lines] == [d._replace(named=True) for d in drafts]
    names = [batch.named(line) for line in lines]
    assert names == [(draft.id, batch.author(draft.payload)) for draft in drafts]


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: message["type"])
def test_a_message_from_the_stream_is_the_one_that_was_admitted(message: Json) -> None:
    for sent in (message, {k: v for k, v in message.items() if k not in ("id", "timestamp")}):
        draft = admitted(sent)
        assert batch.draft(draft.payload) == draft._replace(named=True)


@pytest.mark.parametrize(
    "message",
    [
        {},
        [],
        {"type": "reaction", "id": "a", "timestamp": "2025-12-03T12:00:00Z"},
        user(id="a", timestamp="2025-12-03T12:00:00Z", mood="new"),
        user(id="a"),
        user(timestamp="2025-12-03T12:00:00Z"),
        user(id="a", timestamp="yesterday"),
    ],
)
def test_a_message_of_another_version_is_unknown(message: Json) -> None:
    with pytest.raises(UnknownError):
        batch.draft(json.dumps(message).encode())


@pytest.mark.parametrize("line", [b"hello", b"{", b'{"type":"user\xff"}', b""])
def test_what_is_no_json_is_malformed(line: bytes) -> None:
    with pytest.raises(MalformedError):
        batch.draft(line)


foreign_lines = (
    st.binary(max_size=200)
    | messages.map(lambda message: json.dumps(message).encode())
    | st.integers(1, 100_000).map(lambda depth: b'{"type":"user","metadata":' + b"[" * depth)
    | st.integers(1, 100_000).map(lambda n: b'{"metadata":' + b"[" * n + b"]" * n + b"}")
)
foreign_bodies = st.lists(foreign_lines, max_size=4).map(b"\n".join)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A body, compressed or not, of which some bytes are others, or missing."""
    body = draw(foreign_bodies)
    if draw(st.booleans()):
        body = zstandard.ZstdCompressor().compress(body)
    for _ in range(draw(st.integers(0, 3)) if body else 0):
        at = draw(st.integers(0, len(body) - 1))
        body = body[:at] + draw(st.binary(max_size=2)) + body[at + 1 :]
    return body


@given(st.sampled_from([PLAIN, COMPRESSED, "", "ndjson/2", "\0"]), damaged())
def test_whatever_a_stranger_writes_is_malformed_or_unknown_at_worst(
    format: str, body: bytes
) -> None:
    """Anything else would end the task that follows the stream."""
    try:
        lines = batch.decode(format, body)
    except (MalformedError, UnknownError):
        return
    for line in lines:
        for read in (batch.draft, batch.named):
            with suppress(MalformedError, UnknownError):
                read(line)
