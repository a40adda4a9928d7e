"""JSON Web Tokens: what is believed, and every way in which one can be wrong (RFC 8725)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from contextlib import suppress
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from livelog.auth import tokens
from livelog.auth.tokens import Key, Rules
from livelog.errors import INVALID_TOKEN, TOKEN_EXPIRED, RefusedError
from livelog.net.websocket.session import authenticated
from livelog.wire.timestamps import timestamp
from tests.support.identity import (
    EC_KEY,
    ED_KEY,
    PRIVATE,
    RSA_KEY,
    SECRET,
    claims,
    handmade,
    jwk,
    pem,
    token,
)

KEYS = {
    "HS256": tokens.secret_key(SECRET),
    **{name: tokens.public_key(pem(PRIVATE[name]), "f") for name in ("RS256", "ES256", "EdDSA")},
}
NO_RULES = Rules()
OURS = Rules("https://id", "livelog", leeway=5)


def verify(text: str, keys: Any = None, rules: Rules = NO_RULES, now: float | None = None) -> Any:
    """Verify a token, by default with one HS256 key and no rules."""
    at = time.time() if now is None else now
    return tokens.verify(text, [KEYS["HS256"]] if keys is None else keys, rules, at)


def refusal(text: str, *arguments: Any, **named: Any) -> RefusedError:
    """How a token is refused."""
    with pytest.raises(RefusedError) as caught:
        verify(text, *arguments, **named)
    assert text not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_good_token_tells_who_it_is(algorithm: str) -> None:
    until = time.time() + 100
    text = token("user_1", "read publish:dm openid", algorithm=algorithm, exp=until)
    who = verify(text, [KEYS[algorithm]], Rules(leeway=5))
    assert (who.id, who.scopes) == ("user_1", {"read", "publish:dm"})
    assert who.expires == pytest.approx(until + 5)
    assert not who.open


@pytest.mark.parametrize(
    ("said", "granted"),
    [
        ({"scope": ["read", "publish", "openid"]}, "read publish"),
        ({"scp": "read publish"}, "read publish"),
        ({"scp": ["read", "publish:dm"]}, "read publish:dm"),
        ({"scopes": "read"}, "read"),
        ({"scopes": ["admin"]}, "admin"),
        ({"scope": "read", "scp": ["admin"], "scopes": "admin"}, "read"),
        ({"scope": None, "scp": None, "scopes": ["read"]}, "read"),
        ({"scope": [], "scp": ["admin"]}, ""),
        ({"scope": "  read   publish "}, "read publish"),
        ({"scope": "x\u00a0admin"}, ""),
        ({"scope": "x\u2003admin x\tadmin x\nadmin x\x1fadmin\x0b x\u3000admin"}, ""),
        ({"scp": ["x\u00a0admin", "x admin", " admin", "ADMIN"]}, ""),
        ({"roles": ["admin"], "groups": ["admin"]}, ""),
    ],
    ids=str,
)
def test_scopes_are_read_wherever_a_provider_puts_them(said: Any, granted: str) -> None:
    said = {"scope": None, **said}
    assert verify(token(**said)).scopes == {*granted.split()}
    answer = {**said, "sub": "u1", "exp": 2000}
    assert tokens.principal(answer, NO_RULES, 1000).scopes == {*granted.split()}


@pytest.mark.parametrize("name", ["scp", "scopes"])
@pytest.mark.parametrize("wrong", [1, True, {}, ["read", None], {"read": "admin"}])
def test_a_claim_that_holds_no_scopes_is_refused_by_its_name(name: str, wrong: object) -> None:
    said: dict[str, Any] = {"scope": None, name: wrong}
    assert refusal(token(**said)).issue.startswith(f"{name} must be words")


@pytest.mark.parametrize("exp", [253_402_300_800, 1e12, 2**53 - 1, 9_007_199_254_740_990.5])
def test_an_end_beyond_the_year_9999_is_an_end(exp: float) -> None:
    who = verify(token(exp=exp))
    assert who.expires == exp
    assert timestamp(exp) == "9999-12-31T23:59:59.000Z"
    assert authenticated(who).expires == "9999-12-31T23:59:59.000Z"


def test_what_is_nested_without_end_is_refused() -> None:
    for depth in (100, 900, 3000):
        payload = base64.urlsafe_b64encode(b'{"sub":' + b"[" * depth).decode().rstrip("=")
        head = handmade({"alg": "HS256"}, {}).partition(".")[0]
        signature = hmac.digest(SECRET.encode(), f"{head}.{payload}".encode(), hashlib.sha256)
        tail = base64.urlsafe_b64encode(signature).decode().rstrip("=")
        assert refusal(f"{head}.{payload}.{tail}").code == INVALID_TOKEN


@pytest.mark.parametrize("bound", KEYS)
@pytest.mark.parametrize("said", KEYS)
def test_a_key_verifies_its_own_algorithm_only(bound: str, said: str) -> None:
    if bound != said:
        assert refusal(token(algorithm=said), [KEYS[bound]]).code == INVALID_TOKEN


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_public_key_is_no_secret_for_hs256(algorithm: str) -> None:
    # PyJWT refuses to sign so; a forger is not held to that.
    unsigned = handmade({"alg": "HS256", "typ": "JWT"}, claims()).rpartition(".")[0]
    for secret in (pem(PRIVATE[algorithm]), pem(PRIVATE[algorithm]).strip()):
        signature = hmac.digest(secret, unsigned.encode(), hashlib.sha256)
        forged = handmade({"alg": "HS256", "typ": "JWT"}, claims(), signature)
        assert refusal(forged, [KEYS[algorithm]]).code == INVALID_TOKEN
        assert refusal(forged, [KEYS[algorithm], KEYS["HS256"]]).code == INVALID_TOKEN


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 7, ["HS256"]])
def test_a_token_without_a_signature_is_refused(name: object) -> None:
    for keys in ([KEYS["HS256"]], [*KEYS.values()], []):
        assert refusal(handmade({"alg": name}, claims()), keys).code == INVALID_TOKEN


def test_an_algorithm_that_is_not_named_is_refused() -> None:
    assert refusal(handmade({"typ": "JWT"}, claims(), b"x")).code == INVALID_TOKEN


@pytest.mark.parametrize("other", ["HS384", "HS512"])
def test_the_same_key_with_another_algorithm_is_refused(other: str) -> None:
    text = jwt.encode(claims(), SECRET * 2, other)
    assert refusal(text, [tokens.secret_key(SECRET * 2)]).code == INVALID_TOKEN


def test_a_key_that_the_token_brings_itself_is_not_used() -> None:
    own = rsa.generate_private_key(65537, 2048)
    headers = {
        "jwk": jwk(own, "one"),
        "jku": "http://127.0.0.1:1/keys",
        "x5u": "http://127.0.0.1:1",
    }
    forged = jwt.encode(claims(), own, "RS256", headers)
    assert refusal(forged, [KEYS["RS256"]]).issue == "the signature is wrong"


def test_a_changed_token_is_refused() -> None:
    head, _, signature = token("user_1").split(".")
    payload = handmade({}, claims("admin", "admin")).split(".")[1]
    assert refusal(f"{head}.{payload}.{signature}").issue == "the signature is wrong"
    assert refusal(token()[:-4]).code == INVALID_TOKEN


@pytest.mark.parametrize(
    ("said", "issue"),
    [
        ({"sub": None}, "sub is missing"),
        ({"exp": None}, "exp is missing"),
        ({"sub": ""}, "sub must be"),
        ({"sub": "x" * 129}, "sub must be"),
        ({"sub": "a\nb"}, "sub must be"),
        ({"sub": "a\ud800"}, "sub must be"),
        ({"sub": 7}, "sub must be text"),
        ({"exp": "soon"}, "exp must be a number"),
        ({"exp": True}, "exp must be a number"),
        ({"exp": float("inf")}, "exp must be a number"),
        ({"exp": float("nan")}, "exp must be a number"),
        ({"exp": 10**400}, "exp must be a number"),
        ({"nbf": "now"}, "nbf must be a number"),
        ({"exp": -1}, "exp must be a number"),
        ({"exp": "4000000000"}, "exp must be a number"),
        ({"exp": [4e9]}, "exp must be a number"),
        ({"iat": 1e300}, "iat must be a number"),
        ({"iat": "now"}, "iat must be a number"),
        ({"nbf": float("nan")}, "nbf must be a number"),
        ({"nbf": -5}, "nbf must be a number"),
        ({"scope": 1}, "scope must be words"),
        ({"scope": {"read": True}}, "scope must be words"),
        ({"scope": ["read", 1]}, "scope must be words"),
        ({"scope": [["read"]]}, "scope must be words"),
        ({"nbf": 4e9}, "nbf is in the future"),
        ({"iat": 4e9}, "iat is in the future"),
        ({"aud": "somebody else"}, "another audience"),
        ({"aud": ["a", "b"]}, "another audience"),
    ],
    ids=str,
)
def test_what_it_says_must_be_right(said: dict[str, Any], issue: str) -> None:
    refused = refusal(token(**said))
    assert refused.code == INVALID_TOKEN
    assert issue in refused.issue


@pytest.mark.parametrize(
    ("said", "issue"),
    [
        ({"iss": "https://id"}, "aud is missing"),
        ({"aud": "livelog"}, "iss is missing"),
        ({"iss": "https://other", "aud": "livelog"}, "another issuer"),
        ({"iss": ["https://id"], "aud": "livelog"}, "another issuer"),
        ({"iss": "https://id", "aud": "shop"}, "another audience"),
        ({"iss": "https://id", "aud": []}, "aud is missing"),
        ({"iss": "https://id", "aud": "livelo"}, "another audience"),
    ],
    ids=str,
)
def test_issuer_and_audience_must_be_ours(said: dict[str, Any], issue: str) -> None:
    text = handmade_signed(claims(**said))
    assert issue in refusal(text, rules=OURS).issue


def handmade_signed(said: dict[str, Any]) -> str:
    """A signed token with claims that PyJWT would not write."""
    unsigned = handmade({"alg": "HS256"}, said).rpartition(".")[0]
    return handmade(
        {"alg": "HS256"}, said, hmac.digest(SECRET.encode(), unsigned.encode(), "sha256")
    )


@pytest.mark.parametrize("aud", ["livelog", ["shop", "livelog"]])
def test_one_audience_of_several_is_enough(aud: object) -> None:
    assert verify(token(iss="https://id", aud=aud), rules=OURS).id == "u1"


def test_the_clock_that_counts_is_the_one_passed_in() -> None:
    text = token(exp=1000, nbf=500, iat=500)
    assert refusal(text, rules=OURS._replace(issuer=None, audience=None), now=494).issue == (
        "nbf is in the future"
    )
    rules = Rules(leeway=5)
    assert verify(text, rules=rules, now=495).expires == 1005
    assert verify(text, rules=rules, now=1004.9).id == "u1"
    assert refusal(text, rules=rules, now=1005).code == TOKEN_EXPIRED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b.c",
        "...",
        "eyJ.eyJ.",
        "ey" * 3000 + "..",
        "ey\ud800.a.b",
        "\0.\0.\0",
        "ey..",
        "é.é.é",
    ],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="not a JSON Web Token"):
        tokens.header(text)
    with pytest.raises(RefusedError):
        verify(text)


def test_a_header_nested_without_end_is_refused() -> None:
    deep = base64.urlsafe_b64encode(b'{"a":' * 100_000).decode().rstrip("=")
    with pytest.raises(RefusedError, match="not a JSON Web Token"):
        tokens.header(f"{deep}.e30.eA")


parts = st.text(max_size=8) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
names = st.sampled_from(["sub", "exp", "nbf", "iat", "iss", "aud", "scope", "jti"])
headers = st.fixed_dictionaries({}, optional={"alg": parts, "kid": parts, "crit": parts})


@given(headers, st.dictionaries(names, parts), st.binary(max_size=40))
def test_whatever_is_shown_is_refused_or_somebody(
    header: dict[str, Any], said: dict[str, Any], signature: bytes
) -> None:
    with pytest.raises(RefusedError):
        verify(handmade(header, said, signature), [*KEYS.values()], OURS)
    signed = handmade_signed(said)
    with suppress(RefusedError):
        assert 1 <= len(verify(signed).id) <= tokens.MAX_ID
    with suppress(RefusedError):
        assert verify(signed, rules=OURS).expires


@given(st.text(max_size=60))
def test_whatever_text_is_shown_is_refused(text: str) -> None:
    for shown in (text, f"ey{text}.{text}.{text}"):
        with suppress(RefusedError):
            assert tokens.header(shown).kid is None or tokens.header(shown).kid
        with pytest.raises(RefusedError):
            verify(shown, [*KEYS.values()])


# Keys.


def test_a_short_secret_is_no_key() -> None:
    with pytest.raises(ValueError, match="at least 32 bytes, not 31"):
        tokens.secret_key("x" * 31)
    assert tokens.secret_key("é" * 16).algorithm == "HS256"


@pytest.mark.parametrize(
    ("content", "issue"),
    [
        (b"", "is not a public key"),
        (b"hello", "is not a public key"),
        pytest.param(pem(RSA_KEY)[:100], "is not a public key", id="cut"),
        (pem(rsa.generate_private_key(65537, 1024)), "must be RSA with 2048"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "EC on P-256"),
        (
            EC_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "must hold the public key",
        ),
    ],
)
def test_a_file_that_holds_no_good_key_is_refused(content: bytes, issue: str) -> None:
    with pytest.raises(ValueError, match=issue):
        tokens.public_key(content, "key.pem")


def test_of_published_keys_the_good_ones_are_taken() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    symmetric = {"kty": "oct", "k": "c2VjcmV0", "kid": "oct", "alg": "HS256"}
    found = tokens.published_keys(
        {
            "keys": [
                jwk(RSA_KEY, "rsa"),
                jwk(EC_KEY, "ec"),
                jwk(ED_KEY, "ed"),
                jwk(RSA_KEY, "encrypts", use="enc"),
                jwk(RSA_KEY, "rs512", alg="RS512"),
                jwk(weak, "weak"),
                symmetric,
                {"kty": "RSA", "kid": "broken"},
                jwk(RSA_KEY, "none", alg="none"),
                {**jwk(RSA_KEY, ""), "kid": ["a list"]},
                {**jwk(RSA_KEY, ""), "kid": 7},
                "nonsense",
            ]
        }
    )
    assert {kid: key.algorithm for kid, key in found.items()} == {
        "rsa": "RS256",
        "ec": "ES256",
        "ed": "EdDSA",
    }
    assert repr(found["rsa"]) == "Key(RS256)"
    assert isinstance(found["ec"], Key)


@pytest.mark.parametrize("document", [{}, {"keys": []}, {"keys": 7}, [], None, {"keys": [{}]}])
def test_a_set_without_a_good_key_is_none(document: object) -> None:
    with pytest.raises(ValueError, match="no usable key"):
        tokens.published_keys(document)
