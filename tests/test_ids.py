"""Ids are UUIDs of version 7: well formed, sorted by time, never the same twice."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid

import hypothesis.strategies as st
from hypothesis import given

from livelog.wire.ids import uuid7
from tests.support.process import ROOT

times = st.integers(0, 2**48 - 1)
FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@given(times)
def test_an_id_is_a_uuid_of_version_7_that_holds_its_time(milliseconds: int) -> None:
    made = uuid7(milliseconds)
    assert FORM.fullmatch(made)
    assert uuid.UUID(made).variant == uuid.RFC_4122
    assert uuid.UUID(made).int >> 80 == milliseconds


@given(times, times)
def test_ids_sort_by_their_time(one: int, other: int) -> None:
    if one != other:
        assert (uuid7(one) < uuid7(other)) == (one < other)


def test_ids_of_the_same_millisecond_differ_and_use_all_variants() -> None:
    made = {uuid7(1_764_763_200_000) for _ in range(10_000)}
    assert len(made) == 10_000
    assert {one[19] for one in made} == set("89ab")


def test_a_forked_process_makes_other_ids() -> None:
    program = (
        "import os\n"
        "from livelog.wire.ids import uuid7\n"
        "uuid7(0)\n"
        "child = os.fork()\n"
        "os.write(1, f'{uuid7(0)}\\n'.encode())\n"  # in one piece, unlike what `print` may do
        "child and os.waitpid(child, 0)\n"
    )
    made = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True).split()
    assert len(made) == len({*made}) == 2
