"""Requests over HTTP, one after the other on one connection; it blocks."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import msgspec

from livelog.client.errors import Loss, Lost, named_wait, refusal_of_response
from livelog.client.http import LATER, Unavailable, answer_of, connection_to, path_of, plain
from livelog.client.proxies import proxy_for, via
from livelog.wire.events import Error


class HttpReader:
    """A connection that stays open between requests. `url` is that of the WebSocket."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """Prepare the connection. Raises `ConfigError` for a proxy that cannot be used."""
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        proxy = proxy_for(url)
        self._via = via(proxy)
        self._connection = connection_to(url, proxy)
        self._before = ""
        if proxy is not None and urlsplit(url).scheme == "ws":
            self._before = f"http://{urlsplit(url).netloc.rpartition('@')[2]}"
            self._headers |= proxy.headers
        self._url = url

    def get(self, path: str) -> bytes:
        """Return what is at a path, with its query.

        Raises `RefusedError` when the server refuses it, `Unavailable` when it does so for now, and
        `Lost` when it did not answer.
        """
        return self._answer("GET", path)

    def post(self, path: str, body: bytes) -> bytes:
        """Send a JSON object to a path, and return the answer. Raises the same."""
        return self._answer("POST", path, body, {"Content-Type": "application/json"})

    def _answer(
        self, method: str, path: str, body: bytes | None = None, more: dict[str, str] | None = None
    ) -> bytes:
        target, headers = self._before + path_of(self._url, path), {**self._headers, **(more or {})}
        try:
            response = answer_of(self._connection, method, target, body, headers)
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Lost(Loss(f"{plain(error)}{self._via}")) from None
        if response.status < 300:
            return answer
        wait = named_wait(response.headers.get("Retry-After", ""))
        try:
            refused = refusal_of_response(msgspec.json.decode(answer, type=Error), response.status)
        except (ValueError, RecursionError):
            why = f"the answer is not that of a livelog server (HTTP status {response.status})"
            raise Lost(Loss(why, wait, answered=True)) from None
        if response.status in LATER:
            raise Unavailable(Loss(str(refused), wait, answered=True))
        raise refused

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
