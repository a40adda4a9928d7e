"""The reading process: `python -m livelog.store.reader PATH`, the key and its calls on standard
input.

It ends when the server's end of the socket does, whatever happened to the server, and not before:
signals meant for the server's process group are left to the server.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sqlite3
import sys
from functools import cache

from livelog.store.database.file import index_path
from livelog.store.reader.answers import Archive
from livelog.store.reader.calls import FAULT, LENGTH, OK, call_decoder, encoder, framed
from livelog.store.reader.rows import Unreadable
from livelog.store.reader.segments import remove

_log = logging.getLogger(__name__)

_IDLE_SECONDS = 0.5
"""How often new messages are looked for when nothing is asked."""

_NICENESS = 5
"""Searching the past gives way to the live traffic where they share a core."""


def main(path: str) -> int:
    """Answer until the server is gone; returns the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as server:
        try:
            key = _receive(server)
            if key is not None:
                _serve(server, Archive(path, key))
        except ConnectionError:  # it has been killed
            return 0
        except sqlite3.OperationalError as error:  # nothing is wrong with the file
            _log.warning("the index of %s has failed: %s", path, error)
            return 1
        except sqlite3.Error as error:
            # The next process makes it again.
            _log.warning("the index of %s has failed: %s", path, error)
            remove(index_path(path))
            return 1
        except (Unreadable, OSError) as error:
            _log.warning("%s", error)
            return 1
    return 0


def _serve(server: socket.socket, archive: Archive) -> None:
    busy = True
    while True:
        readable, _, _ = select.select([server], [], [], 0 if busy else _IDLE_SECONDS)
        if not readable:
            busy = _work(archive)
            continue
        data = _receive(server)
        if data is None:
            return
        server.sendall(framed(_answer(archive, data)))


def _work(archive: Archive) -> bool:
    try:
        return archive.work()
    except Unreadable as unreadable:
        _say(str(unreadable))
        return False


def _answer(archive: Archive, data: bytes) -> bytes:
    try:
        return OK + encoder.encode(archive.answer(call_decoder.decode(data)))
    except Unreadable as unreadable:
        _say(str(unreadable))
        return FAULT + str(unreadable).encode()


@cache
def _say(issue: str) -> None:
    """Log an issue, but not again with every call that meets it."""
    _log.error("%s", issue)


def _receive(server: socket.socket) -> bytes | None:
    """The next call, None when the server is gone."""
    head = server.recv(LENGTH.size, socket.MSG_WAITALL)
    if len(head) < LENGTH.size:
        return None
    [length] = LENGTH.unpack(head)
    data = server.recv(length, socket.MSG_WAITALL)
    return data if len(data) == length else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
