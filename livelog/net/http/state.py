"""The states of a connection that speaks HTTP, and the rules of each. A table.

    PREFACE ─> WAITING ─> HEAD ─> BODY ─> ANSWERING ⇄ STALLED
                            ↑               │   │
                            └──── IDLE <────┘   └─> LINGERING ─> CLOSED

A request without a body skips BODY. From every state but CLOSED a refusal leads to LINGERING, and
the end of the connection, or an upgrade, to CLOSED.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from livelog.config.network import Net
from livelog.net.http.parser import Stage


class State(Enum):
    """The states of a connection."""

    PREFACE = auto()
    """The PROXY header of a trusted proxy is awaited."""
    WAITING = auto()
    """Connected, and no request has begun yet."""
    HEAD = auto()
    """A head has begun."""
    BODY = auto()
    """A head is complete, its body is not."""
    ANSWERING = auto()
    """Requests are being answered; reading is paused."""
    LEFT = auto()
    """The same, and the client has closed its direction: most of those are gone altogether."""
    STALLED = auto()
    """The same, and the client does not read its answers."""
    IDLE = auto()
    """Everything is answered, the next request has not begun."""
    LINGERING = auto()
    """The last answer is written; the client has a while to read it and close its direction."""
    CLOSED = auto()
    """Not connected yet or not any more, or a WebSocket has taken over."""


class Rule(NamedTuple):
    """The rules of one state."""

    timeout: Callable[[Net], float] | None = None
    """Seconds the state may last."""
    late: str = ""
    """The part that came too late, told with a 408; empty: the connection is dropped."""
    silent: bool = False
    """A client that never gets beyond this state is reported to the audit log."""
    reads: bool = True
    """Bytes that arrive are parsed."""
    unasked: bool = False
    """No head is complete: the connection is closed when the server stops."""
    flushes: bool = False
    """Answers may wait for the client to read: it has `stall_seconds` again whenever it did."""
    busy: bool = False
    """Requests are being answered: they are finished, whatever happens meanwhile."""


RULES: dict[State, Rule] = {
    State.PREFACE: Rule(lambda net: net.head_timeout, silent=True, unasked=True),
    State.WAITING: Rule(lambda net: net.head_timeout, silent=True, unasked=True),
    State.HEAD: Rule(lambda net: net.head_timeout, late="head", unasked=True),
    State.BODY: Rule(lambda net: net.body_timeout, late="body"),
    State.ANSWERING: Rule(busy=True),
    State.LEFT: Rule(lambda net: net.close_timeout, busy=True),
    State.STALLED: Rule(lambda net: net.stall_seconds, flushes=True, busy=True),
    State.IDLE: Rule(lambda net: net.idle_timeout, unasked=True),
    State.LINGERING: Rule(lambda net: net.close_timeout, reads=False, flushes=True),
    State.CLOSED: Rule(reads=False),
}

RECEIVING: dict[Stage, State] = {"head": State.HEAD, "body": State.BODY}
"""Stage of the parser → state of a connection that waits for more of the request."""
