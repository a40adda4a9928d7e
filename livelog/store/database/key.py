"""The key of an encrypted store: 32 random bytes, as text in a file of its own.

The content of the file never appears in an error or a log. Other users must not have access to the
file; its group may, because service managers hand over secrets that way.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat

from livelog.errors import ConfigError
from livelog.wire.bom import without_bom

_BYTES = 32
_LARGEST_FILE = 1024
_DISTINCT = 12
"""Minimum of different bytes in a key: a random one has fewer once in 10 ** 13."""

_ALLOWED = (
    "must hold 32 random bytes, as 64 hexadecimal digits or 44 characters of base64;"
    " `livelog store newkey FILE` makes one"
)


def read_key(path: str, setting: str = "--store-key-file") -> bytes:
    """Read the key in a file. Raises `ConfigError`, which names `setting`, for an invalid one."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = without_bom(file.read(_LARGEST_FILE)).strip()
    except OSError as error:
        raise ConfigError(f"{setting} {path}: {error.strerror}") from None
    if mode & stat.S_IRWXO:
        raise ConfigError(f"{setting} {path}: is accessible to all users; run `chmod o= {path}`")
    key = _decoded(text)
    if len(key) != _BYTES or len(set(key)) < _DISTINCT:
        raise ConfigError(f"{setting} {path}: {_ALLOWED}")
    return key


def make_key(path: str) -> None:
    """Write a new key to a new file that only its owner can read. Raises `ConfigError`."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_hex(_BYTES)}\n")
            file.flush()
            os.fsync(descriptor)  # a database must not survive a crash that its key does not
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _decoded(text: bytes) -> bytes:
    """Decode a key in hexadecimal or base64; return no bytes for other text."""
    try:
        return (
            bytes.fromhex(text.decode())
            if len(text) == 2 * _BYTES
            else base64.b64decode(text, validate=True)
        )
    except (ValueError, binascii.Error):
        return b""
