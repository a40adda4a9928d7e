"""Addresses of servers: the URL of the WebSocket, from which the others follow."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from livelog.wire import WEBSOCKET_PATH

EXAMPLE = f"ws://localhost:8000{WEBSOCKET_PATH}"
_UNIX = "ws+unix://"
_COMMA = re.compile(r",\s*(?=[A-Za-z][A-Za-z+]*://)")
"""A comma between two addresses; others belong to an address, such as those of its query."""


def listed(text: str) -> list[str]:
    """Return the addresses in a text in which commas separate them.

    >>> listed("ws://a/ws/live-log?message_types=user,dm, ws://b/ws/live-log")
    ['ws://a/ws/live-log?message_types=user,dm', 'ws://b/ws/live-log']
    """
    return _COMMA.split(text.strip()) if text.strip() else []


def shown(urls: str) -> str:
    """Return an address, or several, without the query, which can hold a token."""
    return ", ".join(url.partition("?")[0] for url in listed(urls))


def with_parameter(url: str, parameter: str) -> str:
    """Return an address with one more parameter.

    >>> with_parameter("ws://a/ws/live-log?since=7", "batch=1")
    'ws://a/ws/live-log?since=7&batch=1'
    """
    found = unix_socket(url)
    if found is not None and "?" not in url:
        url = f"{_UNIX}{found[0]}:{found[1]}"
    return f"{url}{'&' if '?' in url else '?'}{parameter}"


def host(url: str) -> str | None:
    """Return the name of the host; None for a Unix socket, and where there is none."""
    try:
        return None if url.startswith(_UNIX) else urlsplit(url).hostname
    except ValueError:
        return None


def unix_socket(url: str) -> tuple[str, str] | None:
    """Return the paths of socket and WebSocket in `ws+unix://SOCKET:PATH`, None for other URLs.

    `:PATH` may be left out.
    """
    if not url.startswith(_UNIX):
        return None
    place = url.removeprefix(_UNIX)
    socket, colon, path = place.rpartition(":")
    return socket if colon else place, (colon and path) or WEBSOCKET_PATH
