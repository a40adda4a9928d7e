"""Profiles: servers that a user works with, by name, in a file of the user's own.

    # ~/.config/livelog/profiles.toml
    [prod]
    url = "wss://logs.example.com"
    token_file = "~/.config/livelog/prod.token"
    cacert = "/etc/ssl/company.pem"

The folder is that of the XDG base directories: `$XDG_CONFIG_HOME`, by default `~/.config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from livelog.config.environment import secret_in
from livelog.config.suggest import suggestion
from livelog.errors import ConfigError


class Profile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How to reach one server."""

    url: str | None = None
    token: str | None = None
    token_file: str | None = None
    """File with the token, so that it need not stand in this one."""
    cacert: str | None = None


def path(environment: Mapping[str, str]) -> Path:
    """Return the path of the file of profiles."""
    folder = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(_expanded(folder)) / "livelog" / "profiles.toml"


def named(name: str, environment: Mapping[str, str]) -> Profile:
    """Return the profile of this name, with its token. Raises `ConfigError`."""
    file = path(environment)
    found = _read(file)
    if name not in found:
        known = suggestion(name, found) or f"; known are: {', '.join(found) or 'none'}"
        raise ConfigError(f"{file}: has no profile {name!r}{known}")
    try:
        profile = msgspec.convert(found[name], Profile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: profile {name}: {error}") from None
    if profile.token is not None and profile.token_file is not None:
        raise ConfigError(f"{file}: profile {name}: token and token_file are both set")
    if profile.cacert is not None:
        profile = msgspec.structs.replace(profile, cacert=_expanded(profile.cacert))
    if profile.token_file is None:
        return profile
    secret = secret_in(f"{file}: profile {name}", _expanded(profile.token_file))
    return msgspec.structs.replace(profile, token=secret)


def _expanded(file: str) -> str:
    """Put the home folder in the place of a tilde; a user who has none is left as it is."""
    try:
        return str(Path(file).expanduser())
    except RuntimeError:
        return file


def _read(file: Path) -> dict[str, object]:
    import tomllib  # most commands are given an address

    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: does not exist; profiles stand in it") from None
    except (OSError, ValueError) as error:
        issue = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{file}: {issue}") from None
    except RecursionError:
        raise ConfigError(f"{file}: is nested too deeply") from None
