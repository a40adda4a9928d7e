"""The opening of a connection: proxy, TLS, the WebSocket handshake, and what may go wrong there."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Container
from typing import Any

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    SecurityError,
)

from livelog.client import errors
from livelog.client.connection import MAX_BYTES, Connection
from livelog.client.credentials import Credentials
from livelog.client.errors import Loss, Lost
from livelog.client.proxies import Proxy, proxy_for, via
from livelog.client.url import EXAMPLE, host, shown, unix_socket, with_parameter
from livelog.errors import ConfigError


async def open_connection(
    url: str, credentials: Credentials | None, hosts: Container[str], *, batch: bool = False
) -> Connection:
    """Connect and authenticate. Raises `Lost` with the reason when that fails.

    A redirect is followed to `hosts` only, since the next that is sent may be a token. With `batch`
    messages come in arrays, from a server that knows them; others pass over the parameter.
    """
    connection = await _connected(with_parameter(url, "batch=1") if batch else url, hosts)
    if credentials is not None:
        try:
            await connection.authenticate(credentials)
        except BaseException:
            await connection.close()
            raise
    return connection


async def _connected(url: str, hosts: Container[str]) -> Connection:
    try:
        proxy = proxy_for(url)
    except ConfigError as error:
        raise Lost(errors.final(str(error))) from None
    try:
        return Connection(await _websocket(url, proxy, hosts))
    except ProxyError as refused:
        raise Lost(Loss(f"{_refused_by_proxy(refused)}{via(proxy)}")) from None
    except InvalidURI:
        raise Lost(
            errors.final(f"{shown(url)} is not a WebSocket address such as {EXAMPLE}")
        ) from None
    except InvalidStatus as refused:
        response = refused.response
        wait = response.headers.get("Retry-After", "")
        loss = errors.of_handshake(response.status_code, wait, bytes(response.body))
        raise Lost(loss) from None
    except InvalidMessage:
        raise Lost(Loss(f"the answer{via(proxy)} is not HTTP")) from None
    except InvalidHandshake as refused:
        raise Lost(_outage(f"the answer is not that of a WebSocket server: {refused}")) from None
    except ssl.SSLError as error:
        raise Lost(_outage(f"TLS failed{via(proxy)}: {error}")) from None
    except OSError as error:
        raise Lost(Loss(f"{_described(error)}{via(proxy)}")) from None


def _refused_by_proxy(refused: ProxyError) -> str:
    """Describe a refusal without the proxy's address, in which a password may stand."""
    if isinstance(refused, InvalidProxyStatus):
        return f"HTTP status {refused.response.status_code}"
    return "no HTTP answer"


class _Opening(connect):
    """The opening of a connection that stays with the hosts that were given."""

    hosts: Container[str]

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the address of a redirect, or the error if it is not followed."""
        found = super().process_redirect(exc)
        if isinstance(found, str) and (host(found) or "") not in self.hosts:
            return SecurityError(f"it redirects to another host: {shown(found)}")
        return found


class _Shaking(ClientConnection):
    """A connection whose server may answer and close before it is asked, as for a blocked address.

    The library asserts that none does.
    """

    async def handshake(self, *arguments: Any, **named: Any) -> None:
        """Perform the opening handshake."""
        try:
            await super().handshake(*arguments, **named)
        except AssertionError:
            closed = ConnectionResetError("it was closed before the handshake")
            raise self.protocol.handshake_exc or closed from None


async def _websocket(url: str, proxy: Proxy | None, hosts: Container[str]) -> ClientConnection:
    # Compression would cost both sides more than it saves. The `ping` command keeps the connection
    # alive, since ping frames count against the server's limits, too.
    options: dict[str, Any] = {
        "compression": None,
        "create_connection": _Shaking,
        "ping_interval": None,
        "max_size": MAX_BYTES,
        "close_timeout": 1,
    }
    if found := unix_socket(url):
        socket_path, path = found
        return await unix_connect(socket_path, f"ws://localhost{path}", **options)
    # Never the library's own choice of a proxy, which differs from that of all other connections.
    options["proxy"] = None if proxy is None else proxy.url_with_password
    opening = _Opening(url, **options)
    opening.hosts = hosts
    return await opening


def _outage(why: str) -> Loss:
    return errors.final(why)._replace(outage=True)


def _described(error: OSError) -> str:
    """Describe an error of the system without the addresses that asyncio wraps around it."""
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, socket.gaierror):
        return (error.strerror or "the name is unknown").lower()
    # Where a name has several addresses, only asyncio's text still holds the error numbers.
    found = _ERRNO.search(str(error))
    return os.strerror(int(found[1])).lower() if found else str(error)


_ERRNO = re.compile(r"\[Errno (\d+)\]")
