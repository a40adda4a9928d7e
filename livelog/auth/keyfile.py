"""The file of API keys: changed by `livelog keys`, read by a running server.

A change is written to a temporary file that replaces the old one in one step, under a lock: a
reader sees the old file or the new one, and of two changes at a time none is lost. The server
checks at most once a second whether the file has been replaced; from then on a revoked key is
refused. Before it refuses a key it checks at once: it may have been made a moment ago.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from livelog.auth.apikeys import ApiKey, Keys, dump, load

_log = logging.getLogger(__name__)
_CHECK_EVERY = 1.0
"""Minimum seconds between two checks for a change."""

_Stamp = tuple[int, int, int]
"""Inode, time of change and size: a replaced file differs in one of them."""


class KeyFile:
    """The keys in a file, kept up to date. Raises `OSError` or `ValueError` for an invalid file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp = self._read_stamp()
        self._checked = 0.0
        self._keys = _load(path)

    def keys(self, now: float, *, at_once: bool = False) -> Keys:
        """Return all keys; while the file cannot be read the old ones, which is logged once."""
        if at_once or now >= self._checked + _CHECK_EVERY or now < self._checked:
            self._checked = now
            self._refresh()
        return self._keys

    def reload(self) -> tuple[Keys, Keys]:
        """Read the file now; return the keys before and after.

        Raises `OSError` and `ValueError`, and keeps the old ones.
        """
        stamp, before = self._read_stamp(), self._keys
        self._keys, self._stamp = _load(self._path), stamp
        return before, self._keys

    def _refresh(self) -> None:
        try:
            stamp = self._read_stamp()
            if stamp != self._stamp:
                self._keys = _load(self._path)
                self._stamp = stamp
        except (OSError, ValueError) as error:
            if self._stamp != _UNREADABLE:
                _log.error("keeping the old API keys: %s", error)
            self._stamp = _UNREADABLE

    def _read_stamp(self) -> _Stamp:
        found = os.stat(self._path)
        return found.st_ino, found.st_mtime_ns, found.st_size


_UNREADABLE: _Stamp = (0, 0, 0)


@contextmanager
def changing(path: str) -> Iterator[dict[str, ApiKey]]:
    """Lock a key file and yield its keys, to be changed; write them back at the end.

    A missing file counts as empty. Raises `OSError` and `ValueError`.
    """
    path = os.path.realpath(path)  # the file is replaced, not a symbolic link to it
    directory = os.path.dirname(path)
    lock = os.open(directory, os.O_RDONLY)  # a lock on the file would be replaced with the file
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = read(path)
        yield keys
        _replace(path, directory, dump(keys))
        os.fsync(lock)
    finally:
        os.close(lock)


def read(path: str) -> dict[str, ApiKey]:
    """Read the keys in a file; a missing file counts as empty. Raises `OSError`, `ValueError`."""
    try:
        return _load(path)
    except FileNotFoundError:
        return {}


def _load(path: str) -> dict[str, ApiKey]:
    try:
        return load(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def _keep_owner(file: int, path: str) -> None:
    """Give `file` the owner and the mode of the file at `path`, so that the same may read it.

    Raises `PermissionError` for a file of somebody else, whose server could not read a new one.
    """
    old, new = os.stat(path), os.fstat(file)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.fchown(file, old.st_uid, old.st_gid)
        except PermissionError as error:
            issue = "belongs to another user, who or root may change it"
            raise PermissionError(error.errno, issue, path) from None
    os.fchmod(file, old.st_mode & 0o777)


def _replace(path: str, directory: str, content: bytes) -> None:
    file, beside = tempfile.mkstemp(dir=directory, prefix=".keys-")  # only its owner may read it
    try:
        with os.fdopen(file, "wb") as written:
            if os.path.exists(path):
                _keep_owner(file, path)
            written.write(content)
            written.flush()
            os.fsync(file)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
