"""`disconnect`, `block`, `unblock` and `blocks`: who is sent off, and who is kept out."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from msgspec import UNSET, UnsetType

from livelog.budget.slices import interleaved, long_step
from livelog.errors import POLICY_VIOLATION, RefusedError
from livelog.net import queries
from livelog.net.admin.acting import enact
from livelog.net.admin.asking import Asking, UnknownTargetError
from livelog.net.admin.nodes import count_elsewhere
from livelog.net.admin.targets import Target, check_spares, found, one_target
from livelog.net.blocks import MOST
from livelog.net.blocks import Block as BlockInForce
from livelog.wire import acts
from livelog.wire.admin import Block, Blocks, Disconnect, Unblock
from livelog.wire.timestamps import timestamp

Json = dict[str, Any]


async def disconnect(asking: Asking, command: Disconnect) -> Json:
    """Close the connections that are meant, and tell how many there were."""
    fields = {
        "connection_id": command.connection_id,
        "user_id": command.user_id,
        "address": command.address,
    }
    target = one_target(**fields)
    count = await _count(asking, target, force=command.force)
    if not count and "no answer" not in asking.nodes.values():
        raise UnknownTargetError(_named(fields), "has no open connection")
    back_in = command.reconnect_after_seconds if command.reconnect else None
    await enact(asking, acts.Disconnect, command.reason, back_in=back_in, **_texts(target))
    return {"disconnected": count}


async def block(asking: Asking, command: Block) -> Json:
    """Keep a user or a network out, and close its connections."""
    context = asking.context
    target = one_target(user_id=command.user_id, address=command.address)
    count = await _count(asking, target, force=command.force)
    if len(context.limiter.blocked) >= MOST:
        context.limiter.blocked.sweep()
    if len(context.limiter.blocked) >= MOST:
        raise RefusedError(POLICY_VIOLATION, "", f"there are {MOST} blocks already")
    seconds = command.duration_seconds
    until = None if seconds is UNSET else context.clock() + seconds
    named = _texts(target)
    await enact(asking, acts.Block, command.reason, until=until, **named)
    is_shared = context.ingest.nodes is not None  # a server that starts reads the acts there
    survives = is_shared or context.config.storage.path != "memory"
    return {**named, **_until(until), "disconnected": count, "survives_restart": survives}


async def unblock(asking: Asking, command: Unblock) -> Json:
    """End a block, which must be in force."""
    target = one_target(user_id=command.user_id, address=command.address)
    named = _texts(target)
    user_id, address = named.get("user_id", ""), named.get("address", "")
    if asking.context.limiter.blocked.of(user_id, address) is None:
        raise UnknownTargetError("address" if address else "user_id", "is not blocked")
    await enact(asking, acts.Unblock, command.reason, **named)
    return {**named}


async def blocks(asking: Asking, command: Blocks) -> Json:
    """List a page of the blocks in force."""
    page = asking.context.limiter.blocked.page(command.offset, command.limit)
    some, count = await interleaved(page, queries.owner(asking.principal, asking.address))
    await long_step()  # to encode a thousand rows is not cut
    return {
        "blocks": [_row(each) for each in some],
        "total_count": count,
        "limit": command.limit,
        "offset": command.offset,
    }


async def _count(asking: Asking, target: Target, *, force: bool) -> int:
    """Return how many connections are meant. Raises `RefusedError` where that is a slip."""

    def counting() -> Generator[None, None, int]:
        if not force:
            yield from check_spares(asking, target)
        return len((yield from found(asking.context, target)))

    here = await interleaved(counting(), queries.owner(asking.principal, asking.address))
    return here + await count_elsewhere(asking, {**_texts(target)})


def _texts(target: Target) -> dict[str, str]:
    """Return a target as the fields of an act; an address is a network of one."""
    network = target.network
    address = "" if network is None else str(network)
    if network is not None and network.num_addresses == 1:
        address = str(network.network_address)
    named = {
        "connection_id": target.connection_id or "",
        "user_id": target.user_id or "",
        "address": address,
    }
    return {name: text for name, text in named.items() if text}


def _named(fields: dict[str, str | UnsetType]) -> str:
    return next(name for name, value in fields.items() if value is not UNSET)


def _row(block: BlockInForce) -> Json:
    row = {
        "user_id": block.user_id,
        "address": block.address,
        "by": block.by,
        "at": block.at,
        "reason": block.reason,
    }
    return {**row, **_until(block.until)}


def _until(until: float | None) -> Json:
    return {"until": None if until is None else timestamp(until)}
