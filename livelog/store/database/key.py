"""The key of an encrypted store: 32 random bytes, as text in a file of their own.

What the file holds is never shown. It must not be readable by everybody; a group may, since that is
how secrets are handed to services.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat

from livelog.errors import ConfigError

_BYTES = 32
_LARGEST_FILE = 1024
_DISTINCT = 12
"""Different bytes that a key has: fewer come from a hand, not from chance (one in 10 ** 13)."""

_ALLOWED = (
    "must hold 32 random bytes, as 64 hexadecimal digits or 44 characters of base64;"
    " `livelog store newkey FILE` makes one"
)


def read_key(path: str, setting: str = "--store-key-file") -> bytes:
    """The key in a file. Raises `ConfigError`, which names `setting`, when there is none."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_LARGEST_FILE).strip()
    except OSError as error:
        raise ConfigError(f"{setting} {path}: {error.strerror}") from None
    if mode & stat.S_IRWXO:
        raise ConfigError(f"{setting} {path}: is open to everybody; `chmod o= {path}` closes it")
    key = _decoded(text)
    if len(key) != _BYTES or len(set(key)) < _DISTINCT:
        raise ConfigError(f"{setting} {path}: {_ALLOWED}")
    return key


def make_key(path: str) -> None:
    """Put a new key into a new file that only its owner can read. Raises `ConfigError`."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_hex(_BYTES)}\n")
            file.flush()
            os.fsync(descriptor)  # what it encrypts must not outlive it
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _decoded(text: bytes) -> bytes:
    """The bytes of a key; none when it is written in neither way."""
    try:
        return (
            bytes.fromhex(text.decode())
            if len(text) == 2 * _BYTES
            else base64.b64decode(text, validate=True)
        )
    except (ValueError, binascii.Error):
        return b""
