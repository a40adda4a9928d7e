"""Refusals over HTTP: the status of every code, and the headers of RFC 6750 and RFC 9110."""

from __future__ import annotations

import pytest

from livelog.errors import (
    AUTHENTICATION_FAILED,
    CODES,
    INVALID_TOKEN,
    POLICY_VIOLATION,
    PROTOCOL_ERROR,
    RATE_LIMIT_EXCEEDED,
    SERVER_ERROR,
    TOKEN_EXPIRED,
    RefusedError,
)
from livelog.net.http.errors import STATUSES, HttpRefusedError, headers_of, status_of


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (1001, 503), (1002, 400), (1003, 415), (1008, 403), (1009, 413), (1011, 500), (4000, 401),
        (4001, 401), (4002, 401), (4003, 429),
    ],
)  # fmt: skip
def test_every_code_has_its_status(code: int, status: int) -> None:
    assert status_of(RefusedError(code, "", "")) == status


def test_the_table_has_all_codes_and_no_others() -> None:
    assert STATUSES.keys() == CODES.keys()


def test_internal_errors_and_those_of_the_client_are_told_apart() -> None:
    assert {code for code, status in STATUSES.items() if status >= 500} == {1001, 1011}


def test_an_internal_error_that_passes_is_unavailability() -> None:
    assert status_of(RefusedError(SERVER_ERROR, "", "no", retry_after=1)) == 503
    assert status_of(RefusedError(RATE_LIMIT_EXCEEDED, "", "no", retry_after=1)) == 429


def test_a_rule_of_http_has_a_status_of_its_own() -> None:
    refused = HttpRefusedError(405, "method", "no", headers={"Allow": "GET"}, allowed="GET")
    for one in (refused, refused.at("request"), refused.explain({"line": 1})):
        assert (one.code, status_of(one), headers_of(one)) == (1002, 405, {"Allow": "GET"})
    assert refused.details == {"allowed": "GET"}


@pytest.mark.parametrize(
    ("seconds", "header"), [(0, "1"), (0.2, "1"), (1, "1"), (1.001, "2"), (60.0, "60")]
)
def test_a_client_is_told_to_come_back_in_whole_seconds(seconds: float, header: str) -> None:
    refused = RefusedError(RATE_LIMIT_EXCEEDED, "commands", "no", retry_after=seconds)
    assert headers_of(refused) == {"Retry-After": header}


@pytest.mark.parametrize(
    ("refused", "challenge"),
    [
        (RefusedError(AUTHENTICATION_FAILED, "token", "none"), ""),
        (
            RefusedError(INVALID_TOKEN, "token", "unknown"),
            ', error="invalid_token", error_description="unknown"',
        ),
        (
            RefusedError(TOKEN_EXPIRED, "token", 'a "quoted" \\ line\r\nX: y→'),
            """, error="invalid_token", error_description="a 'quoted' ' line''X: y'\"""",
        ),
        (
            RefusedError(POLICY_VIOLATION, "type", "no", scope="read:dm"),
            ', error="insufficient_scope", scope="read:dm"',
        ),
    ],
)
def test_a_challenge_says_what_is_missing(refused: RefusedError, challenge: str) -> None:
    assert headers_of(refused) == {"WWW-Authenticate": f'Bearer realm="livelog"{challenge}'}


@pytest.mark.parametrize("code", [PROTOCOL_ERROR, POLICY_VIOLATION, SERVER_ERROR])
def test_other_refusals_have_no_headers(code: int) -> None:
    assert headers_of(RefusedError(code, "", "no")) == {}
