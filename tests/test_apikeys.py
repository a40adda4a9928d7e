"""API keys: their form, their records, and the lookup that tells nothing by its timing."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livelog.auth import apikeys
from livelog.auth.apikeys import RANDOM_BYTES, ApiKey
from livelog.auth.principal import SCOPES
from livelog.errors import INVALID_TOKEN, TOKEN_EXPIRED, RefusedError

NOW = 1_000_000.0
RANDOM = bytes(range(RANDOM_BYTES))


def made(random: bytes = RANDOM, **more: Any) -> tuple[str, ApiKey]:
    """Make a key of `bot`."""
    return apikeys.make(random, **{"owner": "bot", "scopes": ["read"], "created": "now", **more})


SECRET, KEPT = made()
KEYS = {KEPT.id: KEPT}


def refusal(secret: str, keys: apikeys.Keys = KEYS, now: float = NOW) -> RefusedError:
    """Return the refusal of a key."""
    with pytest.raises(RefusedError) as caught:
        apikeys.find(keys, secret, now)
    return caught.value


# Making.


def test_a_key_is_a_prefix_an_id_and_256_random_bits() -> None:
    secret, _ = made()
    assert secret == f"lk_{RANDOM[:4].hex()}_{RANDOM[4:].hex()}"
    assert len(RANDOM[4:]) * 8 == 256
    assert apikeys.looks_like_one(secret)


def test_the_record_holds_the_hash_and_nothing_else_of_the_secret() -> None:
    secret, kept = made()
    assert kept == ApiKey(
        id=RANDOM[:4].hex(),
        sha256=hashlib.sha256(secret.encode()).hexdigest(),
        owner="bot",
        scopes=["read"],
        created="now",
        expires=None,
    )
    assert RANDOM[4:].hex().encode() not in apikeys.dump({kept.id: kept})


@pytest.mark.parametrize("length", [0, RANDOM_BYTES - 1, RANDOM_BYTES + 1])
def test_a_key_takes_all_its_random_bytes(length: int) -> None:
    with pytest.raises(AssertionError):
        made(bytes(length))


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_may_have_any_scope(scope: str) -> None:
    assert made(scopes=[scope])[1].scopes == [scope]


@pytest.mark.parametrize(
    ("wrong", "issue"),
    [
        ({"scopes": []}, "a key needs a scope; allowed: read, "),
        ({"scopes": ["read", "write"]}, "unknown scope 'write'; allowed: read, "),
        ({"scopes": ["READ"]}, "unknown scope 'READ'"),
        ({"owner": ""}, "the owner must have 1 to 128 printable characters"),
        ({"owner": "x" * 129}, "the owner must have"),
        ({"owner": "a\nb"}, "the owner must have"),
        ({"owner": "a\x1b[2J"}, "the owner must have"),
    ],
    ids=str,
)
def test_an_invalid_scope_or_owner_is_refused(wrong: dict[str, Any], issue: str) -> None:
    with pytest.raises(ValueError, match=issue):
        made(**wrong)


def test_an_owner_may_have_128_characters() -> None:
    assert made(owner="é" * 128)[1].owner == "é" * 128


@pytest.mark.parametrize("text", ["", "lk", "LK_1_2", "eyJ.a.b", " lk_1_2"])
def test_other_texts_do_not_look_like_a_key(text: str) -> None:
    assert not apikeys.looks_like_one(text)


# Finding.


def test_a_key_acts_as_its_owner_with_its_scopes() -> None:
    secret, kept = made(owner="ann", scopes=["read:dm", "publish"], expires=NOW + 1)
    found = apikeys.find({kept.id: kept}, secret, NOW)
    assert found.id == "ann"
    assert found.scopes == {"read:dm", "publish"}
    assert (found.expires, found.key, found.open) == (NOW + 1, kept.id, False)


def test_a_key_without_an_end_does_not_expire() -> None:
    assert apikeys.find(KEYS, SECRET, 1e12).expires is None


@pytest.mark.parametrize(
    "wrong",
    [
        SECRET[:-1],
        f"{SECRET}0",
        f"{SECRET} ",
        SECRET.upper(),
        SECRET.removeprefix("lk_"),
        f"lk_{KEPT.id}",
        f"lk_{KEPT.id}_{KEPT.sha256}",
        KEPT.sha256,
        "lk_",
        "lk__",
        "lk_\ud800_",
    ],
)
def test_only_the_whole_key_is_accepted(wrong: str) -> None:
    refused = refusal(wrong)
    assert (refused.code, refused.issue) == (INVALID_TOKEN, "not a valid API key")


def test_the_secret_of_another_key_is_refused() -> None:
    other, kept = made(bytes(reversed(RANDOM)))
    keys = {**KEYS, kept.id: kept}
    assert apikeys.find(keys, other, NOW).key == kept.id
    mixed = f"lk_{KEPT.id}_{other.rpartition('_')[2]}"
    assert refusal(mixed, keys).code == INVALID_TOKEN


def test_a_key_expires_at_its_end_and_only_its_holder_learns_that() -> None:
    secret, kept = made(expires=NOW)
    keys = {kept.id: kept}
    assert apikeys.find(keys, secret, NOW - 0.1).expires == NOW
    assert refusal(secret, keys).code == TOKEN_EXPIRED
    assert refusal(secret[:-1], keys).code == INVALID_TOKEN


@pytest.mark.parametrize("secret", [SECRET, f"{SECRET}0", "lk_00000000_00", "lk_"])
def test_a_known_and_an_unknown_id_cost_the_same_comparison(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def spy(one: str, other: str) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", spy)
    if secret == SECRET:
        apikeys.find(KEYS, secret, NOW)
    else:
        refusal(secret)
    [(given_hash, wanted)] = compared
    assert given_hash == hashlib.sha256(secret.encode()).hexdigest()
    assert len(wanted) == len(given_hash)


def test_an_unknown_id_is_refused_whatever_its_hash_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: True)
    assert refusal("lk_00000000_00").code == INVALID_TOKEN


@given(st.text(max_size=100))
def test_no_text_is_a_key_by_chance(text: str) -> None:
    for secret in (text, f"lk_{text}", f"lk_{KEPT.id}_{text}"):
        assert refusal(secret).code == INVALID_TOKEN


# The content of a key file.


def test_what_is_written_is_read_again() -> None:
    keys = {kept.id: kept for _, kept in (made(), made(bytes(RANDOM_BYTES), expires=NOW))}
    assert apikeys.load(apikeys.dump(keys)) == keys
    assert apikeys.load(apikeys.dump({})) == {}
    assert apikeys.load(b"\xef\xbb\xbf" + apikeys.dump(keys)) == keys
    assert apikeys.dump(keys).endswith(b"]\n")


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": "x" * 65},
        {"sha256": "0" * 63},
        {"sha256": "G" * 64},
        {"owner": ""},
        {"owner": "x" * 129},
        {"scopes": [""]},
        {"scopes": "read"},
        {"expires": "never"},
        {"secret": SECRET},
    ],
    ids=str,
)
def test_a_record_with_a_wrong_field_is_refused(change: dict[str, Any]) -> None:
    record = {**msgspec.to_builtins(KEPT), **change}
    with pytest.raises(ValueError, match="is not a file of API keys; `livelog keys create`"):
        apikeys.load(msgspec.json.encode([record]))


@pytest.mark.parametrize("content", [b"", b"{}", b"[{]", b"null", b"\xff", b"[" * 100_000])
def test_other_contents_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="is not a file of API keys"):
        apikeys.load(content)
