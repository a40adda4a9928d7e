"""The elements of JSON arrays: found one by one, however the windows fall."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from livelog.errors import RefusedError
from livelog.net.http.arrays import elements

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
SPACES = st.text(" \t\r\n", max_size=20)


@given(
    st.lists(st.tuples(SPACES, VALUES, SPACES), max_size=8),
    st.booleans(),
    st.integers(0, 40),
    SPACES,
)
def test_they_are_those_that_were_written(
    items: list[tuple[str, Any, str]], ascii: bool, room: int, behind: str
) -> None:
    texts = [json.dumps(value, ensure_ascii=ascii).encode() for _, value, _ in items]
    padded = [
        before.encode() + text + after.encode()
        for (before, _, after), text in zip(items, texts, strict=True)
    ]
    body = b"[" + b",".join(padded) + b"]" + behind.encode()
    # A number must be followed by something that ends it.
    size = max(map(len, texts), default=0) + 1 + room
    assert [found for found in elements(body, size) if found is not None] == texts


@pytest.mark.parametrize(
    "body",
    [b"[", b"[1", b"[1,", b"[1,]", b"[,1]", b"[,]", b"[1 1]", b"[1]]", b"[1]x", b"[1\x00]", b"[1}",
     b"[\xff]", b'["\xe2\x82', b"[" * 1000, b"[-]", b'["a]', b"[tru]", b"[1,,1]", b'[{"a":1,}]'],
)  # fmt: skip
@pytest.mark.parametrize("size", [2, 100])
def test_what_is_no_array_is_refused(body: bytes, size: int) -> None:
    with pytest.raises(RefusedError, match="not a JSON array"):
        list(elements(body, size))


def test_an_element_larger_than_the_window_is_refused() -> None:
    body = b'[1, "' + b"x" * 100 + b'", 2]'
    assert [found for found in elements(body, 103) if found][1:] == [body[4:-4], b"2"]
    with pytest.raises(RefusedError, match="each of at most 90 bytes"):
        list(elements(body, 90))


def test_an_array_is_not_read_beyond_the_elements_that_were_taken() -> None:
    found = islice(elements(b"[0,0," + b"x" * 10_000, 64), 2)
    assert [*found] == [None, b"0"]
