"""The table of codes is the specification's, and a refusal carries what every door needs."""

from __future__ import annotations

import pickle
from typing import get_args

from livelog.errors import (
    CODES,
    POLICY_VIOLATION,
    PROTOCOL_ERROR,
    RATE_LIMIT_EXCEEDED,
    SERVER_ERROR,
    Reason,
    RefusedError,
)

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


def test_a_refusal_carries_code_field_issue_and_whatever_helps() -> None:
    refused = RefusedError(PROTOCOL_ERROR, "limit", "too high", allowed=[1, 1000])
    assert (refused.code, refused.field, refused.issue) == (PROTOCOL_ERROR, "limit", "too high")
    assert refused.details == {"allowed": [1, 1000]}
    assert str(refused) == "limit: too high"
    assert str(RefusedError(PROTOCOL_ERROR, "", "not valid JSON")) == "not valid JSON"


def test_a_refusal_says_when_to_come_back_and_which_scope_is_missing() -> None:
    refused = RefusedError(RATE_LIMIT_EXCEEDED, "", "too fast", retry_after=1.23456)
    assert (refused.retry_after, refused.scope) == (1.235, None)
    assert refused.details == {"retry_after_seconds": 1.235}
    refused = RefusedError(POLICY_VIOLATION, "", "no", scope="admin")
    assert (refused.retry_after, refused.scope) == (None, "admin")
    assert refused.details == {"scope": "admin"}


class SpecialError(RefusedError):
    """A kind with something of its own."""

    extra = 0


def test_a_refusal_seen_from_outside_differs_in_the_field_only() -> None:
    refused = SpecialError(POLICY_VIOLATION, "b", "no", retry_after=1, scope="read", allowed=1)
    refused.extra = 7
    outer = refused.at("[3]").at("a")
    assert outer.field == "a.[3].b"
    assert str(outer) == "a.[3].b: no"
    assert (type(outer), outer.extra) == (SpecialError, 7)
    assert (outer.code, outer.issue, outer.details) == (POLICY_VIOLATION, "no", refused.details)
    assert RefusedError(PROTOCOL_ERROR, "", "no").at("message").field == "message"


def test_a_refusal_is_never_changed() -> None:
    refused = RefusedError(PROTOCOL_ERROR, "filters.b", "no", allowed=1)
    assert refused.rename("b").field == "b"
    assert refused.explain({"self": 2}).details == {"allowed": 1, "self": 2}
    assert refused.at("a").explain({"line": 3}).details == {"allowed": 1, "line": 3}
    assert (refused.field, refused.details) == ("filters.b", {"allowed": 1})


def test_a_refusal_survives_a_pipe_between_processes() -> None:
    refused = RefusedError(SERVER_ERROR, "a", "no", retry_after=1)
    copied = pickle.loads(pickle.dumps(refused))
    assert (str(copied), copied.retry_after) == ("a: no", 1)
