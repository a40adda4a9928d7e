"""The log of what was refused and what failed at the door: once, with who and why.

The rule: nothing that a stranger repeats may fill the disk. A kind of incident is told of an
address once a minute, with how many there were meanwhile, and all addresses together get so many
lines a minute. What a stranger wrote is quoted as little as can be: never a target, which may hold
a token, and never the text of a message.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from livelog.errors import CODES, RefusedError
from livelog.net.tokenbucket import Rate, TokenBucket

log = logging.getLogger("livelog.audit")

_AGAIN = 60.0
"""Seconds after which the same may be told of the same address again."""
_LINES = Rate(100, 60)
"""Lines for all addresses."""
_REMEMBERED = 2000
"""Pairs of kind and address; of one that is forgotten the next incident is told at once."""
_LONGEST = 200


@dataclass(slots=True)
class _Told:
    again_at: float
    untold: int = 0


class Audit:
    """Writes lines like `203.0.113.9 was refused: 1008 origin: …`. `clock` is the loop's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()
        self._lines = TokenBucket(_LINES)
        self._dropped = 0  # lines, since the last one that was written

    def refused(self, address: str, refused: RefusedError, *, quote: bool = True) -> None:
        """A request was refused; `quote` what was wrong only where it is the door's own words."""
        code = refused.code
        why = f"{refused.field}: {refused.issue}" if quote else CODES[code].text
        kind = f"{code} {refused.field}" if quote else str(code)
        self.report(kind, address, f"was refused: {code} {why}")

    def report(self, kind: str, address: str, what: str) -> None:
        """Tell `what` happened, unless as much has been said lately."""
        now = self._clock()
        told = self._told.get((kind, address))
        if told is not None and now < told.again_at:
            told.untold += 1
        elif not self._lines.take(now):
            self._dropped += 1
        else:
            log.info("%s %s%s", address or "the socket", _printable(what), self._untold(told))
            self._remember((kind, address), now)

    def _untold(self, told: _Told | None) -> str:
        same, others = told.untold if told else 0, self._dropped
        self._dropped = 0
        return (f" (and {same} times more)" if same else "") + (
            f" (and {others} lines were left out)" if others else ""
        )

    def _remember(self, key: tuple[str, str], now: float) -> None:
        self._told[key] = _Told(now + _AGAIN)
        self._told.move_to_end(key)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)


def _printable(text: str) -> str:
    """One line, whatever it quotes."""
    return text[:_LONGEST].encode("unicode_escape").decode("ascii")
