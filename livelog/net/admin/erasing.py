"""`erase`: put a pseudonym in the place of a user's id and names, wherever fields have them.

What is meant is resolved to places in messages and in earlier acts here, once; the acts hold these
alone, and never the user. All messages count, also direct ones of others: the command is for
operators, who read none of them by it. A user who goes on writing, or comes back, is another one.
"""

from __future__ import annotations

import asyncio
import re
from array import array
from base64 import b32encode
from collections import defaultdict
from collections.abc import AsyncIterator, Generator
from dataclasses import replace
from secrets import token_bytes
from typing import Any, NamedTuple

from msgspec import UNSET

from livelog.budget.slices import interleaved
from livelog.errors import POLICY_VIOLATION, PROTOCOL_ERROR, SERVER_ERROR, RefusedError
from livelog.index.folding import normalized
from livelog.index.query import EVERYTHING, Query
from livelog.index.terms import reader
from livelog.index.where.canonical import finished
from livelog.index.where.expression import Equals, Expression, Or
from livelog.index.where.fields import compared_as_id
from livelog.net import queries
from livelog.net.admin.acting import enact
from livelog.net.admin.asking import Asking, UnknownTargetError
from livelog.net.admin.nodes import at_the_brokers, elsewhere, hint_of_elsewhere
from livelog.net.admin.pages import page_upto
from livelog.wire import acts
from livelog.wire.acts import Places
from livelog.wire.admin import Erase
from livelog.wire.erasure import FIELDS, LISTS, ROOTS, is_pseudonym, places_in, places_in_act
from livelog.wire.record import seq_of
from livelog.wire.stubs import is_stub

_ACTS_PER_PAGE = 16
"""Acts that are read at once; each may name very many messages."""

_READ = 16
"""Messages that are looked through in one step: about half a millisecond."""

_PAUSES = (0.1, 0.5, 1.0, 2.0, 4.0)
"""Seconds before the store is asked again, and at last given up: perhaps behind the first acts."""

_MOST = 2_000
"""Messages that one act names: to apply it takes some milliseconds, in one piece."""

_MAX_BYTES = 16 << 20
"""Bytes of the messages that one act names, as all of them are written in one go."""

_ACT_BYTES = 256 << 10
_SEQ_BYTES, _GROUP_BYTES, _PLACE_BYTES = 17, 8, 3
"""Bytes of an act from which on the next one is begun, and what makes them up: a seq, and the
punctuation of a group and of a place."""

_PLACES = 2000
"""Places in a message that one act names: with more, each part of them has an act of its own. They
take less than what an act may have above `_ACT_BYTES`."""

Named = tuple[int, tuple[str, ...], int]
"""Seq of a message or act, the places in it that name the user, and its bytes."""


class Batch:
    """Messages or acts that one act names."""

    def __init__(self) -> None:
        self._found: defaultdict[tuple[str, ...], array[int]] = defaultdict(lambda: array("q"))
        self._bytes = self._act_bytes = 0
        self.count = self.newest = 0

    def add(self, seq: int, places: tuple[str, ...], size: int, *, again: bool) -> None:
        """Add one; `again`, if other places of it have been added."""
        if places not in self._found:
            self._act_bytes += _GROUP_BYTES + sum(_PLACE_BYTES + len(place) for place in places)
        self._act_bytes += _SEQ_BYTES
        self._found[places].append(seq)
        self._bytes += size
        self.count += not again
        self.newest = max(self.newest, seq)

    @property
    def is_full(self) -> bool:
        """Whether the next one begins another act."""
        full = self._bytes >= _MAX_BYTES or self._act_bytes >= _ACT_BYTES
        return full or self.count >= _MOST

    @property
    def groups(self) -> tuple[Places, ...]:
        """Those with the same places together, as the act has them."""
        return tuple(Places(places, tuple(sorted(seqs))) for places, seqs in self._found.items())


class Found(NamedTuple):
    """All that names a user."""

    messages: list[Batch]
    records: list[Batch]
    """Of acts."""

    @property
    def total(self) -> int:
        """Number of messages."""
        return sum(batch.count for batch in self.messages)


async def erase(asking: Asking, command: Erase) -> dict[str, Any]:
    """Put a pseudonym in the place of a user, or tell in how many messages it would be."""
    _check(asking, command)
    user, head = command.user_id, asking.context.log.head
    upto = head if command.upto_seq is UNSET else command.upto_seq
    records = await _batches(_records(asking, user, 0, head))
    found = Found(await _batches(_messages(asking, user, upto)), records)
    if not found.messages and not found.records:
        issue = "there is no message and no act that names this user"
        raise UnknownTargetError("user_id", f"{issue}{hint_of_elsewhere(asking)}")
    if command.dry_run:
        newest = max((batch.newest for batch in found.messages), default=0)
        return {"count": found.total, "upto_seq": newest, **elsewhere(asking)}
    if command.count not in (UNSET, found.total):
        issue = f"is not the number of messages that name the user now, {found.total}"
        raise RefusedError(PROTOCOL_ERROR, "count", f"{issue}: make a dry run again")
    pseudonym = f"erased_{b32encode(token_bytes(5)).decode().lower()}"
    seq = await _enact(asking, command.reason, pseudonym, found)
    # What other servers and moderators have done before the act had its place.
    since = Found([], [])
    if not _is_blocked(asking, user):  # a block that has come meanwhile holds
        since = since._replace(records=await _batches(_records(asking, user, head, seq)))
    if command.upto_seq is UNSET:
        since = since._replace(messages=await _batches(_newer(asking, user, head, seq)))
    last = await _enact(asking, command.reason, pseudonym, since)
    erased = found.total + since.total
    done = {"erased": erased, "pseudonym": pseudonym, "seq": max(seq, last)}
    return {**done, **elsewhere(asking), **at_the_brokers(asking)}


