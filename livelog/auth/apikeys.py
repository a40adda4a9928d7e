"""API keys: their form, the record that is stored of each, and the lookup.

A key is `lk_`, an id of eight characters, and 256 random bits. Only the SHA-256 of the whole key is
stored: 256 random bits cannot be guessed, so a slow password hash would protect nothing and only
cost the server time. Ids are public; they stand in lists and logs.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from livelog.auth.credentials import failed, invalid
from livelog.auth.principal import SCOPES, Principal
from livelog.errors import TOKEN_EXPIRED
from livelog.wire.bom import without_bom

PREFIX = "lk_"
_ID_LENGTH = 8
RANDOM_BYTES = 32 + _ID_LENGTH // 2
"""Random bytes that `make` takes."""

Scope = Annotated[str, Meta(min_length=1)]


class ApiKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The stored record of an API key; the key itself is not in it."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    owner: Annotated[str, Meta(min_length=1, max_length=128)]
    """Id of the user that requests with this key act as."""
    scopes: list[Scope]
    created: str
    expires: float | None = None
    """Unix time; None for a key that does not expire."""


Keys = Mapping[str, ApiKey]
_decoder = msgspec.json.Decoder(list[ApiKey])


def make(
    random: bytes, owner: str, scopes: list[str], created: str, expires: float | None = None
) -> tuple[str, ApiKey]:
    """Make a key: the secret, which is shown to its user once, and the record to store.

    `random` has `RANDOM_BYTES` bytes. Raises `ValueError` for an invalid owner or scope.
    """
    assert len(random) == RANDOM_BYTES
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        issue = f"unknown scope {unknown[0]!r}" if unknown else "a key needs a scope"
        raise ValueError(f"{issue}; allowed: {', '.join(SCOPES)}")
    if not (1 <= len(owner) <= 128 and owner.isprintable()):
        raise ValueError("the owner must have 1 to 128 printable characters")
    text = random.hex()
    name = text[:_ID_LENGTH]
    secret = f"{PREFIX}{name}_{text[_ID_LENGTH:]}"
    kept = ApiKey(
        id=name,
        sha256=_hash(secret),
        owner=owner,
        scopes=scopes,
        created=created,
        expires=expires,
    )
    return secret, kept


def looks_like_one(secret: str) -> bool:
    """Return whether `secret` has the form of an API key."""
    return secret.startswith(PREFIX)


def find(keys: Keys, secret: str, now: float) -> Principal:
    """Return the principal of an API key. Raises `RefusedError` for an unknown or expired key."""
    name = secret.removeprefix(PREFIX).partition("_")[0]
    kept = keys.get(name)
    # An unknown id costs the same comparison as a wrong secret, so timing tells neither apart.
    wanted = kept.sha256 if kept is not None else "0" * 64
    if not hmac.compare_digest(_hash(secret), wanted) or kept is None:
        raise invalid("not a valid API key")
    if kept.expires is not None and now >= kept.expires:
        raise failed("the API key has expired", TOKEN_EXPIRED)
    return Principal(kept.owner, frozenset(kept.scopes), kept.expires, key=kept.id)


def dump(keys: Keys) -> bytes:
    """Encode the content of a key file."""
    return msgspec.json.format(msgspec.json.encode([*keys.values()])) + b"\n"


def load(content: bytes) -> dict[str, ApiKey]:
    """Decode the content of a key file. Raises `ValueError` for anything else."""
    try:
        kept = _decoder.decode(without_bom(content))
    except (ValueError, RecursionError):
        raise ValueError("is not a file of API keys; `livelog keys create` makes one") from None
    return {key.id: key for key in kept}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
