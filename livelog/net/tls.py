"""TLS for those without a proxy: the certificate, and the door in front of the HTTP door.

A connection arrives in the clear, so that it can be counted, and refused, before the handshake has
cost anything; then its transport is wrapped. The context is picked for each connection, so a
certificate that is read again holds for whoever comes next and disturbs nobody who is there.

Back-pressure: the transport below keeps nothing that the kernel does not take, and the one above
reports what it holds from the first byte on.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import cast

from livelog.errors import ConfigError, RefusedError
from livelog.net.addresses import address_of
from livelog.net.context import Context

_log = logging.getLogger(__name__)

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2 those with forward secrecy and authenticated encryption (RFC 9325 section 4.2)."""


class Certificate:
    """What clients are shown. Raises `ConfigError` for files that will not do."""

    def __init__(self, cert: str, key: str) -> None:
        self._files = cert, key
        self.context = _context(cert, key)

    def reload(self) -> None:
        """Read the files again; what is wrong with them is logged, and the old ones stay."""
        try:
            self.context = _context(*self._files)
        except ConfigError as wrong:
            _log.error("the old certificate stays: %s", wrong)
        else:
            _log.warning("the certificate was read again: %s", self._files[0])


def _context(cert: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    for flag, file in (("--tls-cert", cert), ("--tls-key", key)):
        _check_readable(flag, file)
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        why = "they do not match" if "MISMATCH" in str(error.reason) else "not certificate and key"
        raise ConfigError(f"--tls-cert {cert} and --tls-key {key}: {why} ({error})") from None
    return context


def _check_readable(flag: str, file: str) -> None:
    if not file:
        raise ConfigError(f"{flag} is missing, the other of --tls-cert and --tls-key is given")
    try:
        with open(file, "rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{flag} {file}: {error.strerror}") from None


def _no_password() -> str:
    """Instead of OpenSSL's question at the terminal, which would hang a service."""
    raise ConfigError("--tls-key: is encrypted with a password, it has to be without one")


class TlsDoor(asyncio.Protocol):
    """A connection during its TLS handshake."""

    def __init__(
        self,
        context: Context,
        certificate: Certificate,
        behind: Callable[[], asyncio.Protocol],
    ) -> None:
        self.context = context
        self.tls = certificate.context
        self.behind = behind
        self.address = ""
        self.early = bytearray()  # what came before there was anybody to take it
        self.lost = False
        self.transport: asyncio.Transport
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        # A cast, because uvloop's transports are not registered as asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.address = address_of(self.transport)
        try:
            self.context.limiter.enter(self, self.address)
        except RefusedError as refused:
            self.context.audit.refused(self.address, refused)
            self.transport.abort()
            return
        self.context.peers.add(self)
        self.transport.set_write_buffer_limits(high=0)
        self.task = self.context.loop.create_task(self._shake_hands())

    def data_received(self, data: bytes) -> None:
        """Bytes before the wrapper has taken over, then decrypted ones before the HTTP door has."""
        self.early += data

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has gone."""
        self.lost = True
        self._leave()

    def on_deadline(self, now: float) -> None:
        """The handshake has its own."""

    def shut_down(self, back_in: float = 0.0) -> None:
        """The server stops, and nothing was asked yet."""
        self.transport.abort()

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abort()

    def give_way(self) -> bool:
        """Too many are waiting, and this one longest."""
        self.transport.abort()
        return True

    async def _shake_hands(self) -> None:
        config = self.context.config
        self.context.loop.call_soon(
            self._pass_on, self.early
        )  # after the first step of what follows
        self.early = bytearray()
        try:
            wrapped = await self.context.loop.start_tls(
                self.transport,
                self,
                self.tls,
                server_side=True,
                ssl_handshake_timeout=config.net.head_timeout,
                ssl_shutdown_timeout=config.net.close_timeout,
            )
        except (OSError, EOFError) as error:  # an SSLError is an OSError
            why = getattr(error, "reason", None) or type(error).__name__
            self.context.audit.report("TLS", self.address, f"did not shake hands: {why}")
            self.transport.abort()
        else:
            # uvloop does not call it an error when the connection goes during the handshake.
            if wrapped is not None and not (self.lost or self.transport.is_closing()):
                self._hand_over(wrapped)
        finally:
            self._leave()

    def _pass_on(self, hello: bytearray) -> None:
        """Give the wrapper what was read before it was there, as a transport would do it."""
        wrapper = cast(asyncio.BufferedProtocol, self.transport.get_protocol())
        while hello:
            buffer = memoryview(cast(bytearray, wrapper.get_buffer(len(hello))))
            size = min(len(buffer), len(hello))
            buffer[:size] = hello[:size]
            wrapper.buffer_updated(size)
            del hello[:size]

    def _hand_over(self, wrapped: asyncio.Transport) -> None:
        self._leave()
        door = self.behind()
        wrapped.set_protocol(door)
        door.connection_made(wrapped)
        if self.early:
            door.data_received(bytes(self.early))

    def _leave(self) -> None:
        self.context.peers.discard(self)
        self.context.limiter.leave(self)
