"""The addresses of the servers of one log: where the client is, and where it goes next.

The order is drawn anew for each client, so that the clients of a server that dies spread over all
the others. The connections of one client go together: the first that fails moves all later ones on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from livelog.client.url import host, listed
from livelog.errors import ConfigError


class Addresses:
    """One address or several, in random order, and which of them is in use.

    >>> addresses = Addresses("ws://a/ws/live-log, ws://b/ws/live-log", lambda: 0.5)
    >>> addresses.leave("ws://a/ws/live-log")
    >>> addresses.current
    'ws://b/ws/live-log'
    """

    def __init__(
        self, urls: str | Sequence[str], chance: Callable[[], float] = random.random
    ) -> None:
        """Read a list, or a text in which commas separate them. Raises `ConfigError` for none."""
        each = listed(urls) if isinstance(urls, str) else [*urls]
        self._urls = sorted(dict.fromkeys(each), key=lambda url: chance())
        if not self._urls:
            raise ConfigError("url: must be the address of a server, or a list of such addresses")
        self._place = 0
        self.hosts = {name for url in self._urls if (name := host(url))}
        """The hosts that may be sent a token."""

    def __len__(self) -> int:
        return len(self._urls)

    def __iter__(self) -> Iterator[str]:
        return iter(self._urls)

    @property
    def current(self) -> str:
        """The address to connect to."""
        return self._urls[self._place]

    def leave(self, url: str) -> None:
        """Go on to the next address, unless `url` has been left already."""
        if url == self.current:
            self._place = (self._place + 1) % len(self._urls)
