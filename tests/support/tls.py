"""TLS for tests: certificates for `localhost`, and clients that trust nothing else."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from tests.support.wire import Address, Client, Http, Wire, soon


class Files(NamedTuple):
    """A certificate and its key."""

    cert: Path
    key: Path

    @property
    def settings(self) -> dict[str, Any]:
        """Those of a server."""
        return {"tls_cert": str(self.cert), "tls_key": str(self.key)}


def make_certificate(folder: Path, name: str = "one", *options: str) -> Files:
    """A new certificate for localhost, signed by itself."""
    files = Files(folder / f"{name}.pem", folder / f"{name}.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", files.key, "-out", files.cert, *(options or ("-nodes",))],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return files


def trusting(*files: Files) -> ssl.SSLContext:
    """A client's context that trusts these certificates only."""
    context = ssl.create_default_context()
    for each in files:
        context.load_verify_locations(each.cert)
    return context


class _Secure(Wire):
    """A connection wrapped into TLS; reads when it is asked to, but for what streams read ahead."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *data: bytes) -> None:
        """Send bytes."""
        self.writer.write(b"".join(data))
        await soon(self.writer.drain(), "a send")

    async def more(self) -> bool:
        """Read once; False at the end of the stream."""
        data = await soon(self.reader.read(1 << 16), "bytes")
        self.unread += data
        return bool(data)

    def pause_reading(self) -> None:
        """Read nothing ahead any more."""
        cast(asyncio.Transport, self.writer.transport).pause_reading()

    def resume_reading(self) -> None:
        """Read ahead again."""
        cast(asyncio.Transport, self.writer.transport).resume_reading()

    def close(self) -> None:
        """Be gone."""
        self.writer.transport.abort()

    @property
    def peer_name(self) -> str:
        """The name in the certificate that the peer has shown."""
        shown = self.writer.get_extra_info("peercert")
        return str(dict(pair[0] for pair in shown["subject"])["commonName"])


class TlsHttp(_Secure, Http):
    """HTTP over TLS."""


class TlsClient(_Secure, Client):
    """A WebSocket over TLS."""


AnySecure = TypeVar("AnySecure", TlsHttp, TlsClient)


async def secured(
    kind: type[AnySecure], address: Address, context: ssl.SSLContext, source: str = ""
) -> AnySecure:
    """A connection whose handshake is done."""
    wire = await kind.connect(address, source=source)
    opening = asyncio.open_connection(
        sock=wire.sock, ssl=context, server_hostname="localhost", limit=1 << 14
    )
    wire.reader, wire.writer = await soon(opening, "a TLS handshake")
    return wire
