"""Answers of the reading process: short ones do not wait for long ones."""

from __future__ import annotations

import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from livelog.store.reader.calls import FAULT, HEAD, OK, PART, unframed
from livelog.store.reader.outbox import PART_BYTES, Outbox

Ends = tuple[Outbox, socket.socket]
Answer = tuple[int, bytes, bytes]

LONG = bytes(range(256)) * (40 * PART_BYTES // 256)


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        theirs.setblocking(False)
        yield Outbox(ours), theirs


def taken(outbox: Outbox, server: socket.socket) -> list[Answer]:
    """Take everything, as the server does."""
    received, found = bytearray(), list[Answer]()
    while outbox:
        outbox.send()
        with suppress(BlockingIOError):
            while True:
                received += server.recv(1 << 16)
        for data in unframed(received):
            found.append((*HEAD.unpack_from(data), data[HEAD.size :]))
    assert not received
    return found


def test_a_short_answer_goes_before_the_rest_of_a_long_one(ends: Ends) -> None:
    outbox, server = ends
    outbox.put(1, OK, LONG)
    outbox.send()
    outbox.put(2, FAULT, b"short")
    found = taken(outbox, server)
    place = found.index((2, FAULT, b"short"))
    parts = [each for each in found if each[0] == 1]
    assert place < len(parts)
    assert b"".join(data for *_, data in parts) == LONG
    assert [status for _, status, _ in parts] == [PART] * (len(parts) - 1) + [OK]


def test_long_answers_are_sent_in_turn(ends: Ends) -> None:
    outbox, server = ends
    outbox.put(1, OK, LONG)
    outbox.put(2, OK, LONG[: 2 * PART_BYTES])
    numbers = [number for number, *_ in taken(outbox, server)]
    assert numbers.index(2) == 1
    assert numbers[-1] == 1


def test_the_rest_of_an_answer_that_nobody_waits_for_is_not_sent(ends: Ends) -> None:
    outbox, server = ends
    outbox.put(1, OK, LONG)
    outbox.send()
    outbox.drop(1)
    outbox.drop(7)
    assert sum(len(data) for *_, data in taken(outbox, server)) < len(LONG)
    outbox.put(3, OK, LONG)
    outbox.drop(3)
    assert not outbox


def test_it_is_full_until_most_has_been_sent(ends: Ends) -> None:
    outbox, server = ends
    for number in range(1, 5):
        outbox.put(number, OK, LONG)
    assert outbox.is_full
    taken(outbox, server)
    assert not outbox.is_full


def test_a_long_answer_is_not_copied(ends: Ends) -> None:
    """Copies of it would take more memory than the answer."""
    outbox, server = ends
    tracemalloc.start()
    outbox.put(1, OK, LONG)
    while outbox:
        outbox.send()
        with suppress(BlockingIOError):
            while server.recv(PART_BYTES):
                pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(LONG) / 4
