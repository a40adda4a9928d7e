"""`redact`: take the content of messages away, found by id, by seq or by an expression.

What is meant is resolved to seqs here, once; the act holds these alone. An expression finds what
the moderator may read, and needs a dry run: the act names the number of messages and the newest of
them, so that it does what the moderator has seen. Stubs are passed over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.index.paging import Span
from livelog.index.query import EVERYTHING, compile_query
from livelog.index.where.lexer import hint_for_nothing
from livelog.net import queries
from livelog.net.admin.acting import enact
from livelog.net.admin.asking import Asking, UnknownTargetError
from livelog.net.admin.nodes import at_the_brokers, elsewhere, hint_of_elsewhere
from livelog.net.admin.pages import page_upto
from livelog.net.admin.targets import named_once
from livelog.wire import acts
from livelog.wire.acts import MAX_SEQS, Group
from livelog.wire.admin import Redact
from livelog.wire.commands import Filters
from livelog.wire.messages import MessageType
from livelog.wire.stubs import is_stub


class Target(msgspec.Struct, frozen=True):
    """The fields of a message that an act needs."""

    type: MessageType
    seq: int
    from_user_id: str = ""
    to_user_id: str = ""

    @property
    def readers(self) -> tuple[str, ...]:
        """The users who alone may read it; none if it is no direct message."""
        return (self.from_user_id, self.to_user_id) if self.type == "dm" else ()


_decoder = msgspec.json.Decoder(Target)


async def redact(asking: Asking, command: Redact) -> dict[str, Any]:
    """Put stubs in the place of messages, or tell how many it would be."""
    named_once(id=command.id, seq=command.seq, where=command.where)
    if command.where is not UNSET:
        found = await _matching(asking, command.where, command.upto_seq)
        if not command.dry_run:
            _check_seen(command, found)
    else:
        found = [await _named(asking, command)]
    seqs = [target.seq for target in found]
    missed = elsewhere(asking) if command.where is not UNSET else {}
    if command.dry_run or not found:
        hint = _hint(command, found)
        return {"count": len(found), "upto_seq": max(seqs, default=0), **hint, **missed}
    seq = await enact(asking, acts.Redact, command.reason, groups=_groups(found))
    return {"redacted": len(found), "seq": seq, **missed, **at_the_brokers(asking)}


def _hint(command: Redact, found: list[Target]) -> dict[str, str]:
    """Return a guess why nothing is found, if there is one."""
    where = "" if found or command.where is UNSET else command.where
    hint = hint_for_nothing(where)
    return {"hint": hint} if hint else {}


def _check_seen(command: Redact, found: list[Target]) -> None:
    """Refuse an act that does not name what a dry run has told, or when that has changed."""
    for name, value in (("count", command.count), ("upto_seq", command.upto_seq)):
        if value is UNSET:
            issue = "required with where: make a dry run, which returns count and upto_seq"
            raise RefusedError(PROTOCOL_ERROR, name, issue)
    if command.count != len(found):
        issue = f"is not the number of messages that match now, {len(found)}: make a dry run again"
        raise RefusedError(PROTOCOL_ERROR, "count", issue)


async def _named(asking: Asking, command: Redact) -> Target:
    """Find the message with an id or a seq. Raises `RefusedError`."""
    log, field = asking.context.log, "id" if command.seq is UNSET else "seq"
    if command.seq is UNSET:
        assert command.id is not UNSET
        known = log.find(command.id)
        payload = b"" if known is None else known.payload
    else:
        owner = queries.owner(asking.principal, asking.address)
        span = Span(1, anchor="after", seq=command.seq - 1)
        page = await log.read(EVERYTHING, span, owner)
        payload = next(iter(page.payloads), b"")
        if payload and _decoder.decode(payload).seq != command.seq:
            payload = b""
    if not payload:
        issue = f"there is no message with it{hint_of_elsewhere(asking)}"
        raise UnknownTargetError(field, issue)
    if is_stub(payload):
        raise UnknownTargetError(field, "is that of a message that has been redacted already")
    return _decoder.decode(payload)


async def _matching(asking: Asking, where: str, upto_seq: int | UnsetType) -> list[Target]:
    """Find what the moderator may read and an expression matches. Raises `RefusedError`."""
    filters = Filters(where=where)
    try:
        query = compile_query(asking.principal, filters, now=asking.context.clock())
    except RefusedError as refused:
        raise refused.rename(refused.field.removeprefix("filters.")) from None
    upto = asking.context.log.head if upto_seq is UNSET else upto_seq
    found: list[Target] = []
    while payloads := await page_upto(asking, query, upto):
        decoded = map(_decoder.decode, payloads)
        targets = list(decoded)
        whole = zip(targets, payloads, strict=True)
        found += [target for target, payload in whole if not is_stub(payload)]
        upto = targets[-1].seq - 1
        if len(found) > MAX_SEQS:
            issue = f"matches more than {MAX_SEQS} messages; narrow it"
            raise RefusedError(PROTOCOL_ERROR, "where", issue)
    return found


def _groups(targets: Iterable[Target]) -> tuple[Group, ...]:
    """Group messages by who may read them."""
    by_readers: defaultdict[tuple[MessageType, tuple[str, ...]], list[int]] = defaultdict(list)
    for target in targets:
        by_readers[target.type, target.readers].append(target.seq)
    return tuple(
        Group(type, tuple(sorted(seqs)), readers) for (type, readers), seqs in by_readers.items()
    )
