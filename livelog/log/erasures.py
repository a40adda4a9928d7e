"""The earlier acts that erasures have changed: what comes of one of them later is changed as well.

A server repeats the acts that it has in a shared log, and an erasure may get its place just before.
A server that knows the erasure, and not yet the act, would be told the user's id again.
"""

from __future__ import annotations

from collections import defaultdict

from livelog.wire.acts import Act, Enacted, Erase
from livelog.wire.erasure import erased_act


class Erasures:
    """The changes that erasures have made to earlier acts."""

    def __init__(self) -> None:
        self._changed: defaultdict[int, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        """Seq at which an act was placed first → places in it, each with the pseudonym there."""

    def note(self, act: Act) -> None:
        """Note an act, if it is an erasure; they come in their order."""
        if not isinstance(act, Erase):
            return
        for group in act.records:
            for seq in group.seqs:
                self._changed[seq].append((group.places, act.pseudonym))

    def applied(self, enacted: Enacted) -> Act:
        """Return an act that comes now, with the pseudonyms that it has by now."""
        act = enacted.act
        for places, pseudonym in self._changed.get(enacted.first_seq, ()):
            act = erased_act(act, places, pseudonym)
        return act
