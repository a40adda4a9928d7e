"""`audit` and `announce`: what moderators have done, and what they say to all."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from livelog.auth.principal import PROGRAM
from livelog.engine.base import Outcome
from livelog.errors import RefusedError
from livelog.net.admin.acting import enact
from livelog.net.admin.asking import Asking
from livelog.wire import acts
from livelog.wire.acts import Enacted
from livelog.wire.admin import Announce, Audit
from livelog.wire.messages import SystemMessage
from livelog.wire.record import Receipt

Json = dict[str, Any]


async def audit(asking: Asking, command: Audit) -> Json:
    """List the newest acts: who did what, when and why."""
    before = None if command.before is UNSET else command.before
    found = asking.context.log.acts(before, command.limit)
    return {
        "acts": [_row(each, asking.context.log.scrubbed_upto) for each in found],
        "limit": command.limit,
    }


def _row(enacted: Enacted, scrubbed_upto: int) -> Json:
    """Return an act; of a redaction or erasure how many messages it names."""
    fields: Json = msgspec.to_builtins(enacted.act)
    if isinstance(enacted.act, acts.Redact | acts.Erase):
        del fields["groups"]
        fields.pop("records", None)
        fields["messages"] = len(enacted.act.seqs)
        fields["scrubbed"] = enacted.seq <= scrubbed_upto
    return {"seq": enacted.seq, **fields}


async def announce(asking: Asking, command: Announce) -> Json:
    """Publish an announcement, as any message is published."""
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
    await enact(asking, acts.Announce, command.reason, **fields)
    return {"id": receipt.id, "seq": receipt.seq}
