"""Those who vouch for others: keys and tokens of every kind, and a little identity provider.

The provider is a real HTTP server on a free port of this machine, in the test's own loop. What it
says is an attribute, so a test can rotate keys, withdraw tokens, lie, or be away.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from livelog.auth import apikeys, keyfile

Json = dict[str, Any]
SECRET = "a secret that has more than thirty-two bytes"

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"HS256": SECRET, "RS256": RSA_KEY, "ES256": EC_KEY, "EdDSA": ED_KEY}


def pem(key: Any) -> bytes:
    """The public key of a private one, as a file holds it."""
    written: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return written


def jwk(key: Any, kid: str, **fields: Any) -> Json:
    """The public key of a private one, as a provider publishes it."""
    makers: list[tuple[type, Any]] = [
        (rsa.RSAPrivateKey, RSAAlgorithm),
        (ec.EllipticCurvePrivateKey, ECAlgorithm),
        (ed25519.Ed25519PrivateKey, OKPAlgorithm),
    ]
    made = next(maker for kind, maker in makers if isinstance(key, kind))
    return {**json.loads(made.to_jwk(key.public_key())), "kid": kid, "use": "sig", **fields}


def claims(who: str = "u1", scope: str = "read publish", lasts: float = 3600, **more: Any) -> Json:
    """Return the claims of a token; a claim that is None is left out."""
    said = {"sub": who, "scope": scope, "exp": time.time() + lasts, **more}
    return {name: value for name, value in said.items() if value is not None}


def token(
    who: str = "u1",
    scope: str = "read publish",
    *,
    lasts: float = 3600,
    algorithm: str = "HS256",
    key: Any = None,
    kid: str | None = None,
    **more: Any,
) -> str:
    """A signed token."""
    headers = {"kid": kid} if kid is not None else None
    signing = PRIVATE[algorithm] if key is None else key
    return jwt.encode(claims(who, scope, lasts, **more), signing, algorithm, headers)


def handmade(header: Json, payload: Json, signature: bytes = b"") -> str:
    """A token as a forger writes it."""
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def api_key(file: Path, owner: str = "bot", scopes: str = "read publish", **more: Any) -> str:
    """A new API key."""
    random = os.urandom(apikeys.RANDOM_BYTES)
    secret, kept = apikeys.make(random, owner, scopes.split(), "2025-12-03T12:00:00.000Z", **more)
    with keyfile.changing(str(file)) as keys:
        keys[kept.id] = kept
    return secret


class Provider:
    """An identity provider: metadata, published keys, introspection."""

    def __init__(self) -> None:
        self.port = 0
        self.keys: list[Json] = [jwk(RSA_KEY, "one")]
        self.metadata: Json = {}
        self.tokens: dict[str, Json] = {}
        """Opaque tokens, and what is said of them."""
        self.client = ("livelog", "the secret of livelog")
        self.asked: list[str] = []
        """Paths, in their order."""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body: bytes | None = None
        """What is answered instead of anything else."""
        self.patience = 0.0
        """Seconds before it answers."""
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it is; also its name as an issuer."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Be there, at the same place as before if there was one."""
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be away."""
        assert self._server is not None
        self._server.close()

    def count(self, path: str) -> int:
        """How often this path was asked for."""
        return self.asked.count(path)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            form = await reader.readexactly(int(headers.get("content-length", 0)))
            path = lines[0].split()[1]
            self.asked.append(path)
            await asyncio.sleep(self.patience)
            said, status = self._says(path, head, parse_qs(form.decode()))
            body = self.body if self.body is not None else json.dumps(said).encode()
            more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            writer.write(
                f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n{more}"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()

    def _says(self, path: str, head: str, form: dict[str, list[str]]) -> tuple[Any, int]:
        if self.status != 200:
            return {}, self.status
        if path == "/keys":
            return {"keys": self.keys}, 200
        if path == "/introspect":
            user, secret = self.client
            known = base64.b64encode(f"{user}:{secret}".replace(" ", "+").encode()).decode()
            if f"Basic {known}" not in head:
                return {}, 401
            return self.tokens.get(form["token"][0], {"active": False}), 200
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "introspection_endpoint": f"{self.url}/introspect",
                **self.metadata,
            }, 200
        return {}, 404


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    """A provider that is there."""
    made = Provider()
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
