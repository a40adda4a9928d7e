"""Credentials: where they stand in a request, and that no text shows them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import UNSET

from livelog.auth import credentials
from livelog.auth.credentials import NOTHING, Credential, of_request
from livelog.errors import (
    AUTHENTICATION_FAILED,
    INVALID_TOKEN,
    SERVER_ERROR,
    TOKEN_EXPIRED,
    RefusedError,
)
from livelog.wire.commands import Authenticate

Pairs = list[tuple[str, str]]
TOKEN, KEY = Credential(token="t"), Credential(api_key="k")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("authorization", "Bearer t")], TOKEN),
        ([("authorization", "bearer t")], TOKEN),
        ([("authorization", "BEARER   t ")], TOKEN),
        ([("authorization", "Bearer t,u v")], Credential(token="t,u v")),
        ([("x-api-key", " k ")], KEY),
        ([("authorization", "Bearer t"), ("x-api-key", "k")], TOKEN),
        ([("x-api-key", "k"), ("authorization", "Bearer t")], KEY),
        ([("authorization", "Basic dTpw"), ("x-api-key", "k")], KEY),
        ([("authorization", "Bearert")], NOTHING),
        ([("authorization", "t")], NOTHING),
        ([("proxy-authorization", "Bearer t"), ("cookie", "token=t")], NOTHING),
        ([], NOTHING),
    ],
    ids=str,
)
def test_a_header_carries_a_credential(headers: Pairs, expected: Credential) -> None:
    assert of_request(headers, []) == expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ([("token", "t")], TOKEN),
        ([("api_key", "k")], KEY),
        ([("token", "t"), ("token", "u")], TOKEN),
        ([("api_key", "k"), ("token", "t")], KEY),
        ([("token", ""), ("api_key", "k")], KEY),
        ([("limit", "1"), ("token", "t")], TOKEN),
        ([("Token", "t"), ("access_token", "t"), ("x-api-key", "k")], NOTHING),
        ([("token", "")], NOTHING),
    ],
    ids=str,
)
def test_a_parameter_of_the_url_carries_a_credential(
    parameters: Pairs, expected: Credential
) -> None:
    assert of_request([], parameters) == expected


@pytest.mark.parametrize("header", [("authorization", "Bearer t"), ("x-api-key", "k")])
def test_a_header_counts_more_than_the_url(header: tuple[str, str]) -> None:
    url = [("token", "other"), ("api_key", "other")]
    assert of_request([header], url) in (TOKEN, KEY)
    assert of_request([("authorization", "Basic dTpw")], url) == Credential(token="other")


@pytest.mark.parametrize(
    ("credential", "token", "api_key"),
    [(TOKEN, "t", UNSET), (KEY, UNSET, "k"), (NOTHING, UNSET, UNSET)],
)
def test_a_credential_makes_the_command_that_would_carry_it(
    credential: Credential, token: object, api_key: object
) -> None:
    made = credential.command()
    assert isinstance(made, Authenticate)
    assert (made.token, made.api_key) == (token, api_key)


@pytest.mark.parametrize("name", ["token", "api_key"])
def test_a_credential_names_its_kind_and_hides_its_secret(name: str) -> None:
    shown = Credential(**{name: "hunter2"})
    for text in (repr(shown), str(shown), f"{[shown]}"):
        assert f"Credential({name}=…)" in text
        assert "hunter2" not in text


@pytest.mark.parametrize(
    ("refuse", "code", "retry_after"),
    [
        (credentials.failed, AUTHENTICATION_FAILED, None),
        (lambda issue: credentials.failed(issue, TOKEN_EXPIRED), TOKEN_EXPIRED, None),
        (credentials.invalid, INVALID_TOKEN, None),
        (credentials.unavailable, SERVER_ERROR, 10),
    ],
)
def test_a_refusal_says_whether_another_attempt_helps(
    refuse: Callable[[str], RefusedError], code: int, retry_after: float | None
) -> None:
    refused = refuse("because")
    assert (refused.code, refused.field, refused.issue) == (code, "token", "because")
    assert refused.retry_after == retry_after
