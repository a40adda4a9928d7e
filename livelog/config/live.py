"""Settings that a running server can change, and how two configurations differ.

A server that is told to reload reads its sources again. What it then does otherwise at once are the
settings in `LIVE`; all others need a restart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from livelog.config.check import Option, written
from livelog.config.config import Config
from livelog.config.options import OPTIONS

LIVE = frozenset(
    {
        "allowed_origins",
        "log_level",
        *(name for name, each in OPTIONS.items() if each.group == "limits" and name != "limits"),
    }
)
"""Names of the settings that hold at once. Whether there are limits at all is settled for each
connection when it begins, and needs a restart."""

_CREDENTIALS = re.compile(r"(?<=://).*@|(?<=\?).*")
"""What may hold credentials in a URL: all up to an `@`, because people forget to escape their
passwords, and the query."""


class Change(Struct, frozen=True):
    """The value of a setting before and after, as TOML; that of a secret is hidden."""

    before: str
    after: str


def with_live(old: Config, new: Config) -> Config:
    """Return `old` with those settings of `new` that can be changed at once."""
    kept = {name: value for name, value in old.given.items() if name not in LIVE}
    taken = {name: value for name, value in new.given.items() if name in LIVE}
    return type(old)(**{**kept, **taken})


def differences(old: Config, new: Config) -> Iterator[tuple[str, Change]]:
    """Yield the settings that differ, in the order of the options."""
    for name, option in OPTIONS.items():
        if _value(old, option) != _value(new, option):
            before, after = (shown(option, each.given.get(name)) for each in (old, new))
            yield name, Change(before, after)


def _value(config: Config, option: Option) -> Any:
    return getattr(getattr(config, option.group), option.field)


def shown(option: Option, given: Any) -> str:
    """Return a value as TOML, the default for None.

    That of a secret only tells that there is one, and a URL is without its credentials.
    """
    value = option.default if given is None else given
    if option.secret and given:
        return '"…"'
    if option.read is not None and not isinstance(value, str):
        value = ",".join(value) if given is not None or all(map(_is_text, value)) else ""
    if option.size:
        value = written(value)
    if isinstance(value, str) and "://" in value:
        value = _CREDENTIALS.sub(lambda found: "…@" if found[0].endswith("@") else "…", value)
    return json.dumps(value, ensure_ascii=False)


def _is_text(value: object) -> bool:
    return isinstance(value, str)
