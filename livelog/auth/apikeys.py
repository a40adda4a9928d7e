"""API keys: what one looks like, what is kept of it, and how it is found again.

A key is `lk_`, eight characters that name it, and 256 random bits. What is kept is the SHA-256 of
the whole: with that much chance in it there is nothing to guess, so a slow hash would only cost the
server. Names are public; they stand in lists and logs.
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

PREFIX = "lk_"
_ID_LENGTH = 8
RANDOM_BYTES = 32 + _ID_LENGTH // 2
"""What `make` needs."""

Scope = Annotated[str, Meta(min_length=1)]


class ApiKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of a key."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    owner: Annotated[str, Meta(min_length=1, max_length=128)]
    """The id of the user who it speaks for."""
    scopes: list[Scope]
    created: str
    expires: float | None = None
    """Unix time."""


Keys = Mapping[str, ApiKey]
_decoder = msgspec.json.Decoder(list[ApiKey])


def make(
    random: bytes, owner: str, scopes: list[str], created: str, expires: float | None = None
) -> tuple[str, ApiKey]:
    """A key as its user gets it, once, and what is kept. `random` has `RANDOM_BYTES`.

    Raises `ValueError` for an owner or a scope that cannot be.
    """
    assert len(random) == RANDOM_BYTES
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        what = f"no scope {unknown[0]!r}" if unknown else "no key without a scope"
        raise ValueError(f"there is {what}; there are {', '.join(SCOPES)}")
    if not (1 <= len(owner) <= 128 and owner.isprintable()):
        raise ValueError("an owner has 1 to 128 printable characters")
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
    """Whether it has the form of an API key."""
    return secret.startswith(PREFIX)


def find(keys: Keys, secret: str, now: float) -> Principal:
    """Who shows this key. Raises `RefusedError` when it is not (or no longer) one."""
    name = secret.removeprefix(PREFIX).partition("_")[0]
    kept = keys.get(name)
    # A name that is not there costs the same comparison as a wrong key.
    wanted = kept.sha256 if kept is not None else "0" * 64
    if not hmac.compare_digest(_hash(secret), wanted) or kept is None:
        raise invalid("not a valid API key")
    if kept.expires is not None and now >= kept.expires:
        raise failed("the API key has expired", TOKEN_EXPIRED)
    return Principal(kept.owner, frozenset(kept.scopes), kept.expires, key=kept.id)


def dump(keys: Keys) -> bytes:
    """The content of the file that keeps them."""
    return msgspec.json.format(msgspec.json.encode([*keys.values()])) + b"\n"


def load(content: bytes) -> dict[str, ApiKey]:
    """The keys in such a file. Raises `ValueError` when it is none."""
    try:
        kept = _decoder.decode(content)
    except (ValueError, RecursionError):
        raise ValueError("is not a file of API keys; `livelog keys create` makes one") from None
    return {key.id: key for key in kept}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
