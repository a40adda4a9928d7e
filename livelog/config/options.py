"""Every option, once: its name, default, meaning, unit and bounds.

Options are declared in the groups they are read by (`config.limits.message_limit`) and written by
flat names: arguments of `Config`, flags (`--message-limit`), environment variables
(`LIVELOG_MESSAGE_LIMIT`) and keys of the TOML file (`message_limit`). The flat name is that of the
field, unless its `option` names another. Times are seconds, sizes bytes; written as text, a size
may have a unit (`256M`).

The modules with the groups do without `from __future__ import annotations`, since each process that
starts would compile the text of every annotation.
"""

from typing import Annotated

from msgspec import Struct

from livelog.config.access import Auth, Limits
from livelog.config.address import SharedLog, shared_log
from livelog.config.check import option, options_of
from livelog.config.network import Net, Tls
from livelog.errors import ConfigError

_LEAST_MEMORY = 64 * 2**20
_MEMORY_BESIDE_WINDOW = 384 * 2**20
"""Bytes of the memory limit for all that is not the window, unless it is given."""


class Storage(Struct, frozen=True, kw_only=True):
    """The store on disk and the window in memory."""

    path: Annotated[
        str,
        option(
            "SQLite file that keeps the messages; 'memory', the default with --demo, keeps only the"
            " newest, in memory.",
            "FILE",
            name="store",
            min_length=1,
        ),
    ] = "livelog.db"
    key_file: Annotated[
        str,
        option(
            "Encrypt the store with the key in this file; `livelog store newkey` makes one.",
            "FILE",
            name="store_key_file",
        ),
    ] = ""
    retention_messages: Annotated[
        int, option("Number of newest messages the store keeps; 0 keeps all.", "N", ge=0)
    ] = 0
    retention_days: Annotated[
        float, option("Days the store keeps a message; 0 keeps it for ever.", "DAYS", ge=0, le=1e5)
    ] = 0
    window_messages: Annotated[
        int, option("Number of newest messages held in memory.", "N", ge=1)
    ] = 100_000
    window_bytes: Annotated[
        int, option("Memory for the newest messages and their index.", "SIZE", size=True, ge=1)
    ] = 128 * 2**20
    memory_limit: Annotated[
        int,
        option(
            "Memory of the window with its index, unsent answers, bodies, pending commits and the"
            " reading process, a quarter of it; 0 stands for --window-bytes and 384M.",
            "SIZE",
            size=True,
            ge=0,
        ),
    ] = 0

    def __post_init__(self) -> None:
        if 0 < self.memory_limit < _LEAST_MEMORY:
            allowed = f"Expected 0 or int >= {_LEAST_MEMORY}"
            raise ConfigError(f"--memory-limit: {self.memory_limit} is not allowed: {allowed}")

    @property
    def window(self) -> int:
        """Size of the window in messages: none of them is one that the retention deletes."""
        return min(self.window_messages, self.retention_messages or self.window_messages)

    @property
    def memory_bytes(self) -> int:
        """The memory limit in bytes, also where it follows from the window's."""
        return self.memory_limit or self.window_bytes + _MEMORY_BESIDE_WINDOW


class Cluster(Struct, frozen=True, kw_only=True):
    """A log that many servers share."""

    engine: Annotated[
        str,
        option(
            "Share a log with other servers, on these NATS brokers and under this name:"
            " nats://HOST:PORT,HOST:PORT/NAME; without it this server has its own.",
            "URL",
        ),
    ] = ""
    creds: Annotated[
        str,
        option(
            "Credentials for the brokers: a .creds file, or the seed of an nkey.",
            "FILE",
            name="engine_creds",
        ),
    ] = ""
    ca: Annotated[
        str,
        option(
            "Certificates that the brokers' are signed by, in the place of those that the system"
            " trusts; with tls://.",
            "FILE",
            name="engine_ca",
        ),
    ] = ""
    workers: Annotated[
        int,
        option(
            "Number of processes that serve on the same port, each with a store (NAME-1.db, …),"
            " limits and a memory limit of its own; more than one need --engine.",
            "N",
            ge=1,
            le=256,
        ),
    ] = 1
    node_name: Annotated[
        str,
        option(
            "Name of this server among those that share its log, up to 128 characters; by default"
            " the name of the machine and the port.",
            "TEXT",
            pattern=r"^[^\x00-\x1f\x7f-\x9f]{0,128}$",
        ),
    ] = ""

    def __post_init__(self) -> None:
        try:
            self.address  # noqa: B018 - reads it
        except ValueError as error:
            raise ConfigError(f"--engine: {self.engine!r} is not allowed: {error}") from None
        if self.creds and not self.engine:
            raise ConfigError("--engine-creds: needs --engine")
        if self.ca and not self.engine.startswith("tls:"):
            raise ConfigError("--engine-ca: needs --engine tls://...")
        if self.workers > 1 and not self.engine:
            raise ConfigError("--workers: more than one need --engine, to share a log")

    @property
    def address(self) -> SharedLog | None:
        """The brokers and the name of the log, None without --engine."""
        return shared_log(self.engine) if self.engine else None


class Fanout(Struct, frozen=True, kw_only=True):
    """Pacing of the fan-out under load."""

    share: Annotated[
        float,
        option(
            "Share of the event loop's time that fan-out may take under load.",
            "FRACTION",
            name="fanout_share",
            gt=0,
            lt=1,
        ),
    ] = 0.55
    latency_target: Annotated[
        float,
        option("Delivery latency that batching must stay below.", "SECONDS", gt=0, le=10),
    ] = 0.06
    compression: Annotated[
        str,
        option(
            "Compression of messages to WebSockets that offer it: shared (one stream for all"
            " readers of the same) or off.",
            "MODE",
            pattern="^(off|shared)$",
        ),
    ] = "shared"


class Logs(Struct, frozen=True, kw_only=True):
    """The log of the process, on stderr."""

    format: Annotated[
        str,
        option(
            "Form of log lines: text, or json for one object a line.",
            "FORM",
            name="log_format",
            pattern="^(text|json)$",
        ),
    ] = "text"
    level: Annotated[
        str,
        option(
            "Least level of the log lines of livelog: debug, info, warning or error; read again on"
            " SIGHUP.",
            "LEVEL",
            name="log_level",
            pattern="^(debug|info|warning|error)$",
        ),
    ] = "info"
    access: Annotated[
        bool,
        option(
            "Log each HTTP request, and each WebSocket when it opens and ends, to the logger"
            " livelog.access.",
            name="access_log",
        ),
    ] = False


class Demo(Struct, frozen=True, kw_only=True):
    """Sample traffic."""

    enabled: Annotated[
        bool,
        option(
            "Publish sample traffic of all six message types, after an hour of it.", name="demo"
        ),
    ] = False
    rate: Annotated[
        float, option("Sample messages per second.", "N", name="demo_rate", gt=0, le=100_000)
    ] = 5
    seed: Annotated[
        int,
        option(
            "Seed of the sample traffic; equal seeds give equal traffic.", "N", name="demo_seed"
        ),
    ] = 0


GROUPS: dict[str, type[Struct]] = {
    "net": Net,
    "tls": Tls,
    "storage": Storage,
    "cluster": Cluster,
    "auth": Auth,
    "limits": Limits,
    "fanout": Fanout,
    "logs": Logs,
    "demo": Demo,
}
OPTIONS = options_of(GROUPS)
"""Flat name → option, in the order of the groups."""
