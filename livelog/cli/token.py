"""`livelog token`: JSON Web Tokens for development and tests, and the secrets or keys they need.

In production an identity provider makes tokens, and services use API keys (`livelog keys`).
"""

from __future__ import annotations

import argparse
import os
import secrets
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from livelog.auth.principal import SCOPES
from livelog.cli.exit import WRONG_USAGE, Failure, outcome, say
from livelog.cli.options import Parser
from livelog.config.environment import secret_in
from livelog.errors import ConfigError, installing

_EXAMPLES = """\
examples:
  livelog token secret secret.txt
  LIVELOG_JWT_SECRET_FILE=secret.txt livelog
  livelog token make --user anna --scopes 'read publish' --secret secret.txt

  livelog token keys anna.pem            also writes anna.pub.pem
  livelog serve --jwt-public-key anna.pub.pem
  livelog token make --user anna --scopes read --key anna.pem --hours 1
"""
_SECRET_BYTES = 32
_YEAR = 24 * 365
"""Hours."""


def main(arguments: Sequence[str]) -> int:
    """Make a token or what signs it, and return the exit code."""
    given = make_parser(arguments[0]).parse_args(arguments[1:])
    if find_spec("jwt") is None:
        say(f"needs the extra: {installing('auth')}")
        return WRONG_USAGE

    def act() -> int:
        try:
            given.act(given)
        except OSError as error:
            raise Failure(f"{error.filename}: {(error.strerror or str(error)).lower()}") from None
        return 0

    return outcome(act)


def make_parser(name: str) -> Parser:
    """Make the parser of `token`."""
    made = Parser(
        prog=f"livelog {name}",
        description="Make tokens for development and tests, and what signs them.",
        epilog=_EXAMPLES,
    )
    actions = made.add_subparsers(required=True, metavar="COMMAND")
    secret = actions.add_parser("secret", help="Write a fresh secret for HS256 to a file.")
    secret.add_argument("file", metavar="FILE", help="File to create; it must not exist.")
    secret.set_defaults(act=_secret)
    keys = actions.add_parser("keys", help="Write a fresh pair of keys for ES256 to two files.")
    keys.add_argument("file", metavar="FILE", help="File of the private key; it must not exist.")
    keys.set_defaults(act=_keys)
    _add_make(actions.add_parser("make", help="Print a token."))
    return made


def _add_make(make: Parser) -> None:
    make.add_argument("--user", required=True, metavar="USER", help="Id of the user: claim sub.")
    make.add_argument(
        "--scopes",
        default="read publish",
        metavar="SCOPES",
        help=f"Scopes, separated by spaces (default: read publish): {', '.join(SCOPES)}.",
    )
    make.add_argument(
        "--hours",
        type=_hours,
        default=8.0,
        metavar="HOURS",
        help="Hours until the token expires (default: 8).",
    )
    make.add_argument("--issuer", metavar="TEXT", help="Claim iss, for --jwt-issuer.")
    make.add_argument("--audience", metavar="TEXT", help="Claim aud, for --jwt-audience.")
    signed = make.add_mutually_exclusive_group(required=True)
    signed.add_argument("--secret", metavar="FILE", help="File of a secret, for HS256.")
    signed.add_argument("--key", metavar="FILE", help="File of a private key, for ES256.")
    make.set_defaults(act=_make)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= _YEAR:
        issue = f"{text!r} is invalid: must be a number above 0, up to {_YEAR} (a year)"
        raise argparse.ArgumentTypeError(issue)
    return hours


def _secret(given: argparse.Namespace) -> None:
    _write(Path(given.file), secrets.token_urlsafe(_SECRET_BYTES).encode() + b"\n")
    say(f"{given.file}: name it in LIVELOG_JWT_SECRET_FILE for the server")


def _keys(given: argparse.Namespace) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private, key = Path(given.file), ec.generate_private_key(ec.SECP256R1())
    public = private.with_name(f"{private.stem}.pub.pem")
    form = serialization.Encoding.PEM
    _write(
        private,
        key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    _write(
        public,
        key.public_key().public_bytes(form, serialization.PublicFormat.SubjectPublicKeyInfo),
    )
    say(f"{public}: give it to the server with --jwt-public-key")


def _write(path: Path, content: bytes) -> None:
    """Create a file that only its owner may read. Raises `OSError` if it exists."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _make(given: argparse.Namespace) -> None:
    import jwt

    unknown = sorted({*given.scopes.split()} - {*SCOPES})
    if unknown:
        raise Failure(f"unknown scope {unknown[0]!r}; known are: {', '.join(SCOPES)}")
    now = int(time.time())
    claims = {"sub": given.user, "scope": given.scopes, "iat": now}
    claims["exp"] = now + int(given.hours * 3600)
    claims |= {
        name: text for name, text in (("iss", given.issuer), ("aud", given.audience)) if text
    }
    try:
        print(jwt.encode(claims, *_signer(given)), flush=True)
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        raise Failure(f"{given.secret or given.key}: cannot sign: {error}") from None


def _signer(given: argparse.Namespace) -> tuple[str | bytes, str]:
    """Return the secret or key, and the algorithm. Raises `Failure` and `OSError`."""
    if given.key:
        return Path(given.key).read_bytes(), "ES256"
    try:
        secret = secret_in("--secret", given.secret)
    except ConfigError as error:
        raise Failure(str(error)) from None
    if len(secret.encode()) < _SECRET_BYTES:
        raise Failure(f"{given.secret}: the secret must have {_SECRET_BYTES} bytes or more")
    return secret, "HS256"
