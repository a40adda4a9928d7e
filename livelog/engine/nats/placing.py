"""The way from an entry of the stream to its place in the log, by its format."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import suppress

from livelog.engine.nats import batch
from livelog.engine.nats.batch import Control, MalformedError, Rebased, Renewal, UnknownError
from livelog.engine.nats.order import Order, Placed
from livelog.engine.nats.stream import Entry
from livelog.wire.acts import Enacted
from livelog.wire.record import Draft

_log = logging.getLogger(__name__)


def placed(
    order: Order, entry: Entry, mine: Sequence[Draft] | None
) -> Generator[None, None, Placed]:
    """Place an entry in steps; what this node has sent itself need not be decoded.

    An entry that is no batch takes its seqs, and nothing else. Raises `UnknownError`.
    """
    if mine is not None:
        return (yield from order.place(entry.number, entry.time, mine))
    try:
        return (yield from _foreign(order, entry))
    except MalformedError as error:
        _log.warning("entry %d of the stream is passed over: it %s", entry.number, error)
        return (yield from order.place(entry.number, entry.time, []))
    except UnknownError as error:
        raise UnknownError(_unknown(entry, error)) from None


def _foreign(order: Order, entry: Entry) -> Generator[None, None, Placed]:
    """Place an entry of another node, in steps. Raises `MalformedError` and `UnknownError`."""
    payloads = _payloads(order, entry)
    record = batch.control(entry.format, entry.body)
    if record is not None:
        return _controlled(order, entry, record)
    if entry.format == batch.RESTORED:
        restored: list[tuple[int, Draft]] = []
        for seq, payload in map(batch.unplaced, payloads):
            restored.append((seq, batch.draft(payload)))
            yield
        return Placed((yield from order.restore(entry.time, restored)), [])
    drafts: list[Draft] = []
    for payload in payloads:
        drafts.append(batch.draft(payload))
        yield
    return (yield from order.place(entry.number, entry.time, drafts))


def _controlled(order: Order, entry: Entry, record: Control) -> Placed:
    """Place a control record. Raises `MalformedError`."""
    if isinstance(record, Rebased):
        order.rebase(entry.number, record)
        return Placed([], [])
    if isinstance(record, Renewal):
        return Placed([], [], order.renew(entry.number, entry.time, record))
    if isinstance(record, Enacted):
        return order.restore_act(record)
    return order.enact(entry.number, record)


def recalled(order: Order, entry: Entry) -> Generator[None, None, None]:
    """Note the ids of an entry, as `placed` has done."""
    with suppress(MalformedError, UnknownError):
        payloads = _payloads(order, entry)
        record = batch.control(entry.format, entry.body)
        if record is not None:
            order.recall_control(entry.number, entry.time, record)
        elif entry.format == batch.RESTORED:
            order.recall_restored(entry.time, [batch.unplaced(payload) for payload in payloads])
        else:
            yield from order.recall(entry.number, entry.time, payloads)


def _payloads(order: Order, entry: Entry) -> list[bytes]:
    """Return the messages of an entry; a control record has none.

    Raises `MalformedError` and `UnknownError`.
    """
    if entry.base != order.base:
        raise MalformedError("is not of this log")
    return [] if entry.format in batch.CONTROLS else batch.decode(entry.format, entry.body)


def _unknown(entry: Entry, error: UnknownError) -> str:
    return f"entry {entry.number} of the stream {error}; this livelog is too old for the log"
