"""Every option: its name, default, meaning and bounds.

Flags (`--ping-interval`), environment variables (`LIVELOG_PING_INTERVAL`) and keys of the TOML file
(`ping_interval`) are derived from the fields of `Config`, and msgspec checks them against the same
annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
from msgspec import Meta, Struct

from livelog.config.check import converted

_SECONDS = {"gt": 0, "le": 10_000_000}
"""Bounds of a duration; a third of a year is for ever."""


def _about(description: str, **bounds: Any) -> Meta:
    return Meta(description=description, **bounds)


def _proof(description: str, *, secret: bool = False) -> Meta:
    """About a setting that turns authentication on or is part of it.

    Given, it must not be empty: a variable that was forgotten must not open the server to all.
    """
    return Meta(description=description, extra={"filled": True, "secret": secret})


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a server is to run. Timestamps are seconds, sizes bytes."""

    host: Annotated[str, _about("address to listen on", min_length=1)] = "127.0.0.1"
    port: Annotated[int, _about("port to listen on; 0 picks a free one", ge=0, le=65535)] = 8000
    uds: Annotated[str, _about("listen on this Unix socket instead of host and port")] = ""
    uds_mode: Annotated[
        str, _about("who may use that socket, as an octal file mode", pattern=r"^[0-7]{3,4}$")
    ] = "660"
    trusted_proxies: Annotated[
        str,
        _about("proxies that are believed whose request it is: networks, 'unix' for the socket"),
    ] = ""
    proxy_header: Annotated[
        str,
        _about(
            "how they say it: x-forwarded-for or proxy-protocol",
            pattern="^(x-forwarded-for|proxy-protocol)$",
        ),
    ] = "x-forwarded-for"
    tls_cert: Annotated[
        str, _about("serve TLS with this certificate, PEM with its chain; read again on SIGHUP")
    ] = ""
    tls_key: Annotated[str, _about("the certificate's private key, PEM without a password")] = ""
    allowed_origins: Annotated[
        str,
        _about("web origins whose pages may connect, read and write; if empty, the own host's"),
    ] = ""
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

    jwt_secret: Annotated[
        str,
        _proof("secret of tokens signed with HS256, 32 bytes or more", secret=True),
    ] = ""
    jwt_public_key: Annotated[
        str, _proof("PEM file with the key of tokens signed with RS256, ES256 or EdDSA")
    ] = ""
    jwks_url: Annotated[str, _proof("where the keys of such tokens are published (JWKS)")] = ""
    jwks_max_age: Annotated[
        float, _about("age up to which they hold while that is away", ge=60, le=10_000_000)
    ] = 86_400
    jwt_issuer: Annotated[str, _proof("the iss that a token must have")] = ""
    jwt_audience: Annotated[str, _proof("the aud that a token must have")] = ""
    jwt_leeway: Annotated[float, _about("by how much clocks may differ", ge=0, le=600)] = 30
    oauth_issuer: Annotated[
        str, _proof("OAuth2 or OpenID issuer, whose metadata says where its keys are")
    ] = ""
    introspection_url: Annotated[str, _proof("where opaque tokens are looked up (RFC 7662)")] = ""
    introspection_client_id: Annotated[
        str, _proof("who we are there; with an issuer its metadata says where")
    ] = ""
    introspection_client_secret: Annotated[str, _proof("our secret there", secret=True)] = ""
    api_keys: Annotated[str, _proof("file of API keys, made by 'livelog keys'")] = ""
    auth_timeout: Annotated[float, _about("time a client has to authenticate", **_SECONDS)] = 5

    window_messages: Annotated[int, _about("newest messages held in memory", ge=1)] = 100_000
    window_bytes: Annotated[int, _about("bytes of messages held in memory", ge=1)] = 128 * 2**20

    limits: Annotated[bool, _about("enforce the limits that follow, up to block_seconds")] = True
    message_limit: Annotated[int, _about("frames a connection may send per window", ge=1)] = 100
    command_limit: Annotated[
        int, _about("commands among them, publish and ping not counted", ge=1)
    ] = 10
    limit_window: Annotated[float, _about("length of that window", **_SECONDS)] = 60
    connections_per_ip: Annotated[int, _about("WebSockets open from one address", ge=1)] = 1000
    waiting_per_ip: Annotated[
        int, _about("connections from one address that are no WebSockets (yet)", ge=1)
    ] = 1000
    user_message_limit: Annotated[
        int, _about("messages per window of an authenticated user, over all connections", ge=1)
    ] = 1000
    user_command_limit: Annotated[int, _about("commands and queries of such a user", ge=1)] = 100
    # High, because a thousand users may share an address: what its thousand connections may ask
    # for together, and more messages than they may send, for those that are published over HTTP.
    address_message_limit: Annotated[int, _about("messages per window of an address", ge=1)] = (
        600_000
    )
    address_command_limit: Annotated[int, _about("commands and queries of an address", ge=1)] = (
        10_000
    )
    block_after: Annotated[
        int, _about("failures of an address per window after which it is blocked", ge=1)
    ] = 100
    block_seconds: Annotated[float, _about("time for which it is blocked", **_SECONDS)] = 300
    waiting_connections: Annotated[
        int, _about("those that are no WebSockets in all; the longest silent has to go", ge=1)
    ] = 10_000

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
    drain_seconds: Annotated[
        float, _about("time at the end over which clients are sent away", ge=0, le=120)
    ] = 10
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
        """Return a copy with every value checked; the constructor alone does not check.

        Raises `ConfigError` for a value that is not allowed.
        """
        return build(msgspec.structs.asdict(self), strict=True)

    def __repr__(self) -> str:
        """With what differs from the defaults, and without secrets."""
        changed = {
            field.name: "…" if is_secret(field.name) else getattr(self, field.name)
            for field in msgspec.structs.fields(self)
            if getattr(self, field.name) != field.default
        }
        return f"Config({', '.join(f'{name}={value!r}' for name, value in changed.items())})"


def build(settings: Mapping[str, Any], *, strict: bool = False) -> Config:
    """Return a checked `Config`; unless `strict`, numbers and booleans may be written as strings.

    Raises `ConfigError`.
    """
    return Config(**converted(settings, _HINTS, is_secret, strict=strict))


_HINTS = get_type_hints(Config, include_extras=True)


def describe(name: str) -> str:
    """Return the meaning of a setting."""
    return str(_meta(name).description)


def is_secret(name: str) -> bool:
    """Tell whether the value of a setting must never be shown."""
    return bool((_meta(name).extra or {}).get("secret"))


def must_be_filled(name: str) -> bool:
    """Tell whether a setting that is given must not be empty."""
    return bool((_meta(name).extra or {}).get("filled"))


def _meta(name: str) -> Meta:
    metas = get_args(_HINTS.get(name))
    return next((meta for meta in metas if isinstance(meta, Meta)), Meta())
