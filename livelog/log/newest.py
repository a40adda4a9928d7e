"""The newest message that each principal may read, for what a connection is told of the log.

The head alone would tell everybody when a direct message is sent, to the microsecond. So a
principal is told of the newest message among those it may read. The table is one of the log's
subscribers: it knows what has come since it was made; what was before is asked of the log, once per
connection.

The rule: it is bounded. Of direct messages it keeps the newest of each user that is connected, and
forgets the user that has been in it longest.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict

from livelog.auth.principal import Principal
from livelog.index.terms import reader
from livelog.wire.messages import MessageType
from livelog.wire.record import Record

_MAX_USERS = 100_000


class Newest:
    """Seqs of the newest messages: by type, and of direct ones by user."""

    def __init__(self) -> None:
        self._by_type: defaultdict[MessageType, int] = defaultdict(int)
        self._by_user: OrderedDict[str, int] = OrderedDict()

    def publish(self, record: Record) -> None:
        """Note a message."""
        if record.type != "dm":
            self._by_type[record.type] = record.seq
            return
        for term in record.keys:
            if term in self._by_user:
                self._by_user[term] = record.seq

    def enter(self, principal: Principal) -> None:
        """Keep the direct messages of a principal that connects from now on."""
        self._by_user.setdefault(_term(principal), 0)
        if len(self._by_user) > _MAX_USERS:
            self._by_user.popitem(last=False)

    def of(self, principal: Principal) -> int:
        """Return the seq of the newest message that a principal may read, 0 if none has come."""
        readable = principal.readable
        own = self._by_user.get(_term(principal), 0) if "dm" in readable else 0
        return max(own, *(self._by_type[name] for name in readable), 0)


def _term(principal: Principal) -> str:
    return reader(principal.id)
