"""Readers that share an audience, and the kind of audience that they share."""

from __future__ import annotations

from typing import NamedTuple

from livelog.fanout.audience import Audience
from livelog.fanout.batching import BatchedAudience
from livelog.index.query import Subscription


class Key(NamedTuple):
    """Readers with the same share an audience."""

    subscription: Subscription
    by_text: bool
    """A text decides about some deliveries."""
    batch: int
    """Milliseconds for which messages are gathered."""
    deflates: bool
    """They can inflate."""


def made(key: Key) -> Audience:
    """Make the audience of a key."""
    if key.batch:
        return BatchedAudience(key.subscription, key.by_text, key.batch, key.deflates)
    return Audience(key.subscription, key.by_text, key.deflates)


def key_of(audience: Audience) -> Key:
    """Return the key of an audience."""
    return Key(audience.subscription, audience.by_text, audience.batch, audience.deflates)
