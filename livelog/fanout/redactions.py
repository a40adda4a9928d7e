"""The events that tell readers to forget messages: one redaction, as a subscription may see it.

They have the place of the act in the log, and reach live readers and those that catch up in that
order. A reader is told of all messages of the types that it asked for, whatever its filters: that a
message matched them cannot be told any more. Of direct messages only their two users are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from livelog.index.query import Subscription
from livelog.index.terms import reader, readers_in
from livelog.wire import frames
from livelog.wire.acts import Group, Redact
from livelog.wire.events import Redacted, encoder

_MOST = 1000
"""Seqs in one event."""


def frames_for(seq: int, act: Redact, wanted: Subscription) -> bytes:
    """Return the events of an act for a subscription, framed and joined; empty without any."""
    groups = [group for group in act.groups if _concerns(group, wanted)]
    return b"".join(frames.text(encoder.encode(event)) for event in _events(seq, act, groups))


def _concerns(group: Group, wanted: Subscription) -> bool:
    query = wanted.query(group.type)
    if query is None:
        return False
    own = readers_in(query.keys)
    return not own or any(reader(user) in own for user in group.readers)


def _events(seq: int, act: Redact, groups: Iterable[Group]) -> Iterator[Redacted]:
    seqs = sorted(one for group in groups for one in group.seqs)
    for start in range(0, len(seqs), _MOST):
        yield Redacted(seqs=seqs[start : start + _MOST], reason=act.reason, at=seq)
