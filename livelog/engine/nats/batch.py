"""A batch on its way through the broker: some messages, as one message of the stream.

Its header names the format. The body is NDJSON: a message on each line, without its seq, which
follows from the place of the batch in the stream; from a size on it is compressed. So a seq is
never written down, and no two nodes can give different ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

import msgspec
import zstandard

from livelog.errors import RefusedError
from livelog.index.terms import terms
from livelog.wire import acts, stubs
from livelog.wire.acts import Act, Enacted
from livelog.wire.messages import AnyMessage, decoder
from livelog.wire.record import Draft, author_of, id_of
from livelog.wire.timestamps import parse_moment, timestamp

PLAIN = "ndjson/1"
COMPRESSED = "ndjson+zstd/1"

RESTORED = "restored+zstd/1"
"""Messages that the stream had lost, each with the seq that it had as its last field."""

MAX_MESSAGES = 1024
"""Messages in a batch at most, which is also the number of seqs that every batch takes."""

MAX_BYTES = 512 * 2**10
"""Bytes of a batch at most, before it is compressed, unless a single message is larger."""

_COMPRESSED_FROM = 1024
"""Bytes from which on a batch is compressed."""

_MAX_UNPACKED = 64 * 2**20
"""Bytes of an unpacked batch at most: the largest message that livelog takes, and far more."""


class MalformedError(Exception):
    """The body is no batch: somebody else has written it. Every node passes it over."""


class Rebased(msgspec.Struct, frozen=True):
    """A control record: what follows has its seqs from another base, and `until` is restored."""

    base: int
    until: int


class Renewal(msgspec.Struct, frozen=True):
    """A control record: acts that last, once more. Those up to `upto` are in one or several."""

    upto: int
    part: int
    """Number of this one among them, from 0 on."""
    last: bool
    """None of them follows."""
    acts: tuple[Act, ...]
    """Repetitions, fewer than `MAX_MESSAGES`."""

    def enacted(self, first_seq: int, time: int) -> list[Enacted]:
        """Return the acts at their places: those, and behind the last of all the note of it.

        The entry has its seqs from `first_seq` on; `time` is its own, in microseconds.
        """
        note = acts.Renewed(by="", at=timestamp(time / 1_000_000), upto=self.upto)
        every = [*self.acts, note] if self.last else self.acts
        return [Enacted(first_seq + index, act) for index, act in enumerate(every)]


Control = Rebased | Act | Renewal | Enacted
"""An entry that has no messages, and is applied by every node at its place.

