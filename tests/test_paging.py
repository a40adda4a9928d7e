"""Places of pages against a plain list."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from livelog.index.paging import Anchor, Span

seqs = st.sets(st.integers(1, 30), max_size=12).map(lambda found: sorted(found, reverse=True))


def page(matches: list[int], span: Span) -> list[int]:
    offset, limit = span.resolve(lambda seq: sum(one > seq for one in matches))
    assert 0 <= offset <= max(len(matches), span.offset)
    assert 0 <= limit <= span.limit
    return matches[offset : offset + limit]


@given(seqs, st.integers(1, 6), st.integers(0, 31))
def test_a_page_lies_where_its_anchor_says(matches: list[int], limit: int, seq: int) -> None:
    newer = [one for one in matches if one > seq]
    older = [one for one in matches if one < seq]
    assert page(matches, Span(limit, anchor="before", seq=seq)) == older[:limit]
    assert page(matches, Span(limit, anchor="after", seq=seq)) == newer[-limit:]
    around = page(matches, Span(limit, anchor="around", seq=seq))
    assert len(around) <= limit
    assert around == [one for one in matches if one in around]
    assert (seq in around) == (seq in matches)
    assert len([one for one in around if one > seq]) == min(limit // 2, len(newer))


@given(seqs, st.integers(1, 6), st.integers(0, 12))
def test_without_an_anchor_a_page_lies_at_its_offset(
    matches: list[int], limit: int, offset: int
) -> None:
    assert page(matches, Span(limit, offset)) == matches[offset : offset + limit]


@pytest.mark.parametrize("anchor", ["before", "after", "around"])
def test_without_matches_every_page_is_empty(anchor: Anchor) -> None:
    assert page([], Span(5, anchor=anchor, seq=3)) == []
