"""The healing of a stream that has lost its end: brokers had acknowledged what they did not keep.

A node's archive has it still. A rebase is appended, behind which seqs go on above all that were
given, and then the messages that were lost, with the seqs that they had. Nodes place nothing else
until all of them are there, so a healing that was cut short has to be run again, and goes on where
it was.

What was begun stands in the stream's metadata, for nodes that start need to know of every rebase:
first the intent, then, once the record is in the stream, the rebase.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from livelog.config.address import SharedLog
from livelog.engine.nats import batch, settings
from livelog.engine.nats.operator import Operator, connected
from livelog.engine.nats.places import Rebase
from livelog.engine.nats.stream import AwayError, Bounds, Entry
from livelog.errors import ConfigError, RefusedError

_ROOM = 2**30
"""Seqs that are left free, for nodes may have more than this archive: a million batches."""

_COMPARED = 50
"""Entries at the end of the stream that are compared with the archive."""

_TRIES, _PAUSE_SECONDS = 40, 0.25

_INTENT = "livelog.healing"
_REBASED = "livelog.rebased"
_NUMBERS = re.compile(r"(\d{1,16}):(\d{1,16}):(\d{1,16})")


class Archive(Protocol):
    """A node's store, which no server uses meanwhile."""

    @property
    def began(self) -> int:
        """The seqs of the log are above."""

    def after(self, seq: int) -> Iterator[tuple[int, bytes]]:
        """Yield seq and payload of the messages behind a seq."""


class Healed(NamedTuple):
    """Number of messages that were restored, and their lowest and highest seq; 0 without any."""

    messages: int
    first: int
    last: int


async def heal(log: SharedLog, creds: str, archive: Archive) -> Healed:
    """Restore what the stream has lost and `archive` has.

    Raises `AwayError`, and `ConfigError` for what does not fit together.
    """
    async with connected(log, creds) as operator:
        info = await operator.info()
        if info is None:
            raise ConfigError(f"there is no stream {settings.stream_of(log.name)}")
        healing = _Healing(operator, archive, info)
        healing.check(await operator.nodes())
        await operator.stream.open()
        rebase = await healing.rebased()
        return Healed(0, 0, 0) if rebase is None else await healing.restore(rebase)