An act with a seq is one that the stream had lost, with the seq that it had.
"""

REBASE = "rebase/1"
ACT = "act/1"
RENEWAL = "acts-again/1"
RESTORED_ACT = "restored-act/1"

CONTROLS: dict[str, Callable[[bytes], Control]] = {
    REBASE: msgspec.json.Decoder(Rebased).decode,
    ACT: acts.decode,
    RENEWAL: msgspec.json.Decoder(Renewal).decode,
    RESTORED_ACT: msgspec.json.Decoder(Enacted).decode,
}
"""Format → the function that decodes a control record of that format."""

_OF_ACTS = {ACT, RENEWAL, RESTORED_ACT}

BATCHES = {PLAIN, COMPRESSED}
"""The formats of messages that get their seqs from their place."""

FORMATS = {*BATCHES, RESTORED, *CONTROLS}
"""The formats that this version reads."""


class UnknownError(Exception):
    """The batch may mean something to another version of livelog; this one must not go on."""


def seq_of(base: int, place: int, index: int = 0) -> int:
    """Return the seq of the message at `index` of the batch at a `place` in the stream.

    Strictly rising, below 2**53 for more batches than a stream can have.
    """
    return base + place * MAX_MESSAGES + index


def place_of(base: int, seq: int) -> int:
    """Return the place in the stream of the batch that has a seq; 0 if it is from before."""
    return max(0, (seq - base) // MAX_MESSAGES)


def fitting(sizes: Iterable[int], max_bytes: int = MAX_BYTES) -> int:
    """Return how many messages of these sizes, from the first on, fit into one batch."""
    count = total = 0
    for size in sizes:
        total += size + 1
        if count and (count == MAX_MESSAGES or total > max_bytes):
            break
        count += 1
    return count


def encode(payloads: Sequence[bytes]) -> tuple[str, bytes]:
    """Return the format and the body of a batch of messages, each given as JSON on one line."""
    body = b"\n".join(payloads)
    if len(body) < _COMPRESSED_FROM:
        return PLAIN, body
    return COMPRESSED, zstandard.ZstdCompressor().compress(body)


def encode_control(record: Control) -> tuple[str, bytes]:
    """Return the format and the body of a control record."""
    named = {Rebased: REBASE, Renewal: RENEWAL, Enacted: RESTORED_ACT}
    return named.get(type(record), ACT), msgspec.json.encode(record)


def control(format: str, body: bytes) -> Control | None:
    """Return the control record of an entry, None if it has messages.

    Raises `MalformedError` for what nobody can read, and `UnknownError` for an act that this
    version does not know.
    """
    decoded = CONTROLS.get(format)
    if decoded is None:
        return None
    try:
        return decoded(body)
    except msgspec.ValidationError as error:
        if format in _OF_ACTS:
            raise UnknownError(f"has an act that is not understood: {error}") from None
        raise MalformedError(f"is no control record: {error}") from None
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"is no control record: {error}") from None


def encode_restored(payloads: Sequence[bytes]) -> tuple[str, bytes]:
    """Return the format and the body of messages with the seqs that they had."""
    return RESTORED, zstandard.ZstdCompressor().compress(b"\n".join(payloads))


def unplaced(payload: bytes) -> tuple[int, bytes]:
    """Return the seq that a restored message had, and the message without it.

    Raises `MalformedError`.
    """
    message, found, seq = payload.rpartition(b',"seq":')
    if not found or not seq[:-1].isdigit() or seq[-1:] != b"}" or len(seq) > 17:
        raise MalformedError("has a message without the seq that it had")
    return int(seq[:-1]), message + b"}"


def decode(format: str, body: bytes) -> list[bytes]:
    """Return the messages of a batch, as JSON.

    Raises `MalformedError` for what nobody can read and `UnknownError` for a format that this
    version does not know. Without a format it is not from a livelog.
    """
    if not format:
        raise MalformedError("has no header with its format")
    if format in (COMPRESSED, RESTORED):
        body = _unpacked(body)
    elif format != PLAIN:
        raise UnknownError(f"has the format {format!r}")
    lines = body.split(b"\n")
    if not body or len(lines) > MAX_MESSAGES:
        raise MalformedError(f"has {len(lines) if body else 0} messages")
    return lines


def _unpacked(body: bytes) -> bytes:
    try:
        if not 0 <= zstandard.frame_content_size(body) <= _MAX_UNPACKED:
            raise MalformedError("is too large, or does not tell its size")
        return zstandard.ZstdDecompressor().decompress(body)
    except zstandard.ZstdError as error:
        raise MalformedError(f"cannot be unpacked: {error}") from None


def named(payload: bytes) -> tuple[str, str]:
    """Return the id and the author of a message, without looking at more.

    Raises `MalformedError` and `UnknownError` as `draft` does.
    """
    try:
        return id_of(payload), author(payload)
    except (msgspec.ValidationError, RecursionError) as error:
        raise UnknownError(f"has a message that is not understood: {error}") from None
    except ValueError as error:
        raise MalformedError(f"is no JSON: {error}") from None


def author(payload: bytes) -> str:
    """Return the author of a message as one word, empty if a stub names none any more.

    Equal ones are one object.
    """
    if stubs.is_stub(payload):
        return ""
    found = author_of(payload)
    return sys.intern(f"{found.type}\0{found.user_id}\0{found.from_user_id}")


def draft(payload: bytes) -> Draft:
    """Return the message of a batch, ready to be placed.

    Raises `MalformedError` for what is no JSON, and `UnknownError` for a message that this version
    does not understand: it was checked by the node that took it.
    """
    try:
        # A stub comes again when a stream is healed.
        kind = stubs.decoder if stubs.is_stub(payload) else decoder
        message: AnyMessage = kind.decode(payload)
        if not (isinstance(message.id, str) and isinstance(message.timestamp, str)):
            raise UnknownError("has a message without its id or timestamp")
        time = parse_moment(message.timestamp, "timestamp")
        found = terms(message)
    except (msgspec.ValidationError, RefusedError, RecursionError) as error:
        raise UnknownError(f"has a message that is not understood: {error}") from None
    except ValueError as error:
        raise MalformedError(f"is no JSON: {error}") from None
    tag = message.__struct_config__.tag
    return Draft(message.id, tag, time, *found, payload)  # type: ignore[arg-type]  # a tag is a MessageType
