"""Reading what is stored between two places, oldest first, however much that is.

It comes as a subscription does, which resumes over lost connections, costs one command of the
limits and is not cut into pages. It ends at the newest message that was stored at its start, so
that it ends under traffic, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

from livelog.cli.exit import Failure
from livelog.cli.moments import Place, rfc3339
from livelog.client.client import Client
from livelog.client.decoding import Item, Page
from livelog.client.pages import whole
from livelog.client.subscription import Subscription
from livelog.wire.events import Gap, Redacted
from livelog.wire.messages import TYPES


@dataclass(frozen=True)
class Selection:
    """The messages to read: those for which the filters hold, of some types or of all."""

    types: list[str]
    """Names of types; empty for all."""
    filters: dict[str, Any] = field(default_factory=dict)

    def within(self, since: Place | None, until: Place | None) -> Selection:
        """Return the selection of those that are not before a moment nor after another.

        Raises `Failure` when a filter says the same.
        """
        bounds = {"date_from": since, "date_to": until}
        moments = {
            name: rfc3339(moment)
            for name, moment in bounds.items()
            if moment is not None and not isinstance(moment, int)
        }
        for name in moments.keys() & self.filters.keys():
            option = "--since" if name == "date_from" else "--until"
            raise Failure(f"{option} with a time and the filter {name} exclude each other")
        return replace(self, filters={**self.filters, **moments})

    @property
    def of_history(self) -> dict[str, Any]:
        """The filters of a page of history, in which the types are one more."""
        return {**self.filters, "type": self.types} if self.types else self.filters

    def subscription(self, log: Client, since: int | None = None) -> Subscription:
        """Return a subscription to the messages after a seq, by default from now on."""
        return log.subscribe(self.types or TYPES, filters=self.filters, since=since)


async def newest(log: Client, selection: Selection, count: int, until: int | None = None) -> Page:
    """Return the newest messages of a selection, up to the seq `until`, newest first."""

    async def ask(limit: int, **place: int) -> Page:
        return await log.history(filters=selection.of_history, limit=limit, **place)

    return await whole(ask, count, seeks=True, **_up_to(until))


async def beginning(log: Client, selection: Selection) -> int | None:
    """Return the seq just before the oldest message of a selection, None if it is empty."""
    page = await log.history(filters=selection.of_history, after=0, limit=1)
    return page.messages[0].seq - 1 if page.messages else None


async def stored(
    log: Client, selection: Selection, since: int | None = None, until: int | None = None
) -> AsyncIterator[Item]:
    """Yield what is stored of a selection after the seq `since` and up to `until`, and gaps.

    Without `since` it begins with the oldest message.
    """
    page = await log.history(filters=selection.of_history, limit=1, **_up_to(until))
    begin = await beginning(log, selection) if since is None else since
    if begin is None or not page.messages or page.messages[0].seq <= begin:
        return
    end = page.messages[0].seq
    items = selection.subscription(log, begin)

    def end_behind_a_redaction(event: Redacted) -> None:
        """End here if the last message may not come: its stub matches no filter any more."""
        if end in event.seqs:
            items.close()  # behind what waits to be taken: the event comes after all of that

    items.on_redacted = end_behind_a_redaction
    async with items:
        async for item in items:
            at = item.to if isinstance(item, Gap) else item.seq
            if at <= end or isinstance(item, Gap):
                yield item
            if at >= end:  # or the last one is gone meanwhile
                return


def _up_to(seq: int | None) -> dict[str, int]:
    """Return the place of the newest message up to a seq."""
    return {"offset": 0} if seq is None else {"before": seq + 1}
