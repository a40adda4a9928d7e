"""The first step: the address, the port, and the certificate."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator

from livelog.cli.doctor.finding import Finding, Hopeless, ms, plain
from livelog.cli.doctor.target import Target

_EXPIRES_SOON = 14 * 86_400
"""Seconds before the end of a certificate from which on it is worth a word."""


def network(target: Target) -> Iterator[Finding]:
    """Connect, and shake hands where the address is one of TLS."""
    started = time.monotonic()
    try:
        sock = target.open()
    except (OSError, UnicodeError) as error:
        raise Hopeless(f"network: {target.host}:{target.port}: {plain(error)}") from None
    with sock:
        took = time.monotonic() - started
        address = sock.getpeername()[0]
        yield Finding(True, f"network: connected to {address}:{target.port} in {ms(took)}")
        if target.secure:
            yield _tls(target, sock)


def _tls(target: Target, sock: socket.socket) -> Finding:
    try:
        wrapped = ssl.create_default_context().wrap_socket(sock, server_hostname=target.host)
    except ssl.SSLCertVerificationError as error:
        raise Hopeless(
            f"TLS: the certificate is not trusted: {error.verify_message}; does the server send the"
            " whole chain, and is it for this name?"
        ) from None
    except OSError as error:
        raise Hopeless(f"TLS: no handshake: {plain(error)}; is this port one of TLS?") from None
    with wrapped:
        certificate = wrapped.getpeercert() or {}
        ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        left = ends - time.time()
        text = f"TLS: {wrapped.version()}, the certificate is valid for {left / 86_400:.0f} days"
        return Finding(left > _EXPIRES_SOON, text)
