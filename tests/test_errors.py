"""The table of codes is the specification's, and a refusal carries what every door needs."""

from __future__ import annotations

from typing import get_args

import pytest

from livelog.errors import CODES, POLICY_VIOLATION, PROTOCOL_ERROR, Reason, RefusedError

# "Error Codes" of the specification.
LISTED = {
    1000: "Normal closure",
    1001: "Going away",
    1002: "Protocol error",
    1003: "Unsupported data",
    1006: "Abnormal closure",
    1008: "Policy violation",
    1009: "Message too big",
    1011: "Server error",
    4000: "Authentication failed",
    4001: "Invalid token",
    4002: "Token expired",
    4003: "Rate limit exceeded",
}


def test_the_table_has_the_codes_of_the_specification_and_no_others() -> None:
    assert {code: entry.text.lower() for code, entry in CODES.items()} == {
        code: text.lower() for code, text in LISTED.items()
    }


def test_the_text_is_written_as_in_the_example_of_the_specification() -> None:
    assert CODES[1002].text == "Protocol Error"
    assert all(entry.text == entry.text.title() for entry in CODES.values())


def test_the_reasons_are_those_of_the_specification() -> None:
    listed = "normal_closure|connection_timeout|protocol_error|server_error"
    assert "|".join(get_args(Reason)) == listed
    assert {entry.reason for entry in CODES.values()} <= set(get_args(Reason))


@pytest.mark.parametrize(
    ("code", "status"),
    [(1002, 400), (1003, 415), (1008, 403), (1009, 413), (1011, 500), (4001, 401), (4003, 429)],
)
def test_every_fault_has_its_http_status(code: int, status: int) -> None:
    assert RefusedError(code, "", "").status == status


def test_faults_of_ours_and_of_the_client_are_told_apart_over_http() -> None:
    ours = {code for code, entry in CODES.items() if entry.status >= 500}
    assert ours == {1001, 1011}


def test_a_refusal_carries_code_field_issue_and_whatever_helps() -> None:
    refused = RefusedError(PROTOCOL_ERROR, "limit", "too high", allowed=[1, 1000])
    assert (refused.code, refused.field, refused.issue) == (PROTOCOL_ERROR, "limit", "too high")
    assert refused.details == {"allowed": [1, 1000]}
    assert str(refused) == "limit: too high"
    assert str(RefusedError(PROTOCOL_ERROR, "", "not valid JSON")) == "not valid JSON"


def test_a_refusal_seen_from_outside_differs_in_the_field_only() -> None:
    refused = RefusedError(
        POLICY_VIOLATION, "b", "no", status=404, headers={"Allow": "GET"}, allowed=1
    )
    outer = refused.at("[3]").at("a")
    assert outer.field == "a.[3].b"
    assert (outer.code, outer.issue, outer.status) == (POLICY_VIOLATION, "no", 404)
    assert (outer.headers, outer.details) == ({"Allow": "GET"}, {"allowed": 1})
    assert RefusedError(PROTOCOL_ERROR, "", "no").at("message").field == "message"
