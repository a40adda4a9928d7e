"""Entry point of the reading process: `python -m livelog.store.reader PATH`.

The key and the calls come over standard input, which is a socket. The process ends when the server
closes the socket or dies, and not before: signals to the server's process group are ignored.
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
from livelog.store.reader.answers import StoredMessages
from livelog.store.reader.calls import FAULT, LENGTH, OK, call_decoder, encoder, framed
from livelog.store.reader.rows import Unreadable
from livelog.store.reader.segments import remove

_log = logging.getLogger(__name__)

_IDLE_SECONDS = 0.5
"""Seconds between two looks for new messages while no call comes."""

_NICENESS = 5
"""Lets live traffic go before searches where they share a core."""


def main(path: str) -> int:
    """Answer calls until the server is gone; return the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as server:
        try:
            key = _receive(server)
            if key is not None:
                _serve(server, StoredMessages(path, key))
        except ConnectionError:  # the server has been killed
            return 0
        except sqlite3.OperationalError as error:  # locked or full: the file itself may be good
            _log.warning("the index of %s has failed: %s", path, error)
            return 1
        except sqlite3.Error as error:
            # The file is damaged; the next process makes it again.
            _log.warning("the index of %s has failed: %s", path, error)
            remove(index_path(path))
            return 1
        except (Unreadable, OSError) as error:
            _log.warning("%s", error)
            return 1
    return 0


def _serve(server: socket.socket, reader: StoredMessages) -> None:
    busy = True
    while True:
        readable, _, _ = select.select([server], [], [], 0 if busy else _IDLE_SECONDS)
        if not readable:
            busy = _work(reader)
            continue
        data = _receive(server)
        if data is None:
            return
        server.sendall(framed(_answer(reader, data)))


def _work(reader: StoredMessages) -> bool:
    try:
        return reader.work()
    except Unreadable as unreadable:
        _log_once(str(unreadable))
        return False


def _answer(reader: StoredMessages, data: bytes) -> bytes:
    try:
        return OK + encoder.encode(reader.answer(call_decoder.decode(data)))
    except Unreadable as unreadable:
        _log_once(str(unreadable))
        return FAULT + str(unreadable).encode()


@cache
def _log_once(issue: str) -> None:
    """Log an issue once, not with every call that meets it."""
    _log.error("%s", issue)


def _receive(server: socket.socket) -> bytes | None:
    """Receive the next call; None when the server is gone."""
    head = server.recv(LENGTH.size, socket.MSG_WAITALL)
    if len(head) < LENGTH.size:
        return None
    [length] = LENGTH.unpack(head)
    data = server.recv(length, socket.MSG_WAITALL)
    return data if len(data) == length else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
