"""Listening: the sockets on which connections arrive.

A server listens on one or several TCP addresses, all with the same port, or on a Unix socket. They
are set up so that a slow client is noticed at once and no other user of the machine gets in
between. Either all addresses are listened on, or none.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from livelog.config.network import Net
from livelog.errors import ConfigError

_BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."""

_UNSENT_BYTES = 64 * 1024
"""Bytes that the kernel holds for a client that does not read, before the server notices."""

_ATTEMPTS = 20
"""Free ports that are tried until one is free at all addresses."""

_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""Errors of an address of IPv6, such as that of localhost, on a machine without IPv6."""

ALL_IPV4, ALL_IPV6 = "0.0.0.0", "::"


class Endpoint(NamedTuple):
    """An address to listen on, without its port."""

    host: str
    """The host as configured."""
    family: int
    protocol: int
    address: Any
    """The address as `socket.bind` takes it, with port 0."""


class Listener:
    """The sockets that are listened on."""

    def __init__(self, servers: Sequence[asyncio.Server]) -> None:
        self._servers = servers

    @property
    def port(self) -> int:
        """Their port; 0 for a Unix socket."""
        name = self._servers[0].sockets[0].getsockname()
        return name[1] if isinstance(name, tuple) else 0

    def close(self) -> None:
        """Accept no more connections."""
        for server in self._servers:
            server.close()


async def resolve(net: Net) -> list[Endpoint]:
    """Look up the addresses to listen on; none for a Unix socket.

    An address that another one includes is left out. Raises `OSError` for an unknown host.
    """
    found: dict[Any, Endpoint] = {}
    for host in () if net.uds else net.hosts:
        try:
            infos = await asyncio.get_running_loop().getaddrinfo(
                host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except (OSError, UnicodeError) as error:
            raise _failed(_shown(host, net.port), error) from None
        for family, _, protocol, _, address in infos:
            if family in (socket.AF_INET, socket.AF_INET6):
                found.setdefault(address[0], Endpoint(host, family, protocol, address))
    if ALL_IPV6 in found:
        return [found[ALL_IPV6]]
    including = found.get(ALL_IPV4)
    return [
        each
        for each in found.values()
        if including in (None, each) or each.family != including.family
    ]


async def reserve(net: Net) -> list[socket.socket]:
    """Bind the port for workers that share it; who holds the sockets keeps it, without listening.

    Raises `OSError` for an address that is taken: other workers would share theirs, too.
    """
    endpoints = await resolve(net)
    alone = _bound(endpoints, net.port)
    port = next(iter(alone)).getsockname()[1]
    _close(alone)
    return [*_bound(endpoints, port, shared=True)]


async def listen(
    net: Net,
    endpoints: Sequence[Endpoint],
    factory: Callable[[], asyncio.Protocol],
    *,
    shared: bool = False,
    sockets: Sequence[socket.socket] = (),
) -> Listener:
    """Listen as the configuration says; `factory` makes the protocol of each connection.

    A `shared` port is that of other workers as well. `sockets` that somebody else has bound are
    listened on in the place of what is configured.

    Raises `ConfigError` for a path that is taken, `OSError` for an address that is, which it names;
    then nothing is listened on.
    """
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)  # opening the store has held up the loop
    if sockets:
        return Listener([await _serve(factory, sock) for sock in sockets])
    if net.uds:
        try:
            sock = _unix_socket(net.uds, int(net.uds_mode, 8))
        except OSError as error:
            raise _failed(net.uds, error) from None
        return Listener([await loop.create_unix_server(factory, sock=sock, backlog=_BACKLOG)])
    bound = _bound(endpoints, net.port, shared)
    servers: list[asyncio.Server] = []
    try:
        for sock in bound:
            servers.append(await loop.create_server(factory, sock=sock, backlog=_BACKLOG))
    except OSError as error:
        host = list(bound.values())[len(servers)].host
        Listener(servers).close()
        _close(bound)
        raise _failed(_shown(host, net.port), error) from None
    return Listener(servers)


async def _serve(factory: Callable[[], asyncio.Protocol], sock: socket.socket) -> asyncio.Server:
    """Listen on a socket that somebody else has bound."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    if sock.family == socket.AF_UNIX:
        return await loop.create_unix_server(factory, sock=sock, backlog=_BACKLOG)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
    return await loop.create_server(factory, sock=sock, backlog=_BACKLOG)


