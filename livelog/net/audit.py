"""The audit log: refusals, blocks, evictions and failed connections. Callers give the text.

No client may fill the disk by repeating itself: each kind of incident is logged once a minute per
address, with the number of repetitions, and all addresses together get a limited number of lines a
minute. The log quotes as little of a client's input as possible: never the target of a request,
which may hold a token, and never the text of a message.

The fields of a line say the same for programs. They are names of the protocol and of the server,
never of a client's making: of a path that is not served, and of a field that no command or message
has, there is only a `*`.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec import Struct

from livelog.config.logs import fields
from livelog.errors import CODES, RefusedError
from livelog.net.tokenbucket import Rate, TokenBucket
from livelog.wire import admin, commands, messages

log = logging.getLogger("livelog.audit")

_INTERVAL = 60.0
"""Seconds between two lines about the same kind of incident and the same address."""
_LINES = Rate(100, 60)
"""Maximum rate of lines for all addresses together."""
_REMEMBERED = 2000
"""Maximum pairs of kind and address; the oldest is evicted, and its next incident is logged."""
_LONGEST = 200
"""Maximum characters of a quoted text."""


_STEP = re.compile(r"[^.\[\]]+")
_WORDS = {
    "action", "address", "body", "commands", "interval", "last-event-id", "messages", "method",
    "path", "scope", "store", "upgrade", "watch",
}  # fmt: skip
_FIELDS = _WORDS.union(
    *(
        each.__struct_encode_fields__
        for module in (admin, commands, messages)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Struct)
    )
)
"""Names of fields that are the protocol's own: all others a client has made up."""


@dataclass(slots=True)
class _Logged:
    next_at: float
    """Time from which on the incident may be logged again."""
    suppressed: int = 0


class Audit:
    """The writer of lines like `203.0.113.9 was refused: 1008 origin: …`.

    `clock` is the clock of the loop.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._logged: OrderedDict[tuple[str, str], _Logged] = OrderedDict()
        self._lines = TokenBucket(_LINES)
        self.refusals: Counter[int] = Counter()
        """Code → requests and commands that were refused with it so far."""
        self.closes: Counter[int] = Counter()
        """Code → WebSockets that were closed with it so far."""
        self._dropped = 0  # lines over the rate since the last one that was written

    def refused(
        self, address: str, refused: RefusedError, *, quote: bool = True, **where: str
    ) -> None:
        """Log a refused request; `quote` its issue only where that does not contain its input.

        `where` are further fields: `path` or `command`, `connection`.
        """
        code = refused.code
        self.refusals[code] += 1
        why = str(refused) if quote else CODES[code].text
        kind = f"{code} {refused.field}" if quote else str(code)
        field = refused.field if quote else _known(refused.field)
        more = fields(code=code, field=field, scope=refused.scope, **where)
        self.report(kind, address, f"was refused: {code} {why}", more)

    def closed(self, address: str, code: int, why: str, connection: str = "") -> None:
        """Log that a WebSocket is closed with `code`."""
        self.closes[code] += 1
        more = fields(code=code, connection=connection)
        self.report(f"end {code}", address, f"is disconnected: {code} {why}", more)

    def report(
        self, kind: str, address: str, what: str, more: Mapping[str, object] | None = None
    ) -> None:
        """Log an incident, unless its kind was logged for this address within a minute.

        `more` are the fields of the line.
        """
        now = self._clock()
        logged = self._logged.get((kind, address))
        if logged is not None and now < logged.next_at:
            logged.suppressed += 1
        elif not self._lines.take(now):
            self._dropped += 1
        else:
            who, text = address or "the socket", _printable(what)
            log.info("%s %s%s", who, text, self._omitted(logged), extra=more)
            self._remember((kind, address), now)

    def _omitted(self, logged: _Logged | None) -> str:
        same, others = logged.suppressed if logged else 0, self._dropped
        self._dropped = 0
        return (f" (and {same} times more)" if same else "") + (
            f" (and {others} lines were left out)" if others else ""
        )

    def _remember(self, key: tuple[str, str], now: float) -> None:
        self._logged[key] = _Logged(now + _INTERVAL)
        self._logged.move_to_end(key)
        if len(self._logged) > _REMEMBERED:
            self._logged.popitem(last=False)


def _printable(text: str) -> str:
    """Escape and shorten a text, so that it stays one line of printable characters."""
    return text[:_LONGEST].encode("unicode_escape").decode("ascii")


def _known(field: str) -> str:
    """Return the path of a field, with a `*` for each name that a client has made up."""
    if len(field) > _LONGEST:
        return "*"
    return _STEP.sub(
        lambda step: step[0] if step[0] in _FIELDS or step[0].isdigit() else "*", field
    )
