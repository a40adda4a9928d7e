"""Moments: every form of RFC 3339, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livelog.errors import RefusedError
from livelog.wire.timestamps import format_moment, microseconds, parse_moment

NOON = 1_764_763_200_000_000
NEW_YEAR = 1_483_228_800_000_000  # 2017-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-12-03T12:00:00Z", NOON),
        ("2025-12-03t12:00:00z", NOON),
        ("2025-12-03 12:00:00Z", NOON),
        ("2025-12-03T12:00:00-00:00", NOON),
        ("2025-12-03T13:00:00+0100", NOON),  # what stores may hold from earlier versions
        ("2025-12-04T11:59:00+23:59", NOON),
        ("2025-12-02T12:01:00-23:59", NOON),
        ("2025-12-03T12:00:00.5Z", NOON + 500_000),
        ("2025-12-03T12:00:00.123456789Z", NOON + 123_456),
        ("2025-12-03T12:00:00.9999999Z", NOON + 999_999),
        ("1969-12-31T23:59:59.9999999Z", -1),
        (f"2025-12-03T12:00:00.{'9' * 1000}Z", NOON + 999_999),
        ("0000-01-01T00:00:00Z", -62_167_219_200_000_000),
        ("0000-02-29T00:00:00Z", -62_167_219_200_000_000 + 59 * 86_400_000_000),
        ("0001-01-01T00:00:00+00:01", -62_135_596_860_000_000),
        ("9999-12-31T23:59:59.999999-23:59", 253_402_387_139_999_999),
    ],
)
def test_a_moment_is_read_in_every_form(text: str, moment: int) -> None:
    assert parse_moment(text, "") == moment


YEAR_0, YEAR_10_000 = -62_167_219_200_000_000, 253_402_300_800_000_000


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOON, "2025-12-03T12:00:00Z"),
        (NOON + 500_000, "2025-12-03T12:00:00.5Z"),
        (NOON + 1, "2025-12-03T12:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (YEAR_0, "0000-01-01T00:00:00Z"),
        (YEAR_0 + 59 * 86_400_000_000, "0000-02-29T00:00:00Z"),
        (YEAR_10_000 - 1, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_moment_is_written_in_utc(moment: int, text: str) -> None:
    assert format_moment(moment) == text


@given(st.integers(YEAR_0, YEAR_10_000 - 1))
def test_a_moment_that_is_written_is_read_again(moment: int) -> None:
    assert parse_moment(format_moment(moment), "") == moment


@pytest.mark.parametrize("moment", [YEAR_0 - 1, YEAR_10_000, -(10**30), 10**30])
def test_a_moment_without_a_year_of_four_digits_is_not_written(moment: int) -> None:
    with pytest.raises(ValueError, match="four digits"):
        format_moment(moment)


@pytest.mark.parametrize(
    "text",
    [
        "2016-12-31T23:59:60Z",
        "2016-12-31T23:59:60.999Z",
        "2016-12-31T15:59:60-08:00",
        "2017-01-01T05:29:60+05:30",
        "2017-01-01T23:58:60+23:59",
    ],
)
def test_a_leap_second_belongs_to_the_day_it_ends(text: str) -> None:
    assert parse_moment(text, "") == NEW_YEAR - 1


def test_a_leap_second_at_the_end_of_the_calendar_is_read() -> None:
    assert parse_moment("9999-12-31T23:59:60Z", "") == 253_402_300_800_000_000 - 1
    assert parse_moment("0000-01-31T23:59:60Z", "") < parse_moment("0000-02-01T00:00:00Z", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2025-12-03",
        "2025-12-03T12:00Z",
        "2025-12-03T12:00:00",
        "2025-12-03T12:00:00.Z",
        "2025-12-03T12:00:00,5Z",
        "2025-12-03T24:00:00Z",
        "2025-12-03T12:60:00Z",
        "2025-12-03T12:00:60Z",
        "2025-12-03T23:59:61Z",
        "2025-12-03T23:59:60Z",  # not the last day of a month
        "2016-12-31T23:59:60+01:00",
        "2025-02-29T12:00:00Z",
        "2025-13-01T12:00:00Z",
        "2025-00-01T12:00:00Z",
        "0000-02-30T00:00:00Z",
        "2025-12-03T12:00:00+24:00",
        "2025-12-03T12:00:00+01",
        "2025-12-03T12:00:00+01:60",
        "+2025-12-03T12:00:00Z",
        "12025-12-03T12:00:00Z",
        " 2025-12-03T12:00:00Z",
        "2025-12-03T12:00:00Z\n",
        "2025-12-03T12:00:00\u200bZ",
        "\u0662\u0660\u0662\u0665-12-03T12:00:00Z",
        "2025-12-03T12:00:00.\u0665Z",
        "2025\u201112\u201103T12:00:00Z",
        "2025-12-03T12:00:00\u221201:00",
    ],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_moment(text, "filters.date_to")
    assert caught.value.field == "filters.date_to"
    assert "RFC 3339" in caught.value.issue


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)),
    st.integers(-1439, 1439),
)
def test_it_agrees_with_the_calendar_of_python(naive: datetime, minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    text = naive.replace(tzinfo=zone).isoformat()
    assert parse_moment(text, "") == microseconds(datetime.fromisoformat(text).astimezone(UTC))
