"""The effects of acts on the clients of this server: connections are closed, blocks set and ended.

Every server applies every act at the same place in the log. After a restart the blocks come back
from the acts that the store has kept; nobody is connected then. Where an erasure changes the act
that has set a block, it changes the block, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator
from ipaddress import ip_network
from typing import Any

from livelog.budget.slices import in_background
from livelog.errors import RefusedError
from livelog.net.admin.targets import Open, Target, found
from livelog.net.blocks import Block as BlockInForce
from livelog.net.blocks import Blocks
from livelog.net.context import Context
from livelog.wire.acts import Act, Block, Disconnect, Erase, Unblock
from livelog.wire.erasure import erased_act

_log = logging.getLogger(__name__)

_STEP = 8
"""Connections that are closed in one step."""


class Effects:
    """Applies acts to the clients of one server."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._closing: set[asyncio.Task[None]] = set()
        self._settled: dict[tuple[str, str], int] = {}
        """User and network → seq of the last word about its block, where that was given first."""
        self._words: dict[int, Block | Unblock] = {}
        """These words, by that seq."""
        context.log.on_act.append(self._apply)

    def restore(self) -> None:
        """Set the blocks that were in force before a restart."""
        try:
            briefs = self._context.log.briefs()
            kept = [one for one in briefs if isinstance(one.act, Block | Unblock)]
        except RefusedError as refused:
            _log.error("the blocks by moderators could not be read: %s", refused)
            return
        for one in reversed(kept):
            self._change(one.first_seq, one.act)

    def close(self) -> None:
        """Stop what is under way."""
        for task in self._closing:
            task.cancel()

    def _apply(self, seq: int, act: Act) -> None:
        if isinstance(act, Erase):
            self._rename(act)
        in_force = self._change(act.first_seq or seq, act) and not self._has_passed(act)
        if in_force and isinstance(act, Disconnect | Block):
            task = in_background(self._disconnecting(act), "disconnecting clients")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _change(self, first_seq: int, act: Act) -> bool:
        """Set or end a block, if that is the act; False for a word that has been replaced.

        Where several servers share a log, acts come again behind later ones.
        """
        if not isinstance(act, Block | Unblock):
            return True
        target = act.user_id, act.address
        known = self._settled.get(target, 0)
        if first_seq < known:
            return False
        self._words.pop(known, None)
        self._settled[target] = first_seq
        self._words[first_seq] = act
        _change(self._context.limiter.blocked, first_seq, act)
        return True

    def _has_passed(self, act: Act) -> bool:
        """Tell whether an act is the repetition of a block that has ended meanwhile."""
        ends = act.until if isinstance(act, Block) and act.first_seq else None
        return ends is not None and ends <= self._context.clock()

    def _rename(self, act: Erase) -> None:
        """Have blocks name a user, or a moderator, as the acts that have set them do from now on.

        A later word, which a server that was away knows by the pseudonym alone, replaces them.
        """
        named = [(seq, group.places) for group in act.records for seq in group.seqs]
        for seq, places in named:
            if (word := self._words.pop(seq, None)) is not None:
                del self._settled[word.user_id, word.address]
                self._context.limiter.blocked.remove(word.user_id, word.address)
                self._change(seq, erased_act(word, places, act.pseudonym))

    def _disconnecting(self, act: Disconnect | Block) -> Generator[None, None, None]:
        why, back_in = _END[type(act)](act, self._context.clock())
        said = f"{why}: {act.reason}" if act.reason else why
        meant: list[Open] = yield from found(self._context, target_of_act(act))
        for start in range(0, len(meant), _STEP):
            for peer in meant[start : start + _STEP]:
                peer.disconnect(said, back_in)
            yield
        if isinstance(act, Block):
            yield from self._turning_out()

    def _turning_out(self) -> Generator[None, None, None]:
        """End what is under way for clients that are blocked now, in steps."""
        asking = list(self._context.limiter.connections.waiting)
        for start in range(0, len(asking), _STEP):
            for peer in asking[start : start + _STEP]:
                peer.turn_out()
            yield


def target_of_act(act: Disconnect | Block) -> Target:
    """Return the connections that an act is about."""
    network = ip_network(act.address) if act.address else None
    connection_id = act.connection_id if isinstance(act, Disconnect) else ""
    return Target(connection_id or None, act.user_id or None, network)


def _change(blocked: Blocks, first_seq: int, act: Block | Unblock) -> None:
    if isinstance(act, Block):
        said = act.reason, act.by, act.at
        blocked.add(BlockInForce(act.user_id, act.address, act.until, *said, first_seq))
    else:
        blocked.remove(act.user_id, act.address)


def _end_of_disconnect(act: Disconnect, now: float) -> tuple[str, float | None]:
    return "disconnected by a moderator", act.back_in


def _end_of_block(act: Block, now: float) -> tuple[str, float | None]:
    return "blocked by a moderator", None if act.until is None else max(0.0, act.until - now)


_END: dict[type, Callable[[Any, float], tuple[str, float | None]]] = {
    Disconnect: _end_of_disconnect,
    Block: _end_of_block,
}
"""Act → what its clients are told, and the seconds after which they may come back."""
