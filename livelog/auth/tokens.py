"""JSON Web Tokens (RFC 7519): from their bytes to a principal or a refusal.

PyJWT and cryptography do the cryptography. The other rules are those of RFC 8725: each key is
configured for one algorithm, so a token cannot choose how it is verified (section 3.1); `sub` and
`exp` are required; the audience and the issuer must be the configured ones. `exp`, `nbf` and `iat`
are compared here, not by PyJWT, because the clock is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.exceptions import InvalidSubjectError

from livelog.auth.credentials import failed, invalid
from livelog.auth.principal import Principal, scopes
from livelog.errors import TOKEN_EXPIRED

PUBLISHED_ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""Algorithms with a public key, configured or from a JWK set."""
MIN_SECRET_BYTES = 32
"""As long as the hash (RFC 7518 section 3.2)."""
MIN_RSA_BITS = 2048
MAX_ID = 128
"""Maximum characters of a user id, as in messages."""

_SCOPES = ("scope", "scp", "scopes")
"""Claims with scopes: that of RFC 8693 section 4.2, and what Entra, Okta and others call it."""

_OPTIONS: Any = {
    "require": ["sub", "exp"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "enforce_minimum_key_length": True,
}


class Key(NamedTuple):
    """A key, and the one algorithm it may be used with."""

    algorithm: str
    key: Any

    def __repr__(self) -> str:
        """Name the algorithm only, so that logs and tracebacks never show the key."""
        return f"Key({self.algorithm})"


class Rules(NamedTuple):
    """Claims a token must have besides a valid signature; None accepts any value."""

    issuer: str | None = None
    audience: str | None = None
    leeway: float = 0
    """Seconds by which clocks may differ."""


class Header(NamedTuple):
    """The unverified header of a token: good for finding the key, not to be trusted."""

    algorithm: str
    kid: str | None


def secret_key(secret: str) -> Key:
    """Make the key for HS256. Raises `ValueError` for a secret that is too short."""
    data = secret.encode()
    if len(data) < MIN_SECRET_BYTES:
        raise ValueError(f"must have at least {MIN_SECRET_BYTES} bytes, not {len(data)}")
    return Key("HS256", data)


def public_key(pem: bytes, file: str) -> Key:
    """Make the key in a PEM file. Raises `ValueError` for an invalid, weak or unknown one."""
    if b"PRIVATE KEY" in pem:
        raise ValueError(f"{file} must hold the public key, not the private one")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{file} is not a public key in PEM form") from None
    if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return Key("RS256", key)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return Key("ES256", key)
    if isinstance(key, Ed25519PublicKey):
        return Key("EdDSA", key)
    known = f"RSA with {MIN_RSA_BITS} bits or more, EC on P-256, or Ed25519"
    raise ValueError(f"{file} must be {known}")


def published_keys(document: Any) -> dict[str | None, Key]:
    """Return the usable keys of a JWK set (RFC 7517), by `kid`.

    Symmetric, weak, unknown and encryption keys are skipped. Raises `ValueError` when no key is
    left.
    """
    found: dict[str | None, Key] = {}
    members = document.get("keys") if isinstance(document, dict) else None
    for member in members if isinstance(members, list) else []:
        if not isinstance(member, dict) or member.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(member)
        except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError):
            continue  # NotImplementedError: a key for the algorithm `none`
        if not isinstance(key.key_id, str | None):
            continue
        if key.algorithm_name in PUBLISHED_ALGORITHMS and _is_safe(key.key):
            found[key.key_id] = Key(key.algorithm_name, key.key)
    if not found:
        raise ValueError("has no usable key")
    return found


def _is_safe(key: Any) -> bool:
    return not isinstance(key, RSAPublicKey) or key.key_size >= MIN_RSA_BITS


def looks_like_one(token: str) -> bool:
    """Return whether a token has the form of a JWT: three parts, the first a JSON object."""
    return token.count(".") == 2 and token.startswith("ey")


def header(token: str) -> Header:
    """Read the header without verifying anything. Raises `RefusedError` for what is no JWT."""
    try:
        found = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise invalid("not a JSON Web Token") from None
    return Header(str(found.get("alg")), found.get("kid"))


def verify(token: str, keys: Iterable[Key], rules: Rules, now: float) -> Principal:
    """Return the principal of a token that one of `keys` signed and that obeys `rules` at `now`.

    Raises `RefusedError`: 4002 for an expired token, 4001 for any other fault.
    """
    issue = "the token's algorithm is not accepted here"
    for key in keys:
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                options=_OPTIONS,
                audience=rules.audience,
                issuer=rules.issuer,
            )
        except jwt.InvalidSignatureError:
            issue = "the signature is wrong"
        except jwt.InvalidAlgorithmError:
            continue
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise invalid(_plain(error)) from None
        else:
            return principal(claims, rules, now)
    raise invalid(issue)


def principal(claims: Mapping[str, Any], rules: Rules, now: float) -> Principal:
    """Return the principal that verified claims describe at `now`. Raises `RefusedError`."""
    for name in ("nbf", "iat"):
        if name in claims and _moment(claims, name) > now + rules.leeway:
            raise invalid(f"{name} is in the future")
    until = _moment(claims, "exp") + rules.leeway
    if now >= until:
        raise failed("the token has expired", TOKEN_EXPIRED)
    user = claims["sub"]
    if not (isinstance(user, str) and 1 <= len(user) <= MAX_ID and user.isprintable()):
        raise invalid(f"sub must be text of 1 to {MAX_ID} printable characters")
    return Principal(user, _granted(claims), until)


def _granted(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes in the first claim that is there. Raises `RefusedError`, which names it."""
    name = next((name for name in _SCOPES if claims.get(name) is not None), None)
    if name is None:
        return frozenset()
    words = claims[name]
    listed = [words] if isinstance(words, str) else words
    if not (isinstance(listed, list) and all(isinstance(word, str) for word in listed)):
        raise invalid(f"{name} must be words separated by spaces, or a list of words")
    return scopes(words)


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**53:
        raise invalid(f"{name} must be a number of seconds since 1970")
    return value


_ISSUES: tuple[tuple[type[Exception], Callable[[Any], str]], ...] = (
    (jwt.MissingRequiredClaimError, lambda error: f"{error.claim} is missing"),
    (jwt.InvalidAudienceError, lambda error: "the token is for another audience"),
    (jwt.InvalidIssuerError, lambda error: "the token is from another issuer"),
    (InvalidSubjectError, lambda error: "sub must be text"),
)
"""PyJWT's errors in livelog's words: its own texts may quote the token."""


def _plain(error: Exception) -> str:
    return next(
        (say(error) for kind, say in _ISSUES if isinstance(error, kind)),
        "not a valid JSON Web Token",
    )
