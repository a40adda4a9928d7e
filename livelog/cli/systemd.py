"""Word to the service manager: ready, reloading, stopping (sd_notify(3)).

systemd hands a service of `Type=notify` a socket; without one nothing is said.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

READY, STOPPING = "READY=1", "STOPPING=1"


def reloading() -> str:
    """Return the message that a reload has begun; `READY` follows when it has ended."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def notify(message: str) -> None:
    """Tell the service manager, if there is one; a server does not fail because it cannot."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    if address.startswith("@"):  # in the abstract namespace (unix(7))
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(message.encode(), address)
