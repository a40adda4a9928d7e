"""Sources of settings: an option on the command line beats a variable, a variable beats the TOML
file, the file beats the default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from livelog.config.check import check_name
from livelog.config.config import Config
from livelog.config.environment import blamed, settings, sources
from livelog.config.options import OPTIONS
from livelog.errors import ConfigError


def load(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: str | None = None
) -> Config:
    """Return the configuration from all its sources; `flags` and the file use the flat names.

    Raises `ConfigError` for an unknown name in flags or file, a value that is not allowed or an
    unreadable file. Unknown variables are warned of, because others may have set them.
    """
    from_file = read_file(file) if file else {}
    try:
        return Config.from_text({**from_file, **settings(environment, flags), **flags})
    except ConfigError as error:
        raise ConfigError(blamed(str(error), sources(environment, flags))) from None


def read_file(file: str) -> dict[str, Any]:
    """Return what a TOML file says, by flat name.

    Raises `ConfigError` for an unknown name or an unreadable file.
    """
    import tomllib  # only some that start read a file

    try:
        found = tomllib.loads(Path(file).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config {file}: {error}") from None
    except RecursionError:
        raise ConfigError(f"--config {file}: is nested too deeply") from None
    for name in found:
        check_name(name, OPTIONS, f"--config {file}: ")
    return found
