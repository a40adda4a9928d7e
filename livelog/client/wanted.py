"""The wishes of a link: subscriptions, watches, presence; put in force again on each connection.

A subscription gets messages only after the server has confirmed it on this connection: messages
before that belong to other subscriptions. Subscribing with `since` moves the whole connection
there, so it always names the earliest place of all subscriptions; each passes over the messages it
has had.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from livelog.client.backoff import Clock
from livelog.client.commands import encoded, presence
from livelog.client.connection import Connection
from livelog.client.errors import Lost
from livelog.client.livecounts import LiveCounts
from livelog.client.presencechanges import PresenceChanges
from livelog.client.requests import Requests
from livelog.client.subscription import Subscription
from livelog.client.waits import held
from livelog.errors import POLICY_VIOLATION, SERVER_ERROR, RefusedError
from livelog.wire.events import (
    AnyEvent,
    Counts,
    Gap,
    Online,
    OnlineChanged,
    Redacted,
    Subscribed,
    Unwatched,
    Watching,
)
from livelog.wire.stubs import Received

_log = logging.getLogger(__name__)

_AGAIN = 5.0
"""Shortest time in seconds before a subscription is asked for again after an internal error of the
server."""
SHARED_BY = 6
"""Most subscriptions on one link; each costs a command to resume, and a minute has ten."""


_UNFOLLOW = encoded(presence(1, 0, follow=False))


class Wanted:
    """The subscriptions, watches and those of presence of one link, over all its connections."""

    def __init__(self, clock: Clock, requests: Requests) -> None:
        self._clock = clock
        self._requests = requests
        self.subscriptions: list[Subscription] = []
        self.watches: dict[str, LiveCounts] = {}
        """By id."""
        self.presences: list[PresenceChanges] = []
        self._changed = asyncio.Event()  # any of them have come or gone
        # Of the present connection.
        self._told: set[str] = set()  # types that the server was told to send
        self._told_watches: set[str] = set()  # ids of watches
        self._follows = False  # the server tells of presence

    # For the client.

    def fits(self, wanted: Subscription) -> bool:
        """Tell whether `wanted` can share this link.

        The server has one set of filters for each type and one place in the log for each
        connection. So subscriptions with different filters for a type cannot share a link, nor can
        one that starts at a place of its own.
        """
        if not self.subscriptions:
            return True
        return (
            len(self.subscriptions) < SHARED_BY
            and wanted.seq is None
            and not any(other.resumed_by_user for other in self.subscriptions)
            and not any(wanted.contradicts(other) for other in self.subscriptions)
        )

    def add(self, subscription: Subscription) -> None:
        """Put a subscription in force as soon as possible, and keep it so."""
        subscription.in_force = False
        if self._requests.failure is not None:
            subscription.end(self._requests.failure)
            return
        self.subscriptions.append(subscription)
        self._changed.set()

    def remove(self, subscription: Subscription) -> None:
        """Stop asking for a subscription."""
        with suppress(ValueError):  # it was refused, or the link has ended
            self.subscriptions.remove(subscription)
        self._changed.set()

    def watch(self, counts: LiveCounts) -> None:
        """Put a watch in force as soon as possible, and keep it so."""
        if self._requests.failure is not None:
            counts.end(self._requests.failure)
            return
        self.watches[counts.id] = counts
        self._changed.set()

    def unwatch(self, counts: LiveCounts) -> None:
        """Stop asking for a watch."""
        self.watches.pop(counts.id, None)
        self._changed.set()

    def follow(self, changes: PresenceChanges) -> None:
        """Follow who is on line as soon as possible, and go on with it."""
        if self._requests.failure is not None:
            changes.end(self._requests.failure)
            return
        self.presences.append(changes)
        self._changed.set()

    def unfollow(self, changes: PresenceChanges) -> None:
        """Stop following who is on line."""
        with suppress(ValueError):  # it was refused, or the link has ended
            self.presences.remove(changes)
        self._changed.set()

    # For the link.

    def end(self, failure: Exception | None) -> None:
        """End them all, with an error if one is given."""
        for stream in self._streams():
            stream.end(failure)
        self.subscriptions.clear()
        self.watches.clear()
        self.presences.clear()

    def begin(self) -> None:
        """Note that there is a new connection, on which none is in force."""
        for stream in self._streams():
            stream.in_force = False
        self._told = set()
        self._told_watches = set()
        self._follows = False
        self._changed.set()

    def getting(self, message: Received) -> list[Subscription]:
        """Return the subscriptions that get a message."""
        tag = message.__struct_config__.tag
        return [wanted for wanted in self._in_force() if tag in wanted.types]

    def lose(self, gap: Gap) -> None:
        """Tell all subscriptions of a gap."""
        for subscription in self._in_force():
            subscription.lose(gap)

    def redact(self, event: Redacted) -> None:
        """Tell all subscriptions of messages whose content was taken away."""
        for subscription in self._in_force():
            subscription.redact(event)

    def advance(self, seq: int) -> None:
        """Note that everything up to `seq` has arrived."""
        for subscription in self._in_force():
            subscription.advance(seq)

    def count(self, counts: Counts) -> None:
        """Hand counts to their watch."""
        if counts.id in self.watches:
            self.watches[counts.id].put(counts)

    def unwatched(self, event: Unwatched) -> None:
        """End a watch that the server has ended."""
        if event.id in self.watches:
            self._told_watches.discard(event.id)
            issue = "the new token does not allow what it asks for"
            self.watches.pop(event.id).end(RefusedError(POLICY_VIOLATION, "filters", issue))

    def online_changed(self, changed: OnlineChanged) -> None:
        """Tell all that follow it who has come or gone."""
        for changes in self.presences:
            changes.put(changed)

    def _streams(self) -> list[Subscription | LiveCounts | PresenceChanges]:
        return [*self.subscriptions, *self.watches.values(), *self.presences]

    def _in_force(self) -> list[Subscription]:
        return [wanted for wanted in self.subscriptions if wanted.in_force]

    async def keep_in_force(self, connection: Connection) -> None:
        """Put what comes in force, and take back what goes, until the connection ends."""
        with suppress(Lost):
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._unsubscribe(connection)
                while waiting := [each for each in self.subscriptions if not each.in_force]:
                    await self._subscribe(connection, waiting[0])
                await self._keep_watching(connection)
                await self._keep_following(connection)

    async def _unsubscribe(self, connection: Connection) -> None:
        surplus = self._told - {name for wanted in self.subscriptions for name in wanted.types}
        if surplus:
            command = {"action": "unsubscribe", "message_types": sorted(surplus)}
            await self._requests.ask(connection, encoded(command))
            self._told -= surplus

    async def _subscribe(self, connection: Connection, wanted: Subscription) -> None:
        places = [other.seq for other in self.subscriptions if other.seq is not None]
        since = None if wanted.seq is None else min(places, default=wanted.seq)
        try:
            await self._requests.ask(connection, wanted.command(since), _confirms(wanted))
            self._told.update(wanted.types)
        except RefusedError as refused:
            if refused.field == "since" and wanted.resumes:
                # The place is beyond the end of the log: this is another log.
                await self._requests.ask(connection, wanted.command(None), _starts_over(wanted))
                self._told.update(wanted.types)
            elif refused.code == SERVER_ERROR:  # nothing is wrong with the subscription
                await self._again(refused, "not subscribed")
            else:
                self.remove(wanted)
                wanted.end(refused)

    async def _again(self, refused: RefusedError, what: str) -> None:
        """Wait until the next attempt."""
        wait = max(_AGAIN, held(refused.retry_after, _AGAIN))
        _log.warning("%s: %s; next attempt in %.1f s", what, refused, wait)
        await self._clock.sleep(wait)

    # Watches.

    async def _keep_watching(self, connection: Connection) -> None:
        for id in self._told_watches - self.watches.keys():
            with suppress(RefusedError):  # the server has ended it
                await self._requests.ask(connection, encoded({"action": "unwatch", "id": id}))
            self._told_watches.discard(id)
        while waiting := [each for each in self.watches.values() if not each.in_force]:
            await self._watch_with(connection, waiting[0])

    async def _watch_with(self, connection: Connection, counts: LiveCounts) -> None:
        def arrived(answer: AnyEvent) -> None:
            assert isinstance(answer, Watching)
            counts.confirm(answer.seq)

        try:
            await self._requests.ask(connection, counts.command(), arrived)
            self._told_watches.add(counts.id)
        except RefusedError as refused:
            if refused.code == SERVER_ERROR:  # nothing is wrong with the watch
                await self._again(refused, "not watched")
            else:
                self.watches.pop(counts.id, None)
                counts.end(refused)

    # Presence.

    async def _keep_following(self, connection: Connection) -> None:
        while waiting := [each for each in self.presences if not each.in_force]:
            await self._follow_with(connection, waiting[0])
        if self._follows and not self.presences:
            self._follows = False
            with suppress(RefusedError):  # then it tells of what nobody listens to
                await self._requests.ask(connection, _UNFOLLOW)

    async def _follow_with(self, connection: Connection, changes: PresenceChanges) -> None:
        def arrived(answer: AnyEvent) -> None:
            assert isinstance(answer, Online)
            changes.confirm(answer)

        try:
            await self._requests.ask(connection, changes.command(), arrived)
            self._follows = True
        except RefusedError as refused:
            if refused.code == SERVER_ERROR:  # nothing is wrong with the question
                await self._again(refused, "presence is not followed")
            else:
                self.unfollow(changes)
                changes.end(refused)


def _confirms(wanted: Subscription) -> Callable[[AnyEvent], None]:
    def arrived(answer: AnyEvent) -> None:
        assert isinstance(answer, Subscribed)
        wanted.confirm(answer.seq)

    return arrived


def _starts_over(wanted: Subscription) -> Callable[[AnyEvent], None]:
    def arrived(answer: AnyEvent) -> None:
        assert isinstance(answer, Subscribed)
        wanted.start_over(answer.seq)
        wanted.confirm(answer.seq)

    return arrived