def _check(asking: Asking, command: Erase) -> None:
    """Refuse what cannot be meant. Raises `RefusedError`."""
    user = command.user_id
    if is_pseudonym(user):
        raise RefusedError(PROTOCOL_ERROR, "user_id", "is the pseudonym of an erased user")
    if user == asking.principal.id:
        issue = "is yourself, whom the act would name: somebody else has to do it"
        raise RefusedError(POLICY_VIOLATION, "user_id", issue)
    if _is_blocked(asking, user):
        issue = "is blocked, and a block names the user: unblock them first"
        raise RefusedError(POLICY_VIOLATION, "user_id", issue)
    if re.search(rf"(?<!\w){re.escape(user)}(?!\w)", command.reason):
        issue = "must not name the user: the audit log keeps it"
        raise RefusedError(PROTOCOL_ERROR, "reason", issue)


def _is_blocked(asking: Asking, user: str) -> bool:
    return asking.context.limiter.blocked.of(user, "") is not None


async def _enact(asking: Asking, reason: str, pseudonym: str, found: Found) -> int:
    """Erase what was found; return the seq of the last act, 0 without any."""
    seq = 0
    for batch in found.messages:
        what = {"pseudonym": pseudonym, "groups": batch.groups}
        seq = await enact(asking, acts.Erase, reason, **what)
    for batch in found.records:
        what = {"pseudonym": pseudonym, "groups": (), "records": batch.groups}
        seq = await enact(asking, acts.Erase, reason, **what)
    return seq


async def _batches(found: AsyncIterator[Named]) -> list[Batch]:
    """Gather all that is found: as soon as some of it is erased, the rest takes long to find."""
    batches: list[Batch] = []
    async for seq, places, size in found:
        for at in range(0, len(places), _PLACES):
            if not batches or batches[-1].is_full or len(places) > _PLACES:
                batches.append(Batch())
            batches[-1].add(seq, places[at : at + _PLACES], size, again=at > 0)
    return batches


# What names the user.


async def _messages(asking: Asking, user: str, upto: int) -> AsyncIterator[Named]:
    """Find the messages up to a seq that name a user, newest first. Raises `RefusedError`."""
    owner = queries.owner(asking.principal, asking.address)
    for query, are_stubs in _queries(user):
        last = upto
        while True:
            payloads = await _page(asking, query, last)
            if not payloads:
                break
            last = seq_of(payloads[-1]) - 1
            some = [one for one in payloads if is_stub(one) == are_stubs]
            for named in await interleaved(_placed(some, user), owner):
                yield named


async def _newer(asking: Asking, user: str, after: int, upto: int) -> AsyncIterator[Named]:
    """Find the same behind a seq, by looking through all of the few messages there."""
    owner = queries.owner(asking.principal, asking.address)
    last = upto
    while last > after:
        payloads = await _page(asking, EVERYTHING, last)
        some = [payload for payload in payloads if seq_of(payload) > after]
        for named in await interleaved(_placed(some, user), owner):
            yield named
        last = seq_of(some[-1]) - 1 if some else after


async def _page(asking: Asking, query: Query, upto: int) -> list[bytes]:
    """Read a page, also of a store that has just been opened. Raises `RefusedError`."""
    for pause in _PAUSES:
        try:
            return await page_upto(asking, query, upto)
        except RefusedError as refused:
            if refused.retry_after is None:
                raise
        await asyncio.sleep(pause)
    raise RefusedError(SERVER_ERROR, "", "the store cannot be read now", retry_after=1)


def _placed(payloads: list[bytes], user: str) -> Generator[None, None, list[Named]]:
    """Return the places of the messages that name a user, in steps."""
    found: list[Named] = []
    for number, payload in enumerate(payloads):
        if places := places_in(payload, user):
            found.append((seq_of(payload), places, len(payload)))
        if number % _READ == 0:
            yield
    return found


def _queries(user: str) -> list[tuple[Query, bool]]:
    """Return the queries that find all messages that may name a user, and whether stubs do."""
    naming = finished(Or(tuple(_conditions(user))))
    return [
        (replace(EVERYTHING, where=naming), False),
        (replace(EVERYTHING, types=frozenset(["dm"]), keys=(reader(user),)), True),
    ]


def _conditions(user: str) -> list[Expression]:
    """Return the conditions of which a message that names a user meets one."""
    lists = [f"{root}.{name}" for root in ROOTS for name in LISTS]
    paths = [*lists, *(f"{path}.{field}" for path in lists for field in FIELDS)]
    compared = ((path, user if compared_as_id(path) else normalized(user)) for path in paths)
    # The filter finds the fields themselves, of messages and free objects.
    return [Equals("user_id", user), *(Equals(*each) for each in compared)]


async def _records(asking: Asking, user: str, after: int, upto: int) -> AsyncIterator[Named]:
    """Find the acts behind a seq and up to another that name a user. Raises `RefusedError`.

    A block that somebody sets meanwhile is left out: with the pseudonym it would hold nobody.
    """
    before, blocked = upto + 1, asking.context.limiter.blocked
    while before > after and (found := asking.context.log.acts(before, _ACTS_PER_PAGE)):
        for one in found:
            about = isinstance(one.act, acts.Block) and one.act.user_id == user
            if one.seq <= after or (about and blocked.of(user, "") is not None):
                continue
            if places := places_in_act(one.act, user):
                yield one.first_seq, places, 0
        before = found[-1].seq
        await asyncio.sleep(0)