def settings_of(sockets: Sequence[socket.socket]) -> dict[str, Any]:
    """Return the settings that say where these sockets listen. Raises `ConfigError`.

    They must be streams: one at a path, or several with the same port.
    """
    families = {sock.family for sock in sockets}
    if any(sock.type != socket.SOCK_STREAM for sock in sockets) or not families <= _FAMILIES:
        raise ConfigError("LISTEN_FDS: the sockets must be streams of TCP or at a path")
    if socket.AF_UNIX in families:
        path = sockets[0].getsockname()
        if len(sockets) > 1 or not isinstance(path, str) or not path:
            raise ConfigError(
                "LISTEN_FDS: a socket at a path must be the only one, and have a name"
            )
        return {"uds": path}
    names = [sock.getsockname() for sock in sockets]
    if len({port for _, port, *_ in names}) > 1:
        raise ConfigError("LISTEN_FDS: the sockets must all have the same port")
    return {"uds": "", "host": [host for host, *_ in names], "port": names[0][1]}


_FAMILIES = {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}


def _bound(
    endpoints: Sequence[Endpoint], port: int, shared: bool = False
) -> dict[socket.socket, Endpoint]:
    """Bind a socket to each address, all to the same port. Raises `OSError`."""
    for attempt in range(1, _ATTEMPTS + 1):
        bound: dict[socket.socket, Endpoint] = {}
        for endpoint in endpoints:
            taken = next(iter(bound)).getsockname()[1] if bound else port
            try:
                bound[_bound_to(endpoint, taken, shared)] = endpoint
            except OSError as error:
                if error.errno in _NO_IPV6 and _is_spare(endpoint, endpoints):
                    continue
                _close(bound)
                # Only the first address got a port that is free: another may be free at all.
                unlucky = error.errno == errno.EADDRINUSE and bound and not port
                if not unlucky or attempt == _ATTEMPTS:
                    raise _failed(_shown(endpoint.host, port), error) from None
                break
        else:
            break
    return bound


def _is_spare(endpoint: Endpoint, endpoints: Sequence[Endpoint]) -> bool:
    """Return whether a host's address is one of IPv6, and the host has one of IPv4 as well."""
    families = {each.family for each in endpoints if each.host == endpoint.host}
    return endpoint.family == socket.AF_INET6 and socket.AF_INET in families


def _bound_to(endpoint: Endpoint, port: int, shared: bool) -> socket.socket:
    sock = socket.socket(endpoint.family, socket.SOCK_STREAM, endpoint.protocol)
    try:
        # A port may be taken over from a server that is gone and has connections in TIME_WAIT.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if endpoint.family == socket.AF_INET6:
            # `::` takes connections of IPv4, too, whatever the system's default is.
            only = endpoint.address[0] != ALL_IPV6
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        # Accepted sockets inherit it. A full send buffer is then noticed at once, and a slow
        # client cannot tie up megabytes of kernel memory.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        sock.setblocking(False)
        host, _, *more = endpoint.address
        sock.bind((host, port, *more))
    except BaseException:
        sock.close()
        raise
    return sock


def _close(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _failed(where: str, error: Exception) -> OSError:
    """Return the error of an address that cannot be listened on, with a text for people."""
    number = error.errno if isinstance(error, OSError) else None
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return OSError(number, f"cannot listen on {where}: {why}")


def _unix_socket(path: str, mode: int) -> socket.socket:
    """Bind a socket to `path`, with these permissions.

    Connecting takes a socket that listens, so there is no moment at which others could. Raises
    `ConfigError` for a path that is taken.
    """
    _clear_stale_socket(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        os.chmod(path, mode)
    except OSError:
        sock.close()
        raise
    return sock


def _clear_stale_socket(path: str) -> None:
    """Remove the socket of a server that is gone. Raises `ConfigError` for anything else."""
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise ConfigError(f"--uds {path}: exists and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise ConfigError(f"--uds {path}: another server is listening on it")
