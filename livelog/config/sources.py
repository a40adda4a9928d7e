"""Where settings come from: a flag beats a variable, a variable beats the TOML file, the file beats
the default."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from livelog.config.check import flag
from livelog.config.config import Config
from livelog.config.options import OPTIONS
from livelog.errors import ConfigError

PREFIX = "LIVELOG_"
NOT_SETTINGS = ("LIVELOG_CONFIG", "LIVELOG_TOKEN")
"""Variables that name the file, and the token of the command line's client."""


def load(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: str | None = None
) -> Config:
    """Return the configuration from all its sources; `flags` and the file use the fields' names.

    Raises `ConfigError` for an unknown name, a value that is not allowed or an unreadable file.
    """
    settings = _from_file(file) if file else {}
    for name, text in environment.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            settings[name.removeprefix(PREFIX).lower()] = text
    merged = {**settings, **flags}
    for name, value in merged.items():
        if value == "" and name in OPTIONS and OPTIONS[name].filled:
            raise ConfigError(f"{flag(name)}: is empty")
    return Config.from_text(merged)


def _from_file(file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config {file}: {error}") from None
