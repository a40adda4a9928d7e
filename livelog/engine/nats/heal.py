"""The healing of a stream that has lost its end: brokers had acknowledged what they did not keep.

A node's archive has it still. A rebase is appended, behind which seqs go on above all that were
given, and then the messages and acts that were lost, with the seqs that they had. Nodes place
nothing else until all of them are there, so a healing that was cut short has to be run again, and
goes on where it was.

What was begun stands in the stream's metadata, for nodes that start need to know of every rebase:
first the intent, then, once the record is in the stream, the rebase.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from heapq import merge
from itertools import takewhile
from typing import Any, NamedTuple, Protocol

from msgspec.structs import replace

from livelog.config.address import SharedLog
from livelog.engine.base import Node
from livelog.engine.nats import batch, settings
from livelog.engine.nats.agreement import disagreement
from livelog.engine.nats.operator import Operator, connected
from livelog.engine.nats.places import Rebase
from livelog.engine.nats.recent import existing
from livelog.engine.nats.renewing import id_of, pages, renewals
from livelog.engine.nats.stream import AwayError, Entry
from livelog.errors import ConfigError, RefusedError
from livelog.wire.acts import Enacted, Renewed

_ROOM = 2**30
"""Seqs that are left free, for nodes may have more than this archive: a million batches."""

_TRIES, _PAUSE_SECONDS = 40, 0.25

_INTENT = "livelog.healing"
_REBASED = "livelog.rebased"
_NUMBERS = re.compile(r"(\d{1,16}):(\d{1,16}):(\d{1,16})")


class Archive(Protocol):
    """A node's store, which no server uses meanwhile."""

    @property
    def began(self) -> int:
        """The seqs of the log are above."""

    @property
    def last_seq(self) -> int:
        """Seq of the newest message or act."""

    @property
    def lost_upto(self) -> int:
        """Seq up to which messages have passed without this node, and acts may have; or 0."""

    def after(self, seq: int) -> Iterator[tuple[int, bytes]]:
        """Yield seq and payload of the messages behind a seq."""

    def stored(self, upto: int, limit: int) -> Sequence[tuple[int, str]]:
        """Return seq and id of the newest messages up to a seq, newest first."""

    def acts(self, before: int | None, limit: int) -> Sequence[Enacted]:
        """Return the newest acts with a seq below `before`, newest first."""


Lost = tuple[int, bytes] | Enacted
"""A message or an act that the stream has lost, with its seq."""


class Healed(NamedTuple):
    """Number of messages and acts that were restored, and their lowest and highest seq."""

    messages: int = 0
    acts: int = 0
    first: int = 0
    last: int = 0
    repeated: int | None = None
    """Acts that were repeated since the stream has lost its beginning; None if it has not."""


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
        healed = Healed() if rebase is None else await healing.restore(rebase)
        return healed._replace(repeated=await healing.repeat())


