"""How near a stream is to forgetting the last repetition of acts."""

from __future__ import annotations

import pytest

from livelog.engine.nats import batch
from livelog.engine.nats.spent import Spent
from livelog.engine.nats.stream import Bounds, Entry
from livelog.wire.acts import Renewed
from livelog.wire.timestamps import timestamp

BASE, LARGEST = 10**15, 10_000
NEW = Bounds(BASE, 900, 1, 0, now=BASE)


def entry(number: int, size: int = 0) -> Entry:
    return Entry(number, number - 1, BASE + 100 * number, "", BASE, batch.PLAIN, bytes(size))


def renewed(number: int, time: int = BASE) -> Renewed:
    """The note of a repetition behind the entry with this number."""
    upto = batch.seq_of(BASE, number, batch.MAX_MESSAGES - 1)
    return Renewed(by="", at=timestamp(time / 1_000_000), upto=upto)


def test_what_keeps_everything_forgets_nothing() -> None:
    spent = Spent(NEW, 0, None, LARGEST)
    for number in range(1, 1000):
        spent.take(entry(number, LARGEST), renews=False)
    bounds = NEW._replace(last=999, now=10 * BASE, bytes=10**9)
    assert not bounds.forgets
    assert spent.share(bounds) == 0
    assert spent.share(bounds._replace(first=2)) == 1  # though somebody has deleted the first


def test_the_bound_counts_of_which_most_is_spent() -> None:
    spent = Spent(NEW, 0, None, LARGEST)
    for number in range(1, 11):
        spent.take(entry(number, 488), renews=False)  # and its head
    bounds = NEW._replace(last=10, now=BASE + 1000)
    assert spent.share(bounds._replace(max_age=2000)) == 0.5
    assert spent.share(bounds._replace(max_entries=40)) == 0.25
    assert spent.share(bounds._replace(max_bytes=12_500)) == 0.8
    assert spent.share(bounds._replace(max_age=2000, max_entries=40, max_bytes=12_500)) == 0.8
    spent.take(entry(11), renews=True)
    later = bounds._replace(last=11, now=BASE + 1100 + 20)
    assert spent.share(later._replace(max_age=2000, max_entries=40, max_bytes=12_500)) == 0.01


@pytest.mark.parametrize(
    ("renewal", "kept", "share"),
    [
        (None, 4000, 0.4),  # no more than there is
        (None, 10**9, 10 * (LARGEST + 512) / 10_000),  # nor than there can be
        (renewed(10), 4000, 0),
    ],
)
def test_a_server_that_starts_counts_as_much_as_may_have_come(
    renewal: Renewed | None, kept: int, share: float
) -> None:
    bounds = NEW._replace(last=10, bytes=kept, max_bytes=10_000)
    assert Spent(bounds, 10, renewal, LARGEST).share(bounds) == share


def test_a_repetition_that_is_gone_is_to_be_made_again() -> None:
    bounds = NEW._replace(first=11, last=20, max_age=10**9)
    assert Spent(bounds, 20, renewed(10), LARGEST).share(bounds) < 1
    assert Spent(bounds, 20, renewed(9), LARGEST).share(bounds) == 1
    assert Spent(bounds, 20, None, LARGEST).share(bounds) == 1
