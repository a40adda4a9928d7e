"""TLS without a proxy: the certificate, and the handshake before the HTTP door.

A connection is accepted as plain TCP, so that it can be counted, and refused, before a handshake
has cost anything; then `start_tls` wraps its transport. Each handshake uses the context of the
moment, so a reloaded certificate holds for new connections and does not disturb open ones.

The hand-over has two moments in which bytes arrive and nobody reads them yet:
1. Before the wrapper is in place. The client's hello may arrive before the task has called
   `start_tls`. `data_received` keeps it, and `_pass_on` feeds it to the wrapper.
2. After the handshake, before the HTTP door is in place. The wrapper decrypts what follows at once
   and hands it to this protocol, because `start_tls` returns only in a later iteration of the loop.
   `data_received` keeps those bytes, too, and `_hand_over` passes them on.

Backpressure: the TCP transport keeps no bytes that the kernel does not take, and the TLS transport
above it reports what it holds from the first byte on.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

from livelog.config import Config
from livelog.errors import ConfigError, RefusedError
from livelog.net.context import Context
from livelog.net.transport import address_of

_log = logging.getLogger(__name__)

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 section 4.2)."""


class Certificate:
    """The server's certificate. Raises `ConfigError` for unusable files."""

    def __init__(self, cert: str, key: str) -> None:
        self._files = cert, key
        self.context = _context(cert, key)
        self._shown = _fingerprint(cert)

    def reload(self) -> tuple[str, str] | None:
        """Read the files again; return the certificate before and after, None for the same one.

        Raises `ConfigError` for files that cannot be used, and keeps the old certificate.
        """
        self.context = _context(*self._files)
        before, self._shown = self._shown, _fingerprint(self._files[0])
        return None if before == self._shown else (before, self._shown)


def certificate_of(config: Config) -> Certificate | None:
    """Read the certificate, if TLS is served. Raises `ConfigError`."""
    if not (config.tls.cert or config.tls.key):
        return None
    if config.net.trusted_proxies and config.net.proxy_header == "proxy-protocol":
        issue = "the PROXY protocol and TLS exclude each other; let the proxy do TLS"
        raise ConfigError(f"--proxy-header {config.net.proxy_header}: {issue}")
    return Certificate(config.tls.cert, config.tls.key)


def _fingerprint(cert: str) -> str:
    """Return the fingerprint (SHA-256) of the first certificate in a file, for people."""
    try:
        pem = Path(cert).read_text(encoding="ascii", errors="replace")
        der = ssl.PEM_cert_to_DER_cert(pem[pem.index(_BEGIN) : pem.index(_END) + len(_END)])
    except (OSError, ValueError):
        return f"{cert} (unknown)"  # OpenSSL has taken it in some other form
    return f"{cert} (SHA-256 {hashlib.sha256(der).hexdigest()[:16]})"


_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def _context(cert: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996 forbids those before it
    context.set_ciphers(_CIPHERS)
    # So a client that could speak HTTP/2 knows better (RFC 7301; RFC 9113 section 3.2).
    context.set_alpn_protocols(["http/1.1"])
    for flag, file in (("--tls-cert", cert), ("--tls-key", key)):
        _check_readable(flag, file)
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        why = "do not match" if "MISMATCH" in str(error.reason) else "not a certificate and a key"
        raise ConfigError(f"--tls-cert {cert} and --tls-key {key}: {why} ({error})") from None
    return context


def _check_readable(flag: str, file: str) -> None:
    if not file:
        raise ConfigError(f"{flag} is missing: --tls-cert and --tls-key must be given together")
    try:
        with open(file, "rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{flag} {file}: {error.strerror}") from None


def _no_password() -> str:
    """Refuse a key with a password: OpenSSL would ask for it at the terminal and hang a service."""
    raise ConfigError("--tls-key: must not be encrypted with a password")


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
        self.early = bytearray()  # bytes that arrived before the next protocol was in place
        self.lost = False
        self.transport: asyncio.Transport
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and start its handshake or refuse it."""
        # A cast, because uvloop's transports are not registered as asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.address = address_of(self.transport)
        try:
            self.context.limiter.enter(self, self.address)
        except RefusedError as refused:
            self.context.audit.refused(self.address, refused)
            self.transport.abort()
            return
        self.transport.set_write_buffer_limits(high=0)
        self.task = self.context.loop.create_task(self._shake_hands())

    def data_received(self, data: bytes) -> None:
        """Keep early bytes: encrypted ones before the wrapper, decrypted ones after it."""
        self.early += data

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is lost, and stop counting it."""
        self.lost = True
        self._leave()

    def on_deadline(self, now: float) -> None:
        """Ignore the deadline: `start_tls` has one of its own."""

    def shut_down(self, back_in: float = 0.0) -> None:
        """Drop the connection, since no request has come yet."""
        self.transport.abort()

    def abort(self) -> None:
        """Drop the connection at once, without a close_notify.

        So a client can tell it from an end that is meant (RFC 8446 section 6.1).
        """
        self.transport.abort()

    def give_way(self) -> bool:
        """Drop the connection, which the limiter evicts in favour of a newer one."""
        self.transport.abort()
        return True

    def turn_out(self) -> None:
        """Do nothing: no request is under way."""

    async def _shake_hands(self) -> None:
        config = self.context.config
        # Before it first waits, `start_tls` pauses reading, sets its wrapper as the protocol, and
        # schedules the handshake and the end of the pause. This callback is scheduled ahead of
        # those two, so the wrapper gets the early bytes first and in order.
        self.context.loop.call_soon(self._pass_on, self.early)
        self.early = bytearray()
        try:
            wrapped = await self.context.loop.start_tls(
                self.transport,
                self,
                self.tls,
                server_side=True,
                ssl_handshake_timeout=config.net.head_timeout,
                # The deadlines of who has taken over come first.
                ssl_shutdown_timeout=max(config.net.close_timeout, config.net.stall_seconds),
            )
        except (OSError, EOFError) as error:  # an SSLError is an OSError
            why = getattr(error, "reason", None) or type(error).__name__
            self.context.audit.report("TLS", self.address, f"handshake failed: {why}")
            self.transport.abort()
        else:
            # uvloop raises no error when the connection is lost during the handshake.
            if wrapped is not None and not (self.lost or self.transport.is_closing()):
                self._hand_over(wrapped)
        finally:
            self._leave()

    def _pass_on(self, hello: bytearray) -> None:
        """Feed the wrapper the bytes that came before it was in place, as a transport would."""
        wrapper = cast(asyncio.BufferedProtocol, self.transport.get_protocol())
        while hello:
            buffer = memoryview(cast(bytearray, wrapper.get_buffer(len(hello))))
            size = min(len(buffer), len(hello))
            buffer[:size] = hello[:size]
            wrapper.buffer_updated(size)
            del hello[:size]

    def _hand_over(self, wrapped: asyncio.Transport) -> None:
        self._leave()  # the door behind counts the connection as its own; nothing waits in between
        door = self.behind()
        wrapped.set_protocol(door)
        door.connection_made(wrapped)
        if self.early:
            door.data_received(bytes(self.early))

    def _leave(self) -> None:
        self.context.limiter.leave(self)