class _Healing:
    """One healing of one stream, of which the broker has told `info`."""

    def __init__(self, operator: Operator, archive: Archive, info: Any) -> None:
        self._operator = operator
        self._archive = archive
        self._config: dict[str, Any] = info["config"]
        self._bounds = operator.bounds(info)
        self._nodes: list[Node] = []

    def check(self, nodes: list[Node]) -> None:
        """Raise `ConfigError` for another log, and for nodes that have more than the store."""
        if self._archive.began != self._bounds.origin.began:
            raise ConfigError("the store has another log than the stream")
        last = max(self._last(), self._bounds.end)
        self._nodes = nodes
        lacking = [node.name for node in nodes if batch.RESTORED_ACT not in node.formats]
        if lacking and _acts_behind(self._archive, self._bounds.end):
            raise ConfigError(
                f"these nodes are too old to have acts restored: {', '.join(lacking)}"
            )
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
        await self._compare()
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
        return max((seq for seq, _ in _behind(self._archive, self._bounds.end)), default=0)

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
        """Raise `ConfigError` where the stream has something else than the archive.

        Nodes that lacked what was lost have gone on, and used its seqs.
        """

        async def read(number: int) -> Sequence[Entry]:
            return await self._insisted(lambda: existing(self._operator.stream, number))

        seq = await disagreement(read, self._bounds, self._archive)
        if seq:
            raise ConfigError(
                f"the stream has other messages than the store, from seq {seq} or before: it"
                " went on without what was lost, and cannot be healed with this store"
            )

    async def restore(self, rebase: Rebase) -> Healed:
        """Append what is missing behind a rebase."""
        upto = await self._restored_upto(rebase)
        count = acts = first = 0
        for chunk in _chunks(_behind(self._archive, upto), rebase.until):
            await self._append(f"restored-{rebase.number}-{chunk[0][0]}", *_encoded(chunk))
            first, upto = first or chunk[0][0], chunk[-1][0]
            if isinstance(chunk[0], Enacted):
                acts += 1
            else:
                count += len(chunk)
        if upto != rebase.until:
            raise ConfigError(
                f"the store does not have what is at seq {rebase.until}; go on with the store"
                " with which the healing was begun"
            )
        return Healed(count, acts, first, upto)

    async def repeat(self) -> int | None:
        """Append the acts that last once more, if the stream lacks some, or a repetition was lost.

        Nodes that were away wait for that. A store that may lack acts itself is good enough where
        no node is heard that is well.
        """
        bounds = self._bounds
        found = [enacted for some in pages(self._archive) for enacted in some]
        noted = max((each.act.upto for each in found if isinstance(each.act, Renewed)), default=0)
        lacking = self._archive.lost_upto > max(bounds.base, noted)
        if (bounds.first <= 1 and not noted) or not self._may_repeat(lacking=lacking):
            return None
        upto, count = self._archive.last_seq, 0
        if number := bounds.places.number_of(upto):
            upto = bounds.places.seq_of(number, batch.MAX_MESSAGES - 1)
        for renewal in renewals(found, upto, bounds.now):
            await self._append(id_of(renewal), *batch.encode_control(renewal))
            count += len(renewal.acts)
        return count

    def _may_repeat(self, *, lacking: bool) -> bool:
        """Tell whether all nodes understand it, and none does it better."""
        understood = all(batch.RENEWAL in node.formats for node in self._nodes)
        return understood and not (lacking and any(not node.issue for node in self._nodes))

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
                elif entry.format == batch.RESTORED_ACT:
                    restored = batch.control(entry.format, entry.body)
                    assert isinstance(restored, Enacted)
                    upto = restored.seq
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

    async def _insisted(self, ask: Callable[[], Awaitable[Sequence[Entry]]]) -> Sequence[Entry]:
        """Ask again while a broker lags that is asked."""
        for _ in range(_TRIES):
            with suppress(AwayError):
                return await ask()
            await asyncio.sleep(_PAUSE_SECONDS)
        return await ask()

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


def _acts_behind(archive: Archive, seq: int) -> list[Enacted]:
    """Return the acts of an archive behind a seq, in their order.

    What a note tells of a repetition does not hold any more: it may be lost, too.
    """
    found: list[Enacted] = []
    for some in pages(archive):
        found += [_void(enacted) for enacted in some if enacted.seq > seq]
        if some[-1].seq <= seq:
            break
    return found[::-1]


def _void(enacted: Enacted) -> Enacted:
    seq, act = enacted
    return Enacted(seq, replace(act, upto=0) if isinstance(act, Renewed) else act)


def _behind(archive: Archive, seq: int) -> Iterator[Lost]:
    """Yield the messages and acts of an archive behind a seq, in their order."""
    return merge(archive.after(seq), _acts_behind(archive, seq), key=lambda each: each[0])


def _chunks(lost: Iterator[Lost], until: int) -> Iterator[list[Lost]]:
    """Yield what has seqs up to one, as much at once as fits into an entry; an act goes alone."""
    chunk: list[tuple[int, bytes]] = []
    for each in takewhile(lambda each: each[0] <= until, lost):
        if isinstance(each, Enacted):
            if chunk:
                yield [*chunk]
                chunk = []
            yield [each]
            continue
        sizes = [len(payload) for _, payload in [*chunk, each]]
        if batch.fitting(sizes) < len(sizes):
            yield [*chunk]
            chunk = []
        chunk.append(each)
    if chunk:
        yield [*chunk]


def _encoded(chunk: Sequence[Lost]) -> tuple[str, bytes]:
    """Return the format and the body of an entry that restores a chunk."""
    if isinstance(enacted := chunk[0], Enacted):
        return batch.encode_control(enacted)
    return batch.encode_restored([what for _, what in chunk if isinstance(what, bytes)])


def _numbers(config: dict[str, Any], key: str) -> Rebase | None:
    found = _NUMBERS.fullmatch((config.get("metadata") or {}).get(key, ""))
    return None if found is None else Rebase(*map(int, found.groups()))
