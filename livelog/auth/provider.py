"""HTTP to an identity provider: small JSON documents, within bounds.

Every request is bounded in time and size, and a redirect is an error: keys come only from the
configured URL.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, urlsplit

import aiohttp
import msgspec

from livelog.client.proxies import Proxy, proxy_for, via
from livelog.errors import ConfigError
from livelog.wire.bom import without_bom

_log = logging.getLogger(__name__)
_TIMEOUT = aiohttp.ClientTimeout(total=5)
_MAX_BYTES = 512 * 1024
_CONNECTIONS = 16
"""Maximum connections to the provider; further requests wait, within their time-out."""
_LOCAL = ("localhost", "127.0.0.1", "::1")
_METADATA = (
    ".well-known/openid-configuration",  # OpenID Connect Discovery 1.0 section 4
    ".well-known/oauth-authorization-server",  # RFC 8414 section 3
)


class NoAnswer(ConnectionError):
    """No usable answer from the provider; the text says why, without secrets."""


class Provider:
    """An HTTP client for the provider. Make and use it inside the running loop."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            timeout=_TIMEOUT,
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            headers={"Accept": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def get(self, url: str) -> dict[str, Any]:
        """Fetch a JSON object. Raises `NoAnswer`."""
        return await self._ask("GET", url)

    async def post(
        self, url: str, form: Mapping[str, str], user: str, secret: str
    ) -> dict[str, Any]:
        """Send a form as the client `user`, return the JSON object. Raises `NoAnswer`."""
        # RFC 6749 section 2.3.1: id and secret are form-encoded before the base64.
        basic = b64encode(f"{quote_plus(user)}:{quote_plus(secret)}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}"}
        return await self._ask("POST", url, data=form, headers=headers)

    async def _ask(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        proxy = _proxy(url)
        if proxy is not None:
            options["proxy"] = proxy.url
            # With TLS the proxy reads the request for a tunnel, else the request itself.
            reads = "proxy_headers" if urlsplit(url).scheme == "https" else "headers"
            options[reads] = {**options.get(reads, {}), **proxy.headers}
        where = f"{shown(url)}{via(proxy)}"
        try:
            async with self._session.request(
                method, url, allow_redirects=False, **options
            ) as answer:
                if answer.status != 200:
                    raise NoAnswer(f"{where} answered with HTTP status {answer.status}")
                return await _document(answer, url)
        except NoAnswer:
            raise  # it is an OSError, too
        except TimeoutError:
            raise NoAnswer(f"{where} did not answer in {_TIMEOUT.total:g} seconds") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer(f"{where} cannot be reached: {error or 'no reason'}") from None


def _proxy(url: str) -> Proxy | None:
    try:
        return proxy_for(url)
    except ConfigError as error:
        raise NoAnswer(f"{shown(url)} cannot be reached: {error}") from None


async def _document(answer: aiohttp.ClientResponse, url: str) -> dict[str, Any]:
    body = bytearray()
    async for part in answer.content.iter_chunked(64 * 1024):
        body += part
        if len(body) > _MAX_BYTES:
            raise NoAnswer(f"{shown(url)} answered with more than {_MAX_BYTES} bytes")
    try:
        return msgspec.json.decode(without_bom(bytes(body)), type=dict[str, Any])
    except (ValueError, RecursionError):
        raise NoAnswer(f"{shown(url)} did not answer with a JSON object") from None


async def metadata(provider: Provider, issuer: str) -> dict[str, Any]:
    """Fetch an issuer's metadata. Raises `NoAnswer`, also for the metadata of another issuer."""
    failures = []
    for url in _metadata_urls(issuer):
        try:
            found = await provider.get(url)
        except NoAnswer as failure:
            failures.append(failure)
            continue
        if found.get("issuer") != issuer:  # RFC 8414 section 3.3
            raise NoAnswer(f"{shown(url)} is the metadata of another issuer")
        return found
    raise failures[0]


def _metadata_urls(issuer: str) -> list[str]:
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    # OpenID Connect puts the well-known path behind the path of the issuer, RFC 8414 before it.
    return [
        parts._replace(path=f"{path}/{_METADATA[0]}").geturl(),
        parts._replace(path=f"/{_METADATA[1]}{path}").geturl(),
    ]


def check_url(url: str) -> None:
    """Check the URL of a provider. Raises `ValueError`; logs a warning for one without TLS."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # urllib checks the port only on access
    except ValueError:
        raise ValueError("must be a URL such as https://id.example.com/") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL such as https://id.example.com/")
    if parts.username or parts.password:
        raise ValueError("must not contain a user or a password")
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        _log.warning("%s does not use https: its answers can be forged on the way", shown(url))


def shown(url: str) -> str:
    """Return the URL without user, password and query, which may be secret."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host, query="").geturl()
