"""The audit log: bounded, whatever clients repeat."""

from __future__ import annotations

import pytest

from livelog.errors import RefusedError
from livelog.net.audit import Audit
from tests.support.clock import Clock

FAR = "203.0.113.9"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_happens_often_is_told_once_a_minute_with_how_often(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit(clock)
    caplog.set_level("INFO", "livelog.audit")
    for _ in range(50):
        audit.report("kind", FAR, "did it")
    clock.now += 61
    audit.report("kind", FAR, "did it")
    assert caplog.messages == [f"{FAR} did it", f"{FAR} did it (and 49 times more)"]


def test_all_addresses_together_get_so_many_lines(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit(clock)
    caplog.set_level("INFO", "livelog.audit")
    for number in range(1000):
        audit.report("kind", f"10.0.0.{number}", "did it")
    assert len(caplog.messages) == 100
    clock.now += 60
    audit.report("kind", FAR, "did it\n\x1b[2J")
    assert caplog.messages[-1] == rf"{FAR} did it\n\x1b[2J (and 900 lines were left out)"
    assert len(audit._logged) <= 2000


def test_a_refusal_about_no_field_names_none(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "livelog.audit")
    Audit(clock).refused(FAR, RefusedError(1001, "", "the server is shutting down"))
    Audit(clock).refused(FAR, RefusedError(1008, "origin", "is foreign"))
    assert caplog.messages == [
        f"{FAR} was refused: 1001 the server is shutting down",
        f"{FAR} was refused: 1008 origin: is foreign",
    ]
