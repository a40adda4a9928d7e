"""Addresses of servers: the URL of the WebSocket, from which the others follow."""

from __future__ import annotations

from livelog.wire import WEBSOCKET_PATH

EXAMPLE = f"ws://localhost:8000{WEBSOCKET_PATH}"
_UNIX = "ws+unix://"


def shown(url: str) -> str:
    """Return the address without its query, which can hold a token."""
    return url.partition("?")[0]


def unix_socket(url: str) -> tuple[str, str] | None:
    """Return the paths of socket and WebSocket in `ws+unix://SOCKET:PATH`, None for other URLs.

    `:PATH` may be left out.
    """
    if not url.startswith(_UNIX):
        return None
    place = url.removeprefix(_UNIX)
    socket, colon, path = place.rpartition(":")
    return socket if colon else place, (colon and path) or WEBSOCKET_PATH
