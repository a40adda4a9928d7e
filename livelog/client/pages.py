"""Pages that the server cuts short, or that are longer than it allows, put together again."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from livelog.client.decoding import LAST_SEQ, Page

MOST = 1000
"""Most messages that a server returns in one answer."""


class Ask(Protocol):
    """A function that asks for one page: `history` or `search` of a client."""

    async def __call__(self, limit: int, **place: int) -> Page:
        """Return up to `limit` messages at `place`: an `offset`, `before`, `after` or `around`."""


async def whole(ask: Ask, limit: int, *, seeks: bool, **place: int) -> Page:
    """Return the page at `place` with all of its messages, asked for in as many steps as it takes.

    `seeks` tells that `before` may be asked for, which finds older messages wherever newer ones
    have moved them meanwhile. Raises `RefusedError`, as `ask` does.
    """
    ask = _capped(ask)
    page = await ask(limit, **place)
    if not page.truncated:
        return page
    if "after" in place:
        return await _with_newer(ask, page, limit - len(page.messages))
    if "around" in place:
        newer = sum(message.seq > place["around"] for message in page.messages)
        page = await _with_newer(ask, page, limit // 2 - newer)
    return await _with_older(ask, page, limit - len(page.messages), seeks=seeks)


def _capped(ask: Ask) -> Ask:
    """Return a function that asks for no more than a server returns, and tells what is missing."""

    async def asked(limit: int, **place: int) -> Page:
        page = await ask(min(limit, MOST), **place)
        return replace(page, truncated=page.truncated or len(page.messages) == MOST < limit)

    return asked


async def _with_older(ask: Ask, page: Page, missing: int, *, seeks: bool) -> Page:
    """Add up to `missing` messages that are older than those of `page`.

    Without `seeks` the page stays truncated if one answer brings nothing but newer messages.
    """
    messages, end, incomplete = list(page.messages), _end(page), page.incomplete
    while missing > 0:
        if seeks and messages:
            more = await ask(missing, before=messages[-1].seq)
        else:  # more than are missing, as the first may come again
            more = await ask(missing + len(messages), offset=end)
        end, incomplete = _end(more), incomplete or more.incomplete
        last = messages[-1].seq if messages else LAST_SEQ + 1
        fresh = [message for message in more.messages if message.seq < last]
        messages += fresh[:missing]
        missing -= len(fresh)
        if end >= more.total:
            break
        if not fresh:
            return Page(messages, page.total, page.offset, True, end, incomplete)
    return Page(messages, page.total, page.offset, incomplete=incomplete)


async def _with_newer(ask: Ask, page: Page, missing: int) -> Page:
    """Add up to `missing` messages that are newer than those of `page`."""
    messages, more, incomplete = list(page.messages), page, page.incomplete
    while missing > 0 and messages and more.truncated:
        more = await ask(missing, after=messages[0].seq)
        incomplete = incomplete or more.incomplete
        fresh = [message for message in more.messages if message.seq > messages[0].seq]
        if not fresh:
            break
        missing -= len(fresh)
        messages[:0] = fresh
    return Page(messages, page.total, more.offset, incomplete=incomplete)


def _end(page: Page) -> int:
    """Return the offset behind a page, which may lack messages that are unknown here."""
    return page.offset + len(page.messages) if page.next_offset is None else page.next_offset
