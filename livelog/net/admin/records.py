"""`audit` and `announce`: what moderators have done, and what they say to all."""

from __future__ import annotations

from collections.abc import Generator
from itertools import islice
from typing import Any

import msgspec
from msgspec import UNSET

from livelog.auth.principal import PROGRAM
from livelog.budget.slices import interleaved, long_step
from livelog.engine.base import Outcome
from livelog.errors import RefusedError
from livelog.log.log import Log
from livelog.net import queries
from livelog.net.admin.acting import noted
from livelog.net.admin.asking import Asking
from livelog.wire import acts
from livelog.wire.acts import Brief
from livelog.wire.admin import Announce, Audit
from livelog.wire.messages import SystemMessage
from livelog.wire.record import Receipt
from livelog.wire.timestamps import timestamp

Json = dict[str, Any]


async def audit(asking: Asking, command: Audit) -> Json:
    """List the newest acts: who did what, when and why."""
    owner = queries.owner(asking.principal, asking.address)
    rows = await interleaved(_rows(asking.context.log, command), owner)
    await long_step()  # to encode a thousand rows is not cut
    return {"acts": rows, "limit": command.limit}


def _rows(log: Log, command: Audit) -> Generator[None, None, list[Json]]:
    """List the acts in steps."""
    rows: list[Json] = []
    before = None if command.before is UNSET else command.before
    for each in islice(log.briefs(before), command.limit):
        rows.append(_row(each, log.scrubbed_upto))
        yield
    return rows


def _row(brief: Brief, scrubbed_upto: int) -> Json:
    """Return an act; of a redaction or erasure how many messages it names."""
    fields: Json = msgspec.to_builtins(brief.act)
    if brief.messages is not None:
        del fields["groups"]
        fields.pop("records", None)
        fields |= {"messages": brief.messages, "scrubbed": brief.seq <= scrubbed_upto}
    if fields.get("until") is not None:  # of a block; a time like all others that are told
        fields["until"] = timestamp(fields["until"])
    return {"seq": brief.seq, **fields}


async def announce(asking: Asking, command: Announce) -> Json:
    """Publish an announcement, as any message is published, and then note it.

    The record names the message, so it comes behind it. Where it fails, as on a full disk, the
    announcement has gone out, and the reply says that it is not in the audit log.
    """
    message = SystemMessage(
        event="server_maintenance", severity=command.severity, data={"message": command.text}
    )
    # The scope of moderators allows it, whatever else they may publish.
    ingest = asking.context.ingest
    draft = ingest.admit(PROGRAM, message)
    answered = asking.context.loop.create_future()

    def done(outcomes: Any) -> None:
        if not answered.done():
            answered.set_result(outcomes[0])

    ingest.publish([draft], done)
    outcome: Outcome = await answered
    if isinstance(outcome, RefusedError):
        raise outcome
    receipt: Receipt = outcome
    fields = {"message": receipt.seq, "severity": command.severity}
    audited = await noted(asking, "announce", acts.Announce, command.reason, **fields)
    return {"id": receipt.id, "seq": receipt.seq, **audited}
