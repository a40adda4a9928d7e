"""The service manager: word to it, and the sockets that it passes on.

systemd hands a service of `Type=notify` a socket for word that it is ready, reloads or stops
(sd_notify(3)); without one nothing is said. A service that a socket unit starts gets the sockets to
listen on as open files (sd_listen_fds(3)), so that its port is never closed.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

_FIRST = 3
"""Number of the first file that is passed on; those below are stdin, stdout and stderr."""

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


def passed(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """Return the sockets that this process was given to listen on, and forget them.

    Child processes are not told of them. Raises `OSError` for a file that is no socket.
    """
    given = {name: environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS")}
    environment.pop("LISTEN_FDNAMES", None)
    if given["LISTEN_PID"] != str(os.getpid()) or not given["LISTEN_FDS"].isdecimal():
        return []
    sockets = []
    for number in range(_FIRST, _FIRST + int(given["LISTEN_FDS"])):
        os.set_inheritable(number, False)
        sockets.append(socket.socket(fileno=number))
    return sockets
