"""Publishing over HTTP: `POST /api/messages`, all or nothing.

A body is unpacked, checked and published in steps, since it may have a hundred thousand messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from itertools import accumulate, chain

import msgspec

from livelog.budget.memory import BODY_COPIES
from livelog.budget.owner import Owner
from livelog.budget.slices import Pace, interleaved
from livelog.engine.base import Outcome
from livelog.errors import PROTOCOL_ERROR, SERVER_ERROR, RefusedError
from livelog.log.ingest import Place
from livelog.net.blocks import BlockedError, Guest
from livelog.net.context import Context
from livelog.net.http.body import messages, unpack
from livelog.net.http.memory import owner_of
from livelog.net.http.message import Request, Response
from livelog.wire.record import Draft, Receipt

_WRITTEN_AT_ONCE = 256
"""Receipts that are written as JSON in one step: a tenth of a millisecond."""

_BATCH_BYTES = 64 * 2**10
"""Bytes of messages that are published at once, about; then the backlog is looked at again."""


async def publish(context: Context, request: Request) -> Response:
    """Append one message, a JSON array of them or NDJSON.

    A message that is invalid, not permitted, too big or under somebody else's id refuses the whole
    body, and nothing is published. An engine may still refuse messages after that: if it refuses
    all of them with one code, the answer is that refusal; otherwise it is a 503 whose details say
    which ids are `acknowledged`, and which messages are `refused` and why. A client that is blocked
    meanwhile gets that refusal, and nothing more of its body is published; if some was, it is told
    which.
    """
    guest = Guest(context.limiter.blocked, request.principal.id, request.address)
    context.limiter.spend("messages", request.address, request.principal)
    await interleaved(guest.served(_counted_body(context, request)), owner_of(request))
    bodies = messages(request, context.config.net.max_frame_bytes)
    admitting = context.ingest.admitting_all(request.principal, bodies)
    places, drafts = await interleaved(guest.served(admitting), owner_of(request))
    if not drafts:
        raise RefusedError(PROTOCOL_ERROR, "body", "there is no message in it")
    context.limiter.charge(len(drafts) - 1, request.address, request.principal)
    # What has begun is carried through, even if the client leaves.
    publishing = context.loop.create_task(_outcomes(context, drafts, owner_of(request), guest))
    receipts = _acknowledged(places, drafts, await asyncio.shield(publishing))
    return await interleaved(_published(receipts), owner_of(request))


def _published(receipts: list[Receipt]) -> Generator[None, None, Response]:
    """Make the answer in steps, since a body may have a hundred thousand messages."""
    parts: list[bytes] = []
    for start in range(0, len(receipts), _WRITTEN_AT_ONCE):
        some = receipts[start : start + _WRITTEN_AT_ONCE]
        named = [{"id": receipt.id, "seq": receipt.seq} for receipt in some]
        parts.append(msgspec.json.encode(named)[1:-1])
        yield
    head = b'{"action":"published","count":%d,"messages":[' % len(receipts)
    return Response(b"%b%b]}" % (head, b",".join(parts)), 201)


def _counted_body(context: Context, request: Request) -> Generator[None, None, None]:
    """Unpack the body, and count it as it grows. Raises `RefusedError`."""
    for _ in chain(unpack(request, context.config.net.max_body_bytes), [None]):
        context.memory.hold_body(request, BODY_COPIES * len(request.body), owner_of(request))
        yield


async def _outcomes(
    context: Context, drafts: list[Draft], owner: Owner, guest: Guest
) -> list[Outcome]:
    """Publish in batches, so that a large body does not hold up the loop; wait for all outcomes.

    Those behind the moment at which the client is blocked are refused.
    """
    batches: list[asyncio.Future[Sequence[Outcome]]] = []
    done = 0
    while done < len(drafts) and guest.refusal is None:
        done = await interleaved(_publishing(context, drafts, owner, guest, done, batches), owner)
        if done < len(drafts) and batches:
            await asyncio.wait(batches)  # what is on disk may leave the window
    outcomes = [outcome for batch in batches for outcome in await batch]
    if guest.refusal is not None:
        outcomes += [guest.refusal] * (len(drafts) - len(outcomes))
    return outcomes


def _publishing(
    context: Context,
    drafts: list[Draft],
    owner: Owner,
    guest: Guest,
    start: int,
    batches: list[asyncio.Future[Sequence[Outcome]]],
) -> Generator[None, None, int]:
    """Publish `drafts` from `start` on, as index and memory have room; return how far it came.

    Each batch adds a future; there is at least one, unless the client is blocked.
    """
    pace = Pace()
    while start < len(drafts):
        yield from context.ingest.making_room(owner, drafts[start])
        if guest.refusal is not None:
            break
        answered: asyncio.Future[Sequence[Outcome]] = context.loop.create_future()
        batches.append(answered)
        with pace:
            some = _batch(drafts, start, pace.size)
            context.ingest.publish(some, answered.set_result, owner, "http")
            start += len(some)
        if context.memory.refusal is not None:
            break
        yield
    return start


def _batch(drafts: list[Draft], start: int, count: int) -> list[Draft]:
    """Return up to `count` drafts from `start` on, few of them if they are large."""
    some = drafts[start : start + count]
    sizes = accumulate(len(draft.payload) for draft in some)
    return some[: 1 + sum(size < _BATCH_BYTES for size in sizes)]


def _acknowledged(
    places: list[Place], drafts: list[Draft], outcomes: list[Outcome]
) -> list[Receipt]:
    """Return the receipts of a whole body. Raises `RefusedError` unless there is one for each."""
    receipts = [outcome for outcome in outcomes if not isinstance(outcome, RefusedError)]
    if len(receipts) == len(outcomes):
        return receipts
    refused = [
        (outcome, {**place, "id": draft.id, "error_code": outcome.code, "issue": outcome.issue})
        for place, draft, outcome in zip(places, drafts, outcomes, strict=True)
        if isinstance(outcome, RefusedError)
    ]
    first = refused[0][0]
    # One that names an id to publish again with speaks of one message alone.
    of_one = "id" in first.details and len(refused) > 1
    if not receipts and not of_one and all(each.code == first.code for each, _ in refused):
        raise first
    acknowledged = [receipt.id for receipt in receipts]
    if isinstance(first, BlockedError):
        raise first.explain({"acknowledged": acknowledged})
    issue = f"{len(refused)} of {len(drafts)} messages are not acknowledged: {first}"
    raise RefusedError(
        SERVER_ERROR,
        "",
        issue,
        retry_after=1,
        acknowledged=acknowledged,
        refused=[which for _, which in refused],
    )
