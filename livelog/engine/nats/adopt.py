"""The stream of a log that begins with a single server's: its messages keep their seqs.

Nothing is copied: the server's file becomes that of the first node, and what is published from then
on gets seqs above all that the server may have given.
"""

from __future__ import annotations

from typing import Protocol

from livelog.config.address import SharedLog
from livelog.engine.nats import settings
from livelog.engine.nats.jetstream import ALONE, REPLICAS, code_of
from livelog.engine.nats.operator import connected, good
from livelog.errors import ConfigError
from livelog.wire.seqclock import resumed


class Archive(Protocol):
    """The store of a server that is not running."""

    @property
    def began(self) -> int:
        """The seqs of the log are above."""

    @property
    def last_seq(self) -> int:
        """Seq of the newest message."""

    @property
    def alive(self) -> int:
        """Highest seq that may have been given out."""


async def adopt(log: SharedLog, creds: str, archive: Archive, now: float) -> int:
    """Make the stream of a log that goes on behind `archive`; return the base of its seqs.

    `now` is Unix time in seconds. Raises `AwayError`, and `ConfigError` if there is a stream.
    """
    base = resumed(archive.alive, now)
    async with connected(log, creds) as operator:
        if await operator.info() is not None:
            name = settings.stream_of(log.name)
            raise ConfigError(f"there is a stream {name} already; give the log another name")
        if await operator.nodes():
            raise ConfigError("servers are running on this log; stop them first")
        for replicas in (REPLICAS, 1):
            config = settings.wanted(log.name, now, replicas)
            config["metadata"] |= settings.adopted(base, archive.began, archive.last_seq)
            answer = await operator.ask("CREATE", config)
            if code_of(answer) != ALONE:
                break
        good(answer)
    return base
