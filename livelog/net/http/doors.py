"""The door of a server: what a connection that is accepted begins as."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from livelog.net.context import Context
from livelog.net.http.connection import HttpConnection
from livelog.net.tls import Certificate, TlsDoor


def door(context: Context, certificate: Certificate | None) -> Callable[[], asyncio.Protocol]:
    """Return the maker of a connection: HTTP, behind TLS if there is a certificate."""
    plain = partial(HttpConnection, context)
    return plain if certificate is None else partial(TlsDoor, context, certificate, plain)
