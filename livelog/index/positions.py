"""Positions of messages: an array of numbers while they are few, and a bitmap once there are many.

Most terms are rare, and rare positions lie far apart, where a bitmap takes much more memory than
plain numbers. An array is a `bytearray`, which the garbage collector does not track.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection
from struct import Struct

from pyroaring import BitMap

from livelog.index.plan import Steps

RARE = 384
"""Positions up to which an array is the smaller form; in a large window they lie far apart."""

_FEW = 8
"""Positions that are added to a bitmap one by one: a union takes up to fifty times as long as to
add one."""

_GRAIN = 128
_ADDED = 1 << 14
"""Bitmaps that are joined in one step, and positions that are added to one."""

_position = Struct("=I")
packed = _position.pack
"""Return the array of one position."""

Positions = bytearray | BitMap


def bitmap(places: Positions) -> BitMap:
    """Return positions as a bitmap; one that is a bitmap is not copied."""
    return BitMap(array("I", places)) if isinstance(places, bytearray) else places


def smallest(places: BitMap) -> Positions:
    """Return positions in the form that takes less memory."""
    return places if len(places) > RARE else _array(places)


def _array(places: BitMap) -> bytearray:
    return bytearray(array("I", places).tobytes())


def count(places: Positions) -> int:
    """Return the number of positions."""
    return len(places) // 4 if isinstance(places, bytearray) else len(places)


def begin_before(places: Positions, start: int) -> bool:
    """Tell whether some of them may lie below `start`."""
    return not isinstance(places, bytearray) or _position.unpack_from(places)[0] < start


def without(places: Positions, start: int) -> Positions:
    """Return `places` from `start` on, as an array or a bitmap according to their number."""
    if isinstance(places, bytearray):
        del places[: 4 * bisect_left(array("I", places), start)]
        return places
    places.remove_range(0, start)
    # Only at half the bound, or a term near it would change its form again and again.
    return _array(places) if len(places) < RARE // 2 else places


def within(places: Positions, some: range, same: BitMap) -> BitMap:
    """Return those of `places` that are among `some`, given also as a bitmap, as a bitmap of its
    own.
    """
    if not isinstance(places, bytearray):
        return places & same
    if _position.unpack_from(places, len(places) - _position.size)[0] < some.start:
        return BitMap()
    found = array("I", places)
    return BitMap(found[bisect_left(found, some.start) : bisect_left(found, some.stop)])


def shifted(positions: BitMap, distance: int) -> BitMap:
    """Return `positions`, each lower by `distance`, without those that would fall below 0."""
    kept = positions.copy()
    kept.remove_range(0, distance)
    return kept.shift(-distance)


def join(joined: BitMap, places: Positions) -> None:
    """Add `places` to `joined`."""
    if isinstance(places, bytearray) and len(places) <= 4 * _FEW:
        for position in array("I", places):
            joined.add(position)
    else:
        joined |= bitmap(places)


def joining(lists: Collection[Positions], joined: BitMap) -> Steps[BitMap]:
    """Add positions to `joined`, which may be changed, in steps; return all of them."""
    bitmaps = [one for one in lists if type(one) is BitMap]
    for first in range(0, len(bitmaps), _GRAIN):
        joined = BitMap.union(joined, *bitmaps[first : first + _GRAIN])
        yield
    # Arrays after the bitmaps, since many are added fastest to many; joined as bytes, so that one
    # call adds them all.
    rare = array("I", b"".join([one for one in lists if type(one) is bytearray]))
    for first in range(0, len(rare), _ADDED):
        joined.update(rare[first : first + _ADDED])
        yield
    return joined


def _check(places: Positions) -> None:
    """Assert that they rise."""
    positions = list(bitmap(places))
    assert positions == (positions if type(places) is BitMap else list(array("I", places)))
    assert positions
