"""The links of a client: one that its commands and most subscriptions share, and some of their own.

A subscription that differs from those on the shared link (other filters for a type that is in use,
a place of its own in the log) gets a link of its own, and so does one whose consumer falls behind:
only there may reading stop, since no other subscription waits for what would be read next.
"""

from __future__ import annotations

import asyncio
from functools import partial

from livelog.client.addresses import Addresses
from livelog.client.backoff import Clock
from livelog.client.credentials import Credentials
from livelog.client.reconnecting import Link, Watch
from livelog.client.subscription import Subscription


class Links:
    """The links, and the subscriptions that have one of their own."""

    def __init__(
        self,
        addresses: Addresses,
        credentials: Credentials | None,
        watch: Watch,
        clock: Clock,
        batch: bool,
    ) -> None:
        make = partial(Link, addresses, credentials, clock, watch, batch=batch)
        self.shared = make(self._move_out)
        self._make_own = partial(make, worked=True)  # the shared link has shown that it can work
        self.own: dict[Subscription, Link] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def add(self, subscription: Subscription) -> None:
        """Place a subscription where it fits."""
        if self.shared.wanted.fits(subscription):
            self.shared.wanted.add(subscription)
        else:
            self._give_own(subscription)

    def remove(self, subscription: Subscription) -> None:
        """End a subscription, and the link that it has to itself."""
        link = self.own.pop(subscription, None)
        if link is not None:
            self._stop(link)
        else:
            self.shared.wanted.remove(subscription)

    def stop(self) -> None:
        """End all links; `ended` waits for them."""
        for link in (self.shared, *self.own.values()):
            self._stop(link)
        self.own.clear()

    async def ended(self) -> None:
        """Wait until the links that were stopped have ended."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _move_out(self, subscription: Subscription) -> None:
        self.shared.wanted.remove(subscription)
        self._give_own(subscription)

    def _give_own(self, subscription: Subscription) -> None:
        link = self._make_own()
        self.own[subscription] = link
        link.wanted.add(subscription)
        link.start()

    def _stop(self, link: Link) -> None:
        task = link.stop()
        if task is not None:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
