"""The stream's settings: what is asked for fits, and what does not fit is named."""

from __future__ import annotations

from typing import Any

import pytest

from livelog.engine.nats import settings
from livelog.engine.nats.batch import seq_of
from livelog.engine.nats.stream import Bounds

NOW = 1_764_763_200.5


def config(**changes: Any) -> dict[str, Any]:
    return {**settings.wanted("prod", NOW, 3), **changes}


def test_what_is_asked_for_fits() -> None:
    assert settings.unfit("prod", config()) == ""
    assert settings.base_and_span(config()) == (1_764_763_200_500_000, 900_000_000)


def test_seqs_stay_exact_in_javascript_if_the_clock_is_centuries_off() -> None:
    base, _ = settings.base_and_span(settings.wanted("prod", 1e12, 1))
    assert seq_of(base, 2**40) < 2**53


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
