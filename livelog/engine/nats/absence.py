"""The absence of a node, of which the stream has forgotten the beginning: it may lack acts.

It has messages from before, which may have been redacted while it was away, and it may know nothing
of a block. The next repetition of acts (`renewing`) tells it.
"""

from __future__ import annotations

from livelog.engine.base import Sink
from livelog.engine.nats.stream import Bounds

LACKS_ACTS = (
    "this node was away for so long that the stream may lack redactions, erasures and blocks of"
    " that time: another server repeats them; without any, run `livelog engine heal` with the"
    " store of the server that was away least, and start it again"
)


class Absence:
    """The absence of one node that starts on a stream with these `bounds`."""

    def __init__(self, sink: Sink, bounds: Bounds) -> None:
        self._sink = sink
        lost = sink.lost_upto
        self._absent_upto = lost if lost > bounds.base and bounds.forgets else 0
        """Seq up to which messages have passed without this node, behind older ones that it has."""
        joins = bounds.first > 1 and sink.head == bounds.gone_upto
        self._joined_at = sink.head if joins else 0
        """The same, whether it has older ones or not, if this process has found that."""

    @property
    def lacks_acts(self) -> bool:
        """Tell whether this node may show what was redacted meanwhile."""
        return self._acts_upto < self._absent_upto

    @property
    def knows_all_acts(self) -> bool:
        """Tell whether this node knows of all acts that last."""
        return self._acts_upto >= max(self._absent_upto, self._joined_at)

    @property
    def _acts_upto(self) -> int:
        """Seq up to which acts have been repeated."""
        return 0 if self._sink.renewal is None else self._sink.renewal.upto
