"""Addresses of servers: the URL of the WebSocket, from which all else follows."""

from __future__ import annotations

from livelog.wire import WEBSOCKET_PATH

EXAMPLE = f"ws://localhost:8000{WEBSOCKET_PATH}"
_UNIX = "ws+unix://"


def shown(url: str) -> str:
    """The address as it may be shown: the query can hold a token."""
    return url.partition("?")[0]


def unix_socket(url: str) -> tuple[str, str] | None:
    """Path of the socket and path of the WebSocket in `ws+unix://SOCKET:PATH`; else None."""
    if not url.startswith(_UNIX):
        return None
    socket, _, path = url.removeprefix(_UNIX).rpartition(":")
    return socket, path or WEBSOCKET_PATH
