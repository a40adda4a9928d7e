"""The configuration of one server: built from flat names, checked when built, read by group."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, Signature
from typing import Any, ClassVar, Self

from livelog.budget.memory import largest_body
from livelog.config.access import Auth, Limits
from livelog.config.check import checked, grouped
from livelog.config.network import Net, Tls
from livelog.config.options import GROUPS, OPTIONS, Cluster, Demo, Fanout, Logs, Storage
from livelog.errors import ConfigError


class Config:
    """The configuration of a server: given by flat names, read by group.

    >>> config = Config(port=9000, store="memory", message_limit=1000)
    >>> config.net.port, config.limits.message_limit
    (9000, 1000)

    Takes the options by their flat names, as keyword arguments. Raises `ConfigError` for an unknown
    name or a value that is not allowed.
    """

    __slots__ = ("_given", *GROUPS)
    __signature__: ClassVar = Signature(
        [
            Parameter(name, Parameter.KEYWORD_ONLY, default=option.default)
            for name, option in OPTIONS.items()
        ]
    )

    net: Net
    tls: Tls
    storage: Storage
    cluster: Cluster
    auth: Auth
    limits: Limits
    fanout: Fanout
    logs: Logs
    demo: Demo
    _given: dict[str, Any]

    def __init__(self, **settings: Any) -> None:
        self._build(settings, strict=True)

    @classmethod
    def from_text(cls, settings: Mapping[str, Any]) -> Self:
        """Return a configuration whose numbers and booleans may be written as strings."""
        made = cls.__new__(cls)
        made._build(settings, strict=False)
        return made

    def _build(self, settings: Mapping[str, Any], *, strict: bool) -> None:
        values = checked(OPTIONS, settings, strict=strict)
        if values.get("demo") and "store" not in values:
            values["store"] = "memory"  # invented messages are not to mix with real ones
        given = {
            name: settings[name] if OPTIONS[name].read and name in settings else value
            for name, value in values.items()
            if value != OPTIONS[name].default
        }
        for name, part in {"_given": given, **grouped(OPTIONS, GROUPS, values)}.items():
            object.__setattr__(self, name, part)
        _check_body(self.net.max_body_bytes, self.storage.memory_bytes)
        if self.cluster.workers > 1 and self.net.uds:
            raise ConfigError("--workers: share a TCP port, and exclude --uds")

    def replaced(self, **settings: Any) -> Self:
        """Return the configuration with other values for some settings."""
        return type(self)(**{**self._given, **settings})

    @property
    def given(self) -> dict[str, Any]:
        """The settings that differ from the defaults, by flat name, as they were given."""
        return dict(self._given)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Config is read-only; build another one to change {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and all(
            getattr(self, group) == getattr(other, group) for group in GROUPS
        )

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, group) for group in GROUPS))

    def __repr__(self) -> str:
        """Show what differs from the defaults, without secrets."""
        given = {
            name: "…" if option.secret else self._given[name]
            for name, option in OPTIONS.items()
            if name in self._given
        }
        return f"Config({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _check_body(max_bytes: int, memory_limit: int) -> None:
    """Raise `ConfigError` for bodies that would be refused for want of memory, always."""
    most = largest_body(memory_limit)
    if max_bytes > most:
        allowed = f"Expected int <= {most}, an eighth of the memory limit"
        raise ConfigError(f"--max-body-bytes: {max_bytes} is not allowed: {allowed}")
