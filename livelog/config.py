"""Every option, once: its name, default, meaning and bounds.

Flags (`--ping-interval`), environment variables (`LIVELOG_PING_INTERVAL`) and keys of the TOML file
(`ping_interval`) are derived from the fields of `Config`, and msgspec checks them against the same
annotations. A flag beats a variable, a variable beats the file, the file beats the default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
from msgspec import Meta, Struct

PREFIX = "LIVELOG_"
_SECONDS = {"gt": 0, "le": 10_000_000}
"""Bounds of a duration; a third of a year is for ever."""


def _about(description: str, **bounds: Any) -> Meta:
    return Meta(description=description, **bounds)


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a server is to run. Times are seconds, sizes bytes."""

    host: Annotated[str, _about("address to listen on", min_length=1)] = "127.0.0.1"
    port: Annotated[int, _about("port to listen on; 0 picks a free one", ge=0, le=65535)] = 8000
    uds: Annotated[str, _about("listen on this Unix socket instead of host and port")] = ""
    store: Annotated[
        str,
        _about("file in which messages are kept; 'memory' keeps only the newest", min_length=1),
    ] = "livelog.db"
    store_key_file: Annotated[
        str, _about("encrypt the store with the key in this file; `livelog store newkey` makes one")
    ] = ""
    retention_messages: Annotated[
        int, _about("newest messages that are kept; 0 keeps all", ge=0)
    ] = 0
    retention_days: Annotated[
        float, _about("days for which messages are kept; 0 is for ever", ge=0, le=100_000)
    ] = 0

    window_messages: Annotated[int, _about("newest messages held in memory", ge=1)] = 100_000
    window_bytes: Annotated[int, _about("bytes of messages held in memory", ge=1)] = 128 * 2**20

    limits: Annotated[bool, _about("enforce the four limits that follow")] = True
    message_limit: Annotated[int, _about("frames a connection may send per window", ge=1)] = 100
    command_limit: Annotated[
        int, _about("commands among them, publish and ping not counted", ge=1)
    ] = 10
    limit_window: Annotated[float, _about("length of that window", **_SECONDS)] = 60
    connections_per_ip: Annotated[int, _about("WebSockets open from one address", ge=1)] = 1000

    max_frame_bytes: Annotated[
        int, _about("largest message a client may send", ge=1024, le=16 * 2**20)
    ] = 64 * 2**10
    max_body_bytes: Annotated[int, _about("largest HTTP request body", ge=1024, le=2**30)] = (
        8 * 2**20
    )
    head_timeout: Annotated[float, _about("time to send a request head", **_SECONDS)] = 10
    body_timeout: Annotated[float, _about("time to send a request body", **_SECONDS)] = 60
    idle_timeout: Annotated[
        float, _about("time an HTTP connection may wait for a request", **_SECONDS)
    ] = 75

    ping_interval: Annotated[
        float, _about("silence after which a client is pinged", **_SECONDS)
    ] = 20
    ping_timeout: Annotated[float, _about("time it then has to show life", **_SECONDS)] = 20
    stall_seconds: Annotated[
        float, _about("time a client may leave its full send buffer unread", **_SECONDS)
    ] = 30
    close_timeout: Annotated[float, _about("time a client has to answer a close", **_SECONDS)] = 3

    fanout_share: Annotated[
        float, _about("part of the time that fan-out may take under load", gt=0, lt=1)
    ] = 0.55
    latency_target: Annotated[
        float, _about("latency that batching must not endanger", gt=0, le=10)
    ] = 0.06

    demo: Annotated[bool, _about("publish sample traffic of all six types")] = False
    demo_rate: Annotated[float, _about("sample messages per second", gt=0, le=100_000)] = 5
    demo_seed: Annotated[int, _about("same seed, same sample traffic")] = 0

    def checked(self) -> Config:
        """This, with every value checked; the constructor alone does not check.

        Raises `WrongSetting` for a value that is not allowed.
        """
        return build(msgspec.structs.asdict(self), strict=True)


class WrongSetting(Exception):
    """A setting that cannot be: names it, its value and what is allowed."""


def load(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: str | None = None
) -> Config:
    """The configuration from all its sources. `flags` and the file use the names of the fields.

    Raises `WrongSetting` for an unknown name, a value that is not allowed or an unreadable file.
    """
    settings = _from_file(file) if file else {}
    for name, text in environment.items():
        if name.startswith(PREFIX) and name != PREFIX + "CONFIG":
            settings[name.removeprefix(PREFIX).lower()] = text
    return build({**settings, **flags})


def build(settings: Mapping[str, Any], *, strict: bool = False) -> Config:
    """A checked `Config`; unless `strict`, numbers and booleans may be written as strings.

    Raises `WrongSetting`.
    """
    hints = get_type_hints(Config, include_extras=True)
    checked: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in hints:
            raise WrongSetting(f"unknown setting {name!r}; known are: {', '.join(hints)}")
        try:
            checked[name] = msgspec.convert(value, hints[name], strict=strict)
        except msgspec.ValidationError as error:
            issue = str(error).replace("`", "")
            raise WrongSetting(f"{flag(name)}: {value!r} is not allowed: {issue}") from None
    return Config(**checked)


def flag(name: str) -> str:
    """The command-line flag of a setting."""
    return "--" + name.replace("_", "-")


def describe(name: str) -> str:
    """What a setting means."""
    hint = get_type_hints(Config, include_extras=True)[name]
    return str(next(meta.description for meta in get_args(hint) if isinstance(meta, Meta)))


def _from_file(file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WrongSetting(f"--config {file}: {error}") from None
