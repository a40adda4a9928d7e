"""Options of listening, proxies, connections and TLS."""

from typing import Annotated

from msgspec import Struct

from livelog.config.check import SECONDS, NetworkList, networks, option, origins
from livelog.config.hosts import addresses, host_names


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
            read=host_names,
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
            " credential. With --workers it tells of all, and those above of each; 0 stands for"
            " none.",
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
        float, option("Time a client has to send an HTTP request head.", "SECONDS", **SECONDS)
    ] = 10
    body_timeout: Annotated[
        float, option("Time a client has to send an HTTP request body.", "SECONDS", **SECONDS)
    ] = 60
    idle_timeout: Annotated[
        float,
        option("Time an HTTP connection may stay idle between requests.", "SECONDS", **SECONDS),
    ] = 75
    ping_interval: Annotated[
        float,
        option("Time without a sign of life after which a client is pinged.", "SECONDS", **SECONDS),
    ] = 20
    ping_timeout: Annotated[
        float, option("Time a pinged client has to answer.", "SECONDS", **SECONDS)
    ] = 20
    stall_seconds: Annotated[
        float,
        option(
            "Time a client may leave its full send buffer unread before it is closed.",
            "SECONDS",
            **SECONDS,
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
        float, option("Time a client has to answer a close frame.", "SECONDS", **SECONDS)
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
