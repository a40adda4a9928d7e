"""The principal and address that time and memory are shared out to."""

from __future__ import annotations

from typing import NamedTuple

Key = tuple[str, str]
"""A user or an address."""


class Owner(NamedTuple):
    """The user and the address that a piece of work is done for; both share out its time.

    A user is empty while nobody has authenticated, an address for the program itself and for
    clients of a Unix socket.
    """

    user: str
    address: str

    @property
    def keys(self) -> tuple[Key, Key]:
        """Its user and its address; what is anonymous counts for the address alone."""
        address = "address", self.address
        return (("user", self.user) if self.user else address), address


INTERNAL = Owner("", "")
"""The server itself."""
