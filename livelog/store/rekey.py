"""Another key for a store that no server uses, or its first one.

The files are written anew beside the old ones and then take their names: whenever that is
interrupted there is the old store or the new one, whole. That takes as much room again.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress

from livelog.errors import ConfigError
from livelog.store.database.connection import ciphering
from livelog.store.database.file import index_path, open_file, refuse_damaged_wal
from livelog.store.database.lock import Lock
from livelog.store.reader.indexfile import remove

_SUFFIX = "-rekeyed"

_BUSY_SECONDS = 10.0
"""Seconds that the reading process of a killed server may take to end."""


def change_key(path: str, key: bytes, new_key: bytes) -> None:
    """Encrypt the store at `path`, so far encrypted with `key` (`b""`: not at all), with `new_key`.

    Raises `ConfigError` when it is in use, is no store or has another key, or has no room; it is
    then as it was.
    """
    path = os.path.realpath(path)
    if not os.path.exists(path) or not os.path.getsize(path):
        raise ConfigError(f"--store {path}: there is nothing to encrypt")
    lock = Lock(path)
    try:
        refuse_damaged_wal(path)
        open_file(path, key)[0].close()  # refuses what is no store, or has another key
        _replace(path, key, new_key)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"--store {path}: is left with its old key: {error}") from None
    finally:
        for file in (path, index_path(path)):
            _discard(file + _SUFFIX)
        lock.release()


def _replace(path: str, key: bytes, new_key: bytes) -> None:
    index = index_path(path)
    _write_anew(path, key, new_key)
    try:
        _write_anew(index, key, new_key)
        os.replace(index + _SUFFIX, index)
    except (FileNotFoundError, sqlite3.Error):  # a server will make it again
        remove(index)
    os.replace(path + _SUFFIX, path)
    _sync(os.path.dirname(path))


def _write_anew(file: str, key: bytes, new_key: bytes) -> None:
    """A copy beside `file` with its owner and mode, safe on disk."""
    found = os.stat(file)
    copy = file + _SUFFIX
    _discard(copy)  # that of a run that was interrupted
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    ciphering().copy(file, key, copy, new_key, _BUSY_SECONDS)
    os.chown(copy, found.st_uid, found.st_gid)
    os.chmod(copy, found.st_mode)
    _sync(copy)


def _discard(copy: str) -> None:
    for file in (copy, f"{copy}-journal"):
        with suppress(FileNotFoundError):
            os.unlink(file)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
