"""Paths of fields and entries of free objects, and the forms of the keys under a path.

A path has one written form, `metadata."a b".level`. The keys of a message are

- `path=value` for a string, `path:true` or `path:false` for a boolean,
- `path<` for a string that is too long to be a key, or otherwise has to be read in the message,
- `root*` if not everything in a free object has a key.

No part of a path that stands without quotes has one of these signs, so two different values never
have the same key, whatever their names. In the order of characters `.` comes before `:<=` and they
before `>`: all keys of a path lie between `path:` and `path>`, and all of the paths in it between
`path.` and `path/`.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import NamedTuple

from livelog.index.where.values import quote

SEGMENT = r"[^\W\d][\w-]*+"
"""Pattern of a name in a path that needs no quotes."""

MAX_VALUE = 64
"""Characters of the longest string that is a key."""

MAX_NAME = 64
_MAX_PATH = 128
"""Characters of the longest name and path under which there are keys."""

_BARE = re.compile(SEGMENT)


class Place(NamedTuple):
    """A path, and the beginnings of its keys."""

    path: str
    string: str
    long: str
    is_id: bool
    """Its strings are compared byte for byte."""


def place(path: str, name: str) -> Place:
    """Make the place of a path whose last part is `name`."""
    return Place(path, f"{path}=", long_key(path), is_id(name))


@lru_cache(4096)
def below(path: str, name: str) -> Place | None:
    """Return the place of an entry, whose name is not too long; None if its path is."""
    found = f"{path}.{written(name)}"
    return place(found, name) if len(found) <= _MAX_PATH else None


def written(segment: str) -> str:
    """Return a name as it stands in a path."""
    return segment if _BARE.fullmatch(segment) else quote(segment)


def is_id(name: str) -> bool:
    """Tell whether the values of a field are ids, which are compared byte for byte."""
    return name == "id" or name.endswith("_id")


def boolean_key(path: str, value: bool) -> str:
    """Return the key of a boolean."""
    return f"{path}:{'true' if value else 'false'}"


def long_key(path: str) -> str:
    """Return the key of the messages with a string that has no key of its own."""
    return f"{path}<"


def behind(beginning: str) -> str:
    """Return the first string behind all that begin so; it is not empty."""
    for at in range(len(beginning) - 1, -1, -1):
        code = ord(beginning[at])
        if code < sys.maxunicode:  # halves of a pair stand in no text
            return beginning[:at] + chr(0xE000 if 0xD7FF <= code < 0xE000 else code + 1)
    raise AssertionError("all keys begin with a letter")


def cut(root: str) -> str:
    """Return the key of the messages in which not everything in a free object has a key."""
    return f"{root}*"
