"""The stream's settings: what is asked for fits, and what does not fit is named."""

from __future__ import annotations

from typing import Any

import pytest

from livelog.engine.nats import settings
from livelog.engine.nats.batch import seq_of
from livelog.engine.nats.places import Rebase
from livelog.engine.nats.stream import Bounds
from livelog.wire.record import Origin

NOW = 1_764_763_200.5


def config(**changes: Any) -> dict[str, Any]:
    return {**settings.wanted("prod", NOW, 3), **changes}


def test_what_is_asked_for_fits() -> None:
    assert settings.unfit("prod", config()) == ""
    bounds = settings.bounds_of({"config": config(), "state": {"first_seq": 0, "last_seq": 0}})
    begun = Bounds(1_764_763_200_500_000, 900_000_000, first=1, last=0)
    assert bounds == begun._replace(max_age=7 * 86_400_000_000)


def test_seqs_stay_exact_in_javascript_if_the_clock_is_centuries_off() -> None:
    made = settings.wanted("prod", 1e12, 1)
    bounds = settings.bounds_of({"config": made, "state": {"first_seq": 0, "last_seq": 0}})
    assert seq_of(bounds.base, 2**40) < 2**53


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_age", 10**9),
        ("num_replicas", 1),
        ("max_bytes", 2**30),
        ("compression", "s2"),
        ("max_msg_size", -1),
        ("max_msg_size", 8 * 2**20),
    ],
)
def test_an_operator_may_change_what_nothing_rests_on(setting: str, value: object) -> None:
    assert settings.unfit("prod", config(**{setting: value})) == ""


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("subjects", ["livelog.>"]),
        ("storage", "memory"),
        ("retention", "workqueue"),
        ("discard", "new"),
        ("allow_direct", False),
        ("deny_purge", False),
        ("allow_rollup_hdrs", True),
        ("republish", None),
        ("republish", {"src": "livelog.prod.log", "dest": "elsewhere"}),
        ("max_msg_size", 1000),
        ("duplicate_window", 10**9),
    ],
)
def test_a_setting_that_does_not_fit_is_named(setting: str, value: object) -> None:
    assert settings.unfit("prod", config(**{setting: value})).startswith(setting)


@pytest.mark.parametrize(
    ("metadata", "issue"),
    [
        (None, "its version is ''"),
        ({}, "its version is ''"),
        ({"livelog.version": "2", "livelog.base": "1", "livelog.span": "1"}, "its version is '2'"),
        ({"livelog.version": "1", "livelog.base": "x", "livelog.span": "1"}, "its metadata has no"),
        ({"livelog.version": "1"}, "its metadata has no"),
        (
            {
                "livelog.version": "1",
                "livelog.base": "1",
                "livelog.span": "1",
                "livelog.rebased": "1:x:3",
            },
            "rebased in its metadata is '1:x:3'",
        ),
    ],
)
def test_a_stream_of_somebody_else_or_of_another_version_is_named(
    metadata: dict[str, str] | None, issue: str
) -> None:
    assert settings.unfit("prod", config(metadata=metadata)).startswith(issue)


def test_a_log_joins_where_it_misses_nothing() -> None:
    whole = Bounds(1000, 1, first=1, last=9)
    assert (whole.joins_from, whole.gone_upto) == (0, 1000)
    cut = Bounds(1000, 1, first=5, last=9, certain=7)
    assert cut.joins_from == seq_of(1000, 4)
    assert cut.gone_upto == seq_of(1000, 7) - 1


def test_a_log_that_was_a_single_servers_is_joined_by_what_has_all_of_that() -> None:
    whole = Bounds(1000, 1, first=1, last=9, imported=990, began=7)
    assert whole.origin == Origin(7, joins_from=990, gone_upto=1000)


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({}, (0, 0)),
        ({"max_msgs": -1, "max_msgs_per_subject": -1, "max_bytes": -1}, (0, 0)),
        ({"max_msgs": 70, "max_bytes": 10**9}, (70, 10**9)),
        ({"max_msgs": 70, "max_msgs_per_subject": 60}, (60, 0)),  # all have one subject
    ],
)
def test_each_bound_of_a_stream_is_read(changes: dict[str, Any], most: tuple[int, int]) -> None:
    made, state = config(max_age=0, **changes), {"first_seq": 3, "last_seq": 9, "bytes": 400}
    assert settings.unfit("prod", made) == ""
    bounds = settings.bounds_of({"config": made, "state": state})
    assert (bounds.max_entries, bounds.max_bytes, bounds.bytes) == (*most, 400)
    assert bounds.forgets == any(most)


def test_rebases_are_read_as_they_are_written() -> None:
    rebases = (Rebase(5, 2**40, 2**30), Rebase(9, 2**41, 7))
    metadata = {**config()["metadata"], "livelog.rebased": settings.metadata_of(rebases)}
    assert settings.unfit("prod", config(metadata=metadata)) == ""
    bounds = settings.bounds_of(
        {"config": config(metadata=metadata), "state": {"first_seq": 2, "last_seq": 12}}
    )
    assert (bounds.rebases, bounds.first, bounds.last) == (rebases, 2, 12)
    assert bounds.end == seq_of(2**41, 12, 1023)
