"""Pages that were cut short, put together again: what a caller gets is what it asked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given

from livelog.client.decoding import Page
from livelog.client.pages import whole
from livelog.index.paging import Span
from livelog.wire.messages import Delivered, DeliveredSystem


def message(seq: int) -> Delivered:
    return DeliveredSystem(id=f"id_{seq}", event="error", timestamp="2025-12-03T00:00:00Z", seq=seq)


class Server:
    """Answers with a few messages at a time; new ones come in between."""

    def __init__(self, seqs: list[int], fit: int, arriving: int) -> None:
        self.seqs = seqs
        self.fit = fit
        self.arriving = arriving

    async def ask(self, limit: int, **place: int) -> Page:
        [(anchor, at)] = place.items()
        span = Span(limit, at) if anchor == "offset" else Span(limit, 0, anchor, at)  # type: ignore[arg-type]  # one of the three
        offset, length = span.resolve(lambda seq: sum(one > seq for one in self.seqs))
        found = self.seqs[offset : offset + length]
        nearest = span.nearest(lambda seq: sum(one > seq for one in self.seqs), offset)
        first = min(max(0, nearest - self.fit // 2), max(0, len(found) - self.fit))
        kept = found[first : first + self.fit]
        page = Page(
            [message(seq) for seq in kept],
            len(self.seqs),
            offset + first,
            len(kept) < len(found),
        )
        newest = self.seqs[0] if self.seqs else 0
        self.seqs = [*range(newest + self.arriving, newest, -1), *self.seqs]
        return page


def seqs_of(page: Page) -> list[int]:
    return [one.seq for one in page.messages]


@given(
    st.integers(0, 40),
    st.integers(1, 7),
    st.integers(1, 50),
    st.integers(0, 3),
    st.sampled_from(["offset", "before", "after", "around"]),
    st.integers(0, 42),
)
def test_a_page_in_pieces_is_the_page(
    count: int, fit: int, limit: int, arriving: int, anchor: str, at: int
) -> None:
    seqs = [*range(count, 0, -1)]
    expected = asyncio.run(Server(seqs, 1000, 0).ask(limit, **{anchor: at}))
    server = Server(seqs, fit, arriving)
    page = asyncio.run(whole(server.ask, limit, seeks=True, **{anchor: at}))
    assert not page.truncated
    if arriving == 0 or anchor in ("offset", "before"):
        assert (seqs_of(page), page.offset) == (seqs_of(expected), expected.offset)
    else:  # newer ones have joined at the front
        assert [seq for seq in seqs_of(page) if seq <= count][: limit // 2] == (
            seqs_of(expected)[: limit // 2]
        )
    found = seqs_of(page)
    assert found == [*range(found[0], found[0] - len(found), -1)] if found else True


@given(st.integers(0, 40), st.integers(1, 7), st.integers(1, 50), st.integers(0, 42))
def test_results_of_a_search_are_neither_skipped_nor_repeated(
    count: int, fit: int, limit: int, offset: int
) -> None:
    """Even if so much comes in that the place of the older ones is out of reach."""
    for arriving in (0, 1, fit):
        seqs = [*range(count, 0, -1)]
        expected = seqs[offset : offset + limit]
        server = Server(seqs, fit, arriving)
        page = asyncio.run(whole(server.ask, limit, seeks=False, offset=offset))
        assert seqs_of(page) == expected[: len(page.messages)]
        assert page.truncated or seqs_of(page) == expected
        assert not (page.truncated and arriving < fit)


class Stuck:
    """Answers each question with the same page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked = 0

    async def ask(self, limit: int, **place: int) -> Page:
        self.asked += 1
        return self.page


def test_pages_that_never_advance_end() -> None:
    """A server in error must not keep its clients asking."""
    for page in (
        Page([], 9, 0, True),
        Page([], 9, 5, True, next_offset=-3),
        Page([message(7)], 9, 3, True, next_offset=0),
        Page([message(8), message(7)], 9, 3, True, next_offset=3),
    ):
        for place in ({"offset": 0}, {"before": 8}, {"after": 6}, {"around": 7}):
            for seeks in (True, False):
                stuck = Stuck(page)
                found = asyncio.run(whole(stuck.ask, 1000, seeks=seeks, **place))
                assert stuck.asked < 5
                assert found.messages == page.messages


class Stumbling(Server):
    """The store answers all questions but the second one."""

    asked = 0

    async def ask(self, limit: int, **place: int) -> Page:
        self.asked += 1
        return replace(await super().ask(limit, **place), incomplete=self.asked == 2)


def test_a_page_put_together_is_incomplete_if_a_part_is() -> None:
    for place in ({"offset": 0}, {"after": 0}, {"around": 5}):
        server = Stumbling([*range(9, 0, -1)], 2, 0)
        found = asyncio.run(whole(server.ask, 9, seeks=True, **place))
        assert found.incomplete
        assert server.asked > 2
