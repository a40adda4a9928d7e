"""The file of API keys: changed by `livelog keys`, read by a running server.

A change is written beside the file and put in its place in one step, under a lock, so a reader sees
the old file or the new one and two changes do not lose each other. The server looks at most once a
second whether the file is another one: a key that was revoked is refused from then on.
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
_LOOK_EVERY = 1.0
"""Seconds."""

_Look = tuple[int, int, int]


class KeyFile:
    """The keys in a file, as they are now. Raises `OSError` or `ValueError` for what is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._look = self._looks()
        self._looked = 0.0
        self._keys = _load(path)

    def keys(self, now: float) -> Keys:
        """All keys. What cannot be read any more stays as it was, and is told in the log once."""
        if now >= self._looked + _LOOK_EVERY or now < self._looked:
            self._looked = now
            self._read_again()
        return self._keys

    def _read_again(self) -> None:
        try:
            look = self._looks()
            if look != self._look:
                self._look = look
                self._keys = _load(self._path)
        except (OSError, ValueError) as error:
            if self._look != _GONE:
                _log.error("the API keys stay as they were: %s", error)
            self._look = _GONE

    def _looks(self) -> _Look:
        """What differs when the file is another one."""
        found = os.stat(self._path)
        return found.st_ino, found.st_mtime_ns, found.st_size


_GONE: _Look = (0, 0, 0)


@contextmanager
def changing(path: str) -> Iterator[dict[str, ApiKey]]:
    """The keys in a file, to be changed: what they are at the end is what it holds from then on.

    A file that is not there has no keys. Raises `OSError` and `ValueError`.
    """
    directory = os.path.dirname(path) or "."
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
    """The keys in a file; none, if it is not there. Raises `OSError` and `ValueError`."""
    try:
        return _load(path)
    except FileNotFoundError:
        return {}


def _load(path: str) -> dict[str, ApiKey]:
    try:
        return load(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def _replace(path: str, directory: str, content: bytes) -> None:
    file, beside = tempfile.mkstemp(dir=directory, prefix=".keys-")  # only its owner may read it
    try:
        with os.fdopen(file, "wb") as written:
            if os.path.exists(path):
                found = os.stat(path)
                os.fchmod(file, found.st_mode & 0o777)
            written.write(content)
            written.flush()
            os.fsync(file)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
