"""Memory: how much of it each kind of data may take."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from livelog.errors import RefusedError, failure

PAGE_BYTES = 4 * 2**20
"""Bytes of messages on a page, at most, unless a single message is larger."""

SMALL_BYTES = 64 * 2**10
"""Bytes up to which an answer or a body is small: not held back by others that are large."""

_ANSWERS_BYTES = 64 * 2**20
"""Bytes of all answers that have not been sent, in any case."""

CHUNK_BYTES = 256 * 2**10
"""Bytes that a subscriber that is behind is sent at once, at most: enough for efficient writes, few
enough for short steps."""

_STEP_BYTES = 2**20
"""Bytes by which the bound of the window changes."""

BODY_COPIES = 4
"""Times that a body is in memory while it is published: it and its messages, each in two forms."""

_M_MMAP_THRESHOLD = -3
"""A parameter of mallopt(3), from malloc.h."""

_MAPPED_BYTES = 40 * 2**10
"""Bytes from which on a block is mapped by itself, and unmapped when it is freed.

Above the 32 KiB that zlib takes twice for each message that it compresses, however short."""


def return_freed_memory() -> None:
    """Have the C library give large blocks back to the system when they are freed.

    Otherwise glibc keeps the memory of messages that were evicted, in the gaps between those that
    were not. For processes that are livelog's own; has no effect with another C library.
    """
    import ctypes  # the client's commands, which have these bounds from here, do without

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)


class Account:
    """Bytes of one kind, by what holds them: a connection or a request, which is held on to.

    No owner may have more than half of `most`, small holdings aside.
    """

    def __init__(self, most: int, changed: Callable[[], None]) -> None:
        self.most = most
        self.total = 0
        self._changed = changed
        self._held: dict[int, tuple[object, Hashable, int]] = {}
        self._by_owner: dict[Hashable, int] = {}

    def hold(self, holder: object, size: int, owner: Hashable = None) -> None:
        """Set what `holder` has, instead of what it had."""
        self._take_off(holder)
        if size:
            self._held[id(holder)] = holder, owner, size
            self._by_owner[owner] = self._by_owner.get(owner, 0) + size
            self.total += size
        self._changed()

    def drop(self, holder: object) -> None:
        """Forget what `holder` had, if anything."""
        if self._take_off(holder):
            self._changed()

    @property
    def holders(self) -> int:
        """The number of those that have some."""
        return len(self._held)

    def size_of(self, holder: object) -> int:
        """Return the bytes that `holder` has."""
        return self._held[id(holder)][2] if id(holder) in self._held else 0

    def left(self, owner: Hashable) -> int:
        """Return the bytes that `owner` may have besides what it has."""
        return min(self.most - self.total, self.most // 2 - self._by_owner.get(owner, 0))

    def _take_off(self, holder: object) -> bool:
        found = self._held.pop(id(holder), None)
        if found is None:
            return False
        _, owner, size = found
        self.total -= size
        self._by_owner[owner] -= size
        if not self._by_owner[owner]:
            del self._by_owner[owner]
        return True

    def _check(self) -> None:
        """Assert that the sums are right."""
        assert self.total == sum(size for _, _, size in self._held.values())
        assert sum(self._by_owner.values()) == self.total
        assert all(size > 0 for size in self._by_owner.values())


def reading_share(limit: int) -> int:
    """Return the bytes of the memory limit that belong to the reading process."""
    return limit // 4


def acts_share(limit: int) -> int:
    """Return the bytes of the memory limit that acts may take where no disk has them."""
    return limit // 16


def largest_body(limit: int) -> int:
    """Return the bytes of the largest HTTP body that has room while little else has been taken.

    The parts that are always kept for others leave half of the limit.
    """
    return limit // 2 // BODY_COPIES


class Memory:
    """The memory that grows with the traffic: accounts by name, and one limit for all of them.

    When it gets short, the window gives way first, down to a floor; then answers are refused, small
    ones last; then bodies and messages. Deliveries are counted and never refused: their buffers
    are bounded per connection. A quarter of the limit belongs to the reading process.

    `window`, `commits` and `acts` tell the bytes that the window and the journal have now; `bound`
    is called with the bytes that the window may have.
    """

    def __init__(
        self,
        limit: int,
        window_bytes: int,
        *,
        window: Callable[[], int] = int,
        commits: Callable[[], int] = int,
        acts: Callable[[], int] = int,
        bound: Callable[[int], object] = int,
    ) -> None:
        self.limit = limit
        self.reading = reading_share(limit)
        self.answers = Account(min(_ANSWERS_BYTES, limit // 4), self._adjust)
        """Pages that are built, or wait for their client to read them."""
        self.bodies = Account(limit // 4, self._adjust)
        """Bodies and fragments that arrive, and the messages in them until they are committed."""
        self.deliveries = Account(limit, self._adjust)
        """Send buffers of slow subscribers."""
        self._window = window
        self._commits = commits
        self._acts = acts
        self._tell_bound = bound
        self._most_window = window_bytes
        self._floor = min(window_bytes, limit // 8)
        self._reserve = limit // 16
        # What allocators keep of memory that was freed, and objects on their way.
        self._uncounted = limit // 16
        self._bound = window_bytes
        self._adjust()

    # What may be taken.

    def reserve_answer(self, holder: object, owner: Hashable) -> int:
        """Hold the bytes of an answer that is to be built, and return how many they may be.

        Raises `RefusedError` when not even a small one has room.
        """
        size = max(SMALL_BYTES, min(PAGE_BYTES, self.answers.left(owner)))
        room = self._room() - self._reserve
        if room < SMALL_BYTES:
            raise _short()
        self.answers.hold(holder, min(size, room), owner)
        return min(size, room)

    def hold_body(self, holder: object, size: int, owner: Hashable) -> None:
        """Hold the bytes of a body that arrives. Raises `RefusedError` when they have no room."""
        had = self.bodies.size_of(holder)
        more = size - had
        # A single body may be larger than a share, or none of that size would ever be taken.
        shares = size > SMALL_BYTES and self.bodies.total > had
        if more > 0 and (more > self._room() or (shares and more > self.bodies.left(owner))):
            raise _short()
        self.bodies.hold(holder, size, owner)

    def chunk_bytes(self) -> int:
        """Return how many bytes the next subscriber that is behind may be sent at once.

        Fewer, when many leave theirs unread: all of them together must not keep others from
        publishing. Always a power of two, so that those at one place can share a chunk.
        """
        left = max(1, min(CHUNK_BYTES, self._floor - self.deliveries.total))
        return max(CHUNK_BYTES // 16, 1 << left.bit_length() - 1)

    @property
    def refusal(self) -> RefusedError | None:
        """The reason why no message can be taken now, None when one can."""
        self._adjust()  # the commits may have changed
        if self._is_late():  # without commits, nothing else would have the window evict
            self._tell_bound(self._bound)
            if self._is_late():
                return _short()
        return _short() if self._room() < 0 else None

    def figures(self) -> dict[str, int]:
        """Return the bytes of each account, and the limit."""
        return {
            "limit": self.limit,
            "window": self._window(),
            "answers": self.answers.total,
            "deliveries": self.deliveries.total,
            "bodies": self.bodies.total,
            "commits": self._commits(),
            "acts": self._acts(),
            "reading": self.reading,
        }

    # How it is divided.

    def _is_late(self) -> bool:
        """Tell whether the window takes too much: what is not on disk cannot be evicted."""
        return self._window() - self._bound > 2 * self._reserve

    def _beside(self) -> int:
        """Return the bytes of everything but the window."""
        held = self.answers.total + self.bodies.total + self.deliveries.total
        return self.reading + self._uncounted + held + self._commits() + self._acts()

    def _room(self) -> int:
        """Return the bytes that are left once the window has given way."""
        return self.limit - self._beside() - self._floor

    def _adjust(self) -> None:
        """Tell the window what it may have, if that has changed."""
        left = (self.limit - self._beside()) // _STEP_BYTES * _STEP_BYTES
        bound = max(self._floor, min(self._most_window, left))
        if bound != self._bound:
            self._bound = bound
            self._tell_bound(bound)

    def _check(self) -> None:
        """Assert that the accounts are in order."""
        for account in (self.answers, self.bodies, self.deliveries):
            account._check()


def _short() -> RefusedError:
    return failure(MemoryError())