class _Healing:
    """One healing of one stream, of which the broker has told `info`."""

    def __init__(self, operator: Operator, archive: Archive, info: Any) -> None:
        self._operator = operator
        self._archive = archive
        self._config: dict[str, Any] = info["config"]
        self._bounds = operator.bounds(info)

    def check(self, nodes: list[Any]) -> None:
        """Raise `ConfigError` for another log, and for nodes that have more than the store."""
        if self._archive.began != self._bounds.origin.began:
            raise ConfigError("the store has another log than the stream")
        last = max(self._last(), self._bounds.end)
        ahead = [node for node in nodes if node.seq > last]
        if ahead:
            names = ", ".join(node.name for node in ahead)
            most = max(node.seq for node in ahead)
            raise ConfigError(
                f"these nodes have more than the store: {names}; stop the one that has most, up to"
                f" seq {most}, and heal with its store"
            )

    async def rebased(self) -> Rebase | None:
        """Return the rebase behind which something is to be restored; None without any."""
        if (intent := _numbers(self._config, _INTENT)) is not None:
            await self._finish(intent)
        known = self._bounds.rebases[-1:]
        for rebase in known:
            if await self._restored_upto(rebase) < rebase.until:
                return rebase
        return await self._begin()

    async def _begin(self) -> Rebase | None:
        """Append a rebase, if the archive has more than the stream."""
        bounds = self._bounds
        until = self._last()
        if not until:
            return None
        await self._compare()
        number = bounds.last + 1
        base = until + _ROOM - (number + 1) * batch.MAX_MESSAGES
        rebase = Rebase(number, base, until)
        await self._note({_INTENT: settings.metadata_of([rebase])})
        record = batch.encode_control(batch.Rebased(base, until))
        await self._append(f"rebase-{number}-{base}", *record, behind=bounds.last)
        await self._finish(rebase)
        return rebase

    def _last(self) -> int:
        """Return the highest seq of the archive above the stream's end; 0 without any."""
        return max((seq for seq, _ in self._archive.after(self._bounds.end)), default=0)

    async def _finish(self, rebase: Rebase) -> None:
        """Note a rebase in the metadata, if its record is in the stream."""
        entries, _ = await self._read(rebase.number - 1)
        record = batch.encode_control(batch.Rebased(rebase.base, rebase.until))
        there = entries and (entries[0].number, entries[0].format, entries[0].body) == (
            rebase.number,
            *record,
        )
        known = self._bounds.rebases
        rebases = (*known, rebase) if there and rebase not in known else known
        await self._note({_INTENT: "", _REBASED: settings.metadata_of(rebases)})
        self._bounds = self._bounds._replace(rebases=rebases)

    async def _compare(self) -> None:
        """Raise `ConfigError` where the stream has other messages than the archive.

        Nodes that lacked what was lost have gone on, and used its seqs.
        """
        bounds = self._bounds
        places, start = bounds.places, max(bounds.first, bounds.last - _COMPARED)
        ids: dict[int, str] = {}
        more = bounds.last >= start
        after = start - 1
        while more:
            entries, more = await self._read(after)
            for entry in entries:
                ids.update(_ids(bounds, entry))
                after = entry.number
            more = more and after < bounds.last
        for seq, payload in self._archive.after(places.seq_of(start) - 1):
            if seq > bounds.end:
                return
            if ids.get(seq) != batch.named(payload)[0]:
                raise ConfigError(
                    f"the stream has other messages than the store, from seq {seq} or before: it"
                    " went on without what was lost, and cannot be healed with this store"
                )

    async def restore(self, rebase: Rebase) -> Healed:
        """Append what is missing behind a rebase."""
        upto = await self._restored_upto(rebase)
        count = first = 0
        for chunk in _chunks(self._archive.after(upto), rebase.until):
            body = batch.encode_restored([payload for _, payload in chunk])
            await self._append(f"restored-{rebase.number}-{chunk[0][0]}", *body)
            first, upto, count = first or chunk[0][0], chunk[-1][0], count + len(chunk)
        if upto != rebase.until:
            raise ConfigError(
                f"the store does not have the message at seq {rebase.until}; go on with the store"
                " with which the healing was begun"
            )
        return Healed(count, first, upto)

    async def _restored_upto(self, rebase: Rebase) -> int:
        """Return the seq up to which messages have been restored behind a rebase."""
        upto = self._bounds.places.seq_of(rebase.number - 1, batch.MAX_MESSAGES - 1)
        if rebase.until <= upto or rebase.number < self._bounds.first:
            return rebase.until  # there was nothing, or it is long ago
        after, more = rebase.number, True
        while more and upto < rebase.until:
            entries, more = await self._read(after)
            for entry in entries:
                after = entry.number
                if entry.format == batch.RESTORED:
                    upto = batch.unplaced(batch.decode(entry.format, entry.body)[-1])[0]
        return upto

    async def _note(self, changes: dict[str, str]) -> None:
        """Change the stream's metadata."""
        metadata = {**self._config["metadata"], **changes}
        kept = {key: value for key, value in metadata.items() if value}
        self._config = {**self._config, "metadata": kept}
        await self._operator.change("UPDATE", self._config)

    async def _read(self, after: int) -> tuple[list[Entry], bool]:
        """Read entries, again if a broker lags that has none yet."""
        for _ in range(_TRIES):
            entries, more = await self._operator.stream.read(after)
            if entries or after >= self._bounds.last:
                return [*entries], more
            await asyncio.sleep(_PAUSE_SECONDS)
        raise AwayError("the brokers do not tell what is in the stream")

    async def _append(self, id: str, format: str, body: bytes, behind: int | None = None) -> None:
        """Append an entry, again under its id until it is known to be there."""
        for tried in range(_TRIES):
            try:
                await self._operator.stream.append(id, format, body, behind)
            except RefusedError as refused:
                raise ConfigError(f"{refused.issue}; stop all nodes that publish") from None
            except AwayError:
                if tried == _TRIES - 1:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return


def _ids(bounds: Bounds, entry: Entry) -> dict[int, str]:
    """Return the ids of the messages of an entry, by seq."""
    if entry.base != bounds.base or entry.format not in batch.FORMATS - {*batch.CONTROLS}:
        return {}
    payloads = batch.decode(entry.format, entry.body)
    if entry.format == batch.RESTORED:
        placed = [batch.unplaced(payload) for payload in payloads]
        return {seq: batch.named(payload)[0] for seq, payload in placed}
    first = bounds.places.seq_of(entry.number)
    return {first + index: batch.named(payload)[0] for index, payload in enumerate(payloads)}


def _chunks(messages: Iterator[tuple[int, bytes]], until: int) -> Iterator[list[tuple[int, bytes]]]:
    """Yield the messages up to a seq, as many at once as fit into an entry."""
    chunk: list[tuple[int, bytes]] = []
    for seq, payload in messages:
        if seq > until:
            break
        sizes = [len(payload) for _, payload in [*chunk, (seq, payload)]]
        if batch.fitting(sizes) < len(sizes):
            yield chunk
            chunk = []
        chunk.append((seq, payload))
    if chunk:
        yield chunk


def _numbers(config: dict[str, Any], key: str) -> Rebase | None:
    found = _NUMBERS.fullmatch((config.get("metadata") or {}).get(key, ""))
    return None if found is None else Rebase(*map(int, found.groups()))
