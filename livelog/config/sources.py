"""Sources of settings: an option on the command line beats a variable, a variable beats the TOML
file, the file beats the default."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from livelog.config.check import check_name
from livelog.config.config import Config
from livelog.config.options import OPTIONS
from livelog.errors import ConfigError

PREFIX = "LIVELOG_"
NOT_SETTINGS = ("LIVELOG_CONFIG", "LIVELOG_TOKEN")
"""Variables that name the TOML file, and the token of the client's commands."""


def load(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: str | None = None
) -> Config:
    """Return the configuration from all its sources; `flags` and the file use the flat names.

    Raises `ConfigError` for an unknown name, a value that is not allowed or an unreadable file.
    """
    from_file = _from_file(file) if file else {}
    return Config.from_text({**from_file, **_from_environment(environment), **flags})


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for variable, text in environment.items():
        if variable.startswith(PREFIX) and variable not in NOT_SETTINGS:
            name = variable.removeprefix(PREFIX).lower()
            check_name(name, OPTIONS, f"{variable}: ")
            found[name] = text
    return found


def _from_file(file: str) -> dict[str, Any]:
    try:
        found = tomllib.loads(Path(file).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config {file}: {error}") from None
    for name in found:
        check_name(name, OPTIONS, f"--config {file}: ")
    return found
