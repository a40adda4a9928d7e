"""Questions to the servers that share the log: who is connected there.

Each answers for itself, within a second or not at all; the reply names those that have not. Only
what people are shown is asked so: what changes something goes through the log.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from livelog.budget.owner import INTERNAL
from livelog.budget.slices import interleaved
from livelog.engine.base import Answer
from livelog.net.admin.asking import Asking, UnknownTargetError
from livelog.net.admin.connections import page
from livelog.net.context import Context
from livelog.wire.admin import Connections
from livelog.wire.events import encoder
from livelog.wire.timestamps import timestamp

_PATIENCE = 1.0
"""Seconds in which other servers have to answer."""

Json = dict[str, Any]


def answering(context: Context) -> Answer:
    """Return the function that answers the questions of other servers."""

    async def answer(question: bytes) -> bytes:
        command = msgspec.json.decode(question, type=Connections)
        return encoder.encode(await interleaved(page(context, command), INTERNAL))

    return answer


def names(asking: Asking) -> list[str]:
    """Return the names of all servers that share the log, as far as they were heard."""
    nodes = asking.context.ingest.nodes or ()
    return sorted({asking.context.node(), *(each.name for each in nodes)})


def keeping_more(asking: Asking) -> list[str]:
    """Return the names of servers that keep older messages than this one, as they have said."""
    mine = asking.context.log.keeps_from
    nodes = asking.context.ingest.nodes or ()
    return sorted({each.name for each in nodes if each.keeps_from < mine} - {asking.context.node()})


def elsewhere(asking: Asking) -> Json:
    """Name the servers with older messages than this one, which a look-up finds only there."""
    names = keeping_more(asking)
    return {"older_messages_on": names} if names else {}


def hint_of_elsewhere(asking: Asking) -> str:
    """Return what is said behind "there is no message" where other servers keep older ones."""
    names = ", ".join(keeping_more(asking))
    return f"; {names} keep older ones, give the command there" if names else ""


def at_the_brokers(asking: Asking) -> Json:
    """Tell until when the brokers of a shared log may have what was changed; None without end."""
    seconds = asking.context.ingest.kept_seconds
    if seconds is None:
        return {}
    until = None if seconds == math.inf else timestamp(asking.context.clock() + seconds)
    return {"brokers_until": until}


def check_known(asking: Asking, node: str) -> None:
    """Raise `UnknownTargetError` unless there is a server of this name."""
    known = names(asking)
    if node not in known:
        issue = f"there is no server {node!r}; there is {', '.join(known)}"
        raise UnknownTargetError("node", issue)


async def ask_others(asking: Asking, command: Connections) -> dict[str, Json]:
    """Return the pages of all other servers, or of the one that the command names.

    Who has answered is noted for the reply.
    """
    if asking.context.ingest.nodes is None or command.node == asking.context.node():
        return {}
    question = encoder.encode(replace(command, node=UNSET))
    answers = await asking.context.ingest.ask(question, _PATIENCE)
    if command.node is not UNSET:
        answers = {command.node: answers.get(command.node)}
    asking.nodes.update(
        {node: "no answer" if body is None else "ok" for node, body in answers.items()}
    )
    return {node: msgspec.json.decode(body) for node, body in answers.items() if body is not None}


async def count_elsewhere(asking: Asking, target: Json) -> int:
    """Return how many connections of a user, a network or an id other servers have."""
    pages = await ask_others(asking, msgspec.convert({**target, "limit": 1}, Connections))
    return sum(page["total_count"] for page in pages.values())
