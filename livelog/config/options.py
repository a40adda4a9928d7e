"""Every option, once: its name, default, meaning, unit and bounds.

Options are declared in the groups they are read by (`config.limits.message_limit`) and written by
flat names: arguments of `Config`, flags (`--message-limit`), environment variables
(`LIVELOG_MESSAGE_LIMIT`) and keys of the TOML file (`message_limit`). The flat name is that of the
field, unless its `option` names another. Times are seconds, sizes bytes; written as text, a size
may have a unit (`256M`).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from livelog.config.address import SharedLog, shared_log
from livelog.config.check import NetworkList, networks, option, options_of, origins
from livelog.config.hosts import addresses, allowed_hosts
from livelog.errors import ConfigError

_SECONDS = {"gt": 0, "le": 10_000_000}
"""Bounds of a duration, up to a third of a year."""
_LEAST_MEMORY = 64 * 2**20
_MEMORY_BESIDE_WINDOW = 384 * 2**20
"""Bytes of the memory limit for all that is not the window, unless it is given."""


class Net(Struct, frozen=True, kw_only=True):
    """Listening, proxies, sizes and time-outs of connections."""

    hosts: Annotated[
        tuple[str, ...],
        option(
            "Comma-separated addresses to listen on, all with the same port; :: is every address of"
            " this machine, IPv6 and IPv4, and 0.0.0.0 every IPv4 address.",
            "ADDRESSES",
            name="host",
            read=addresses,
        ),
    ] = ("127.0.0.1",)
    port: Annotated[
        int, option("TCP port to listen on; 0 picks a free one.", "PORT", ge=0, le=65535)
    ] = 8000
    uds: Annotated[
        str, option("Listen on this Unix socket instead of --host and --port.", "FILE")
    ] = ""
    uds_mode: Annotated[
        str, option("Octal file mode of the Unix socket.", "MODE", pattern=r"^[0-7]{3,4}$")
    ] = "660"
    trusted_proxies: Annotated[
        NetworkList,
        option(
            "Comma-separated networks of trusted proxies, which tell the client's address; 'unix'"
            " stands for peers at the Unix socket.",
            "NETWORKS",
            read=networks,
        ),
    ] = NetworkList()
    proxy_header: Annotated[
        str,
        option(
            "Form in which trusted proxies tell the client's address: x-forwarded-for or"
            " proxy-protocol.",
            "FORM",
            pattern="^(x-forwarded-for|proxy-protocol)$",
        ),
    ] = "x-forwarded-for"
    allowed_origins: Annotated[
        frozenset[str],
        option(
            "Comma-separated web origins whose pages may connect, read and publish; without any,"
            " only pages from the server's own host may.",
            "ORIGINS",
            read=origins,
        ),
    ] = frozenset()
    allowed_hosts: Annotated[
        frozenset[str],
        option(
            "Comma-separated host names by which clients may address the server, in the Host"
            " header; *.example.com stands for all below, * for any. Without any, a server that"
            " listens on loopback addresses only, without trusted proxies, allows localhost,"
            " 127.0.0.1 and [::1], and others allow any.",
            "HOSTS",
            read=allowed_hosts,
        ),
    ] = frozenset()
    metrics_hosts: Annotated[
        tuple[str, ...],
        option(
            "Comma-separated addresses of --metrics-port.",
            "ADDRESSES",
            name="metrics_host",
            read=addresses,
        ),
    ] = ("127.0.0.1",)
    metrics_port: Annotated[
        int,
        option(
            "TCP port of a second listener, with /metrics and /healthz for clients without a"
            " credential, and those above it for further workers; 0 stands for none.",
            "PORT",
            ge=0,
            le=65535,
        ),
    ] = 0
    max_frame_bytes: Annotated[
        int, option("Largest message a client may send.", "SIZE", size=True, ge=1024, le=16 * 2**20)
    ] = 64 * 2**10
    max_body_bytes: Annotated[
        int,
        option(
            "Largest HTTP request body, at most an eighth of the memory limit.",
            "SIZE",
            size=True,
            ge=1024,
            le=2**30,
        ),
    ] = 8 * 2**20
    head_timeout: Annotated[
        float, option("Time a client has to send an HTTP request head.", "SECONDS", **_SECONDS)
    ] = 10
    body_timeout: Annotated[
        float, option("Time a client has to send an HTTP request body.", "SECONDS", **_SECONDS)
    ] = 60
    idle_timeout: Annotated[
        float,
        option("Time an HTTP connection may stay idle between requests.", "SECONDS", **_SECONDS),
    ] = 75
    ping_interval: Annotated[
        float,
        option(
            "Time without a sign of life after which a client is pinged.", "SECONDS", **_SECONDS
        ),
    ] = 20
    ping_timeout: Annotated[
        float, option("Time a pinged client has to answer.", "SECONDS", **_SECONDS)
    ] = 20
    stall_seconds: Annotated[
        float,
        option(
            "Time a client may leave its full send buffer unread before it is closed.",
            "SECONDS",
            **_SECONDS,
        ),
    ] = 30
    drain_seconds: Annotated[
        float,
        option(
            "Time over which clients are disconnected when the server stops.",
            "SECONDS",
            ge=0,
            le=120,
        ),
    ] = 10
    close_timeout: Annotated[
        float, option("Time a client has to answer a close frame.", "SECONDS", **_SECONDS)
    ] = 3


class Tls(Struct, frozen=True, kw_only=True):
    """TLS without a proxy in front."""

    cert: Annotated[
        str,
        option(
            "Serve TLS with this PEM certificate and its chain; read again on SIGHUP.",
            "FILE",
            name="tls_cert",
        ),
    ] = ""
    key: Annotated[
        str,
        option(
            "PEM private key of the TLS certificate, without a password.", "FILE", name="tls_key"
        ),
    ] = ""


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


class Auth(Struct, frozen=True, kw_only=True):
    """Authentication. An option that is given must not be empty.

    A variable without a value must not open the server to everyone.
    """

    jwt_secret: Annotated[
        str,
        option(
            "Secret of JSON Web Tokens signed with HS256, 32 bytes or more.",
            "TEXT",
            filled=True,
            secret=True,
        ),
    ] = ""
    jwt_public_key: Annotated[
        str,
        option(
            "PEM public key of JSON Web Tokens signed with RS256, ES256 or EdDSA.",
            "FILE",
            filled=True,
        ),
    ] = ""
    jwks_url: Annotated[
        str,
        option("Address of the JWKS with the public keys of JSON Web Tokens.", "URL", filled=True),
    ] = ""
    jwks_max_age: Annotated[
        float,
        option(
            "Time cached JWKS keys stay valid while the provider is unreachable.",
            "SECONDS",
            ge=60,
            le=10_000_000,
        ),
    ] = 86_400
    jwt_issuer: Annotated[
        str, option("The iss claim that a token must have.", "TEXT", filled=True)
    ] = ""
    jwt_audience: Annotated[
        str, option("The aud claim that a token must have.", "TEXT", filled=True)
    ] = ""
    jwt_leeway: Annotated[
        float,
        option(
            "Tolerated difference between the token issuer's clock and the server's.",
            "SECONDS",
            ge=0,
            le=600,
        ),
    ] = 30
    oauth_issuer: Annotated[
        str,
        option(
            "OAuth2 or OpenID Connect issuer, whose metadata names its JWKS.", "URL", filled=True
        ),
    ] = ""
    introspection_url: Annotated[
        str,
        option("Introspection endpoint for opaque tokens (RFC 7662).", "URL", filled=True),
    ] = ""
    introspection_client_id: Annotated[
        str,
        option(
            "Client id for the introspection endpoint; with --oauth-issuer its metadata names the"
            " endpoint.",
            "TEXT",
            filled=True,
        ),
    ] = ""
    introspection_client_secret: Annotated[
        str,
        option("Client secret for the introspection endpoint.", "TEXT", filled=True, secret=True),
    ] = ""
    api_keys: Annotated[
        str, option("File of API keys, made by `livelog keys`.", "FILE", filled=True)
    ] = ""
    auth_timeout: Annotated[
        float, option("Time a client has to authenticate.", "SECONDS", **_SECONDS)
    ] = 5


class Limits(Struct, frozen=True, kw_only=True):
    """Limits of connections, users and addresses."""

    enforced: Annotated[bool, option("Enforce the limits.", name="limits")] = True
    message_limit: Annotated[
        int, option("Frames a connection may send per --limit-window.", "N", ge=1)
    ] = 100
    command_limit: Annotated[
        int,
        option(
            "Commands a connection may send per --limit-window; publish and ping are not counted.",
            "N",
            ge=1,
        ),
    ] = 10
    limit_window: Annotated[
        float, option("Length of the window over which limits count.", "SECONDS", **_SECONDS)
    ] = 60
    connections_per_ip: Annotated[int, option("Open WebSockets per client address.", "N", ge=1)] = (
        1000
    )
    waiting_per_ip: Annotated[
        int, option("Connections per client address that are not yet upgraded.", "N", ge=1)
    ] = 1000
    waiting_connections: Annotated[
        int,
        option(
            "Maximum of connections not yet upgraded; the least recently active is closed.",
            "N",
            ge=1,
        ),
    ] = 10_000
    user_message_limit: Annotated[
        int,
        option("Messages an authenticated user may send per --limit-window.", "N", ge=1),
    ] = 1000
    user_command_limit: Annotated[
        int,
        option(
            "Commands and queries an authenticated user may send per --limit-window.", "N", ge=1
        ),
    ] = 100
    # High, because a thousand users may share an address: what its thousand connections may ask
    # for together, and more messages than they may send, for those that are published over HTTP.
    address_message_limit: Annotated[
        int, option("Messages a client address may send per --limit-window.", "N", ge=1)
    ] = 600_000
    address_command_limit: Annotated[
        int,
        option("Commands and queries a client address may send per --limit-window.", "N", ge=1),
    ] = 10_000
    block_after: Annotated[
        int,
        option("Failures per --limit-window after which a client address is blocked.", "N", ge=1),
    ] = 100
    block_seconds: Annotated[
        float, option("Time a client address stays blocked.", "SECONDS", **_SECONDS)
    ] = 300


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
    "demo": Demo,
}
OPTIONS = options_of(GROUPS)
"""Flat name → option, in the order of the groups."""
