"""Buckets of time: they follow one another without a gap, and the clocks of their zone."""

from __future__ import annotations

import random

import pytest

from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.index.analysis.calendar import SECOND, buckets, coarser, zone_named
from livelog.wire.timestamps import format_moment, parse_moment

HOUR = 3600
DAY = 24 * HOUR

AROUND = [
    ("Europe/Berlin", "2024-03-31T01:00:00Z"),
    ("Europe/Berlin", "2024-10-27T01:00:00Z"),
    ("Europe/Berlin", "1893-04-01T00:00:00Z"),  # until then the sun ruled
    ("America/Havana", "2024-11-03T05:00:00Z"),  # midnight comes twice
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),  # midnight is leapt over
    ("America/Sao_Paulo", "2018-02-18T02:00:00Z"),  # the clock is put back over midnight
    ("Australia/Lord_Howe", "2024-04-06T15:00:00Z"),  # by half an hour
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),  # a day is left out
    ("Africa/Monrovia", "1972-01-07T00:44:30Z"),
    ("America/New_York", "0001-01-01T00:00:00Z"),
    ("Asia/Kathmandu", "9999-12-31T23:59:59Z"),
    ("UTC", "1969-12-31T23:59:59Z"),
    ("", "0000-01-01T00:00:00Z"),
]
LENGTHS = [1, 7, 60, 900, HOUR, 2 * HOUR, 6 * HOUR, 50_000, DAY, 7 * DAY, 31 * DAY]


@pytest.mark.parametrize(("zone", "moment"), AROUND)
def test_a_moment_is_in_one_bucket(zone: str, moment: str) -> None:
    dice, middle = random.Random(moment), parse_moment(moment, "")
    for length in LENGTHS:
        bucket = buckets(length * SECOND, zone)
        for spread in [3 * DAY, 2 * HOUR] * 20:
            time = middle + dice.randint(-spread * SECOND, spread * SECOND)
            found = bucket(time)
            assert found.start <= time < found.end
            inside = [found.start, found.end - 1, dice.randrange(found.start, found.end)]
            assert [bucket(each) for each in inside] == [found] * 3, (length, time)
            assert bucket(found.end).start == found.end


def starts(zone: str, length: int, first: str, count: int) -> list[str]:
    bucket, found = buckets(length * SECOND, zone), list[str]()
    time = parse_moment(first, "")
    for _ in range(count):
        span = bucket(time)
        found.append(format_moment(span.start))
        time = span.end
    return found


def test_whole_days_begin_at_local_midnight() -> None:
    assert starts("Europe/Berlin", DAY, "2024-03-30T12:00:00Z", 3) == [
        "2024-03-29T23:00:00Z",
        "2024-03-30T23:00:00Z",  # a day of 23 hours
        "2024-03-31T22:00:00Z",
    ]
    assert starts("Europe/Berlin", DAY, "2024-10-27T12:00:00Z", 2) == [
        "2024-10-26T22:00:00Z",  # one of 25
        "2024-10-27T23:00:00Z",
    ]
    assert starts("America/Havana", DAY, "2024-11-03T12:00:00Z", 2) == [
        "2024-11-03T04:00:00Z",  # the first of two midnights
        "2024-11-04T05:00:00Z",
    ]


def test_hours_go_on_where_the_clock_is_put_back() -> None:
    assert starts("Europe/Berlin", HOUR, "2024-10-27T00:30:00Z", 3) == [
        "2024-10-27T00:00:00Z",
        "2024-10-27T01:00:00Z",
        "2024-10-27T02:00:00Z",
    ]
    # Six hours of the clock are seven then.
    assert starts("Europe/Berlin", 6 * HOUR, "2024-10-26T23:00:00Z", 2) == [
        "2024-10-26T22:00:00Z",
        "2024-10-27T05:00:00Z",
    ]


PATHS = ["../../etc/passwd", "/etc/localtime", "Europe/../UTC", "Europe/Berlin\0", "Europe"]
LOCAL = ["localtime", "posixrules", "posix/UTC", "right/UTC"]  # files beside those of IANA's zones
OTHERS = ["Nowhere/Town", "leapseconds", "zone.tab", "__proto__", "", " UTC", "a" * 64]


@pytest.mark.parametrize("name", [*PATHS, *LOCAL, *OTHERS])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(RefusedError, match="unknown time zone") as refused:
        zone_named(name)
    assert refused.value.code == PROTOCOL_ERROR
    assert "Europe/Berlin" in refused.value.details["allowed"]


def test_in_a_zone_more_than_a_day_is_whole_days() -> None:
    with pytest.raises(RefusedError, match="whole days") as refused:
        buckets(36 * HOUR * SECOND, "Europe/Berlin")
    for allowed in refused.value.details["allowed"]:
        buckets(allowed * SECOND, "Europe/Berlin")
    buckets(36 * HOUR * SECOND, "UTC")


@pytest.mark.parametrize("length", [1, 7, 60, HOUR, 50_000, DAY, 3 * DAY])
def test_longer_buckets_are_multiples_and_may_be_used_in_a_zone(length: int) -> None:
    interval = length * SECOND
    for _ in range(40):
        longer = coarser(interval)
        assert longer > interval
        assert longer % interval == 0 or longer % (DAY * SECOND) == 0
        buckets(longer, "Europe/Berlin")
        interval = longer
