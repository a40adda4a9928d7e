"""Principals: what each scope allows, for every type of message, and whose direct messages."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from livelog.auth.principal import ANYBODY, NOBODY, PROGRAM, SCOPES, Principal, scopes
from livelog.errors import POLICY_VIOLATION, RefusedError
from livelog.wire.messages import AnyMessage
from tests.support.wire import SAMPLES, TYPES

AUTHOR = {"user": "user_id", "dm": "from_user_id"}
ME = "user_12345"  # the author of the samples of the API


def message(kind: str, **fields: Any) -> AnyMessage:
    """Return the sample of a type."""
    sample = next(sample for sample in SAMPLES if sample["type"] == kind)
    return msgspec.convert({**sample, **fields}, AnyMessage)  # type: ignore[no-any-return]  # a union is a type to msgspec


def may_publish(who: Principal, said: AnyMessage) -> str:
    """Return the missing scope, or an empty string."""
    try:
        who.check_publishes(said)
    except RefusedError as error:
        refused = error
    else:
        return ""
    assert refused.code == POLICY_VIOLATION
    assert refused.scope is not None
    return refused.scope


def test_unknown_scopes_are_ignored() -> None:
    assert scopes("openid read  read:dm read:cat publish:any READ admin") == {
        "read",
        "read:dm",
        "publish:any",
        "admin",
    }
    assert scopes(" ".join(SCOPES)) == set(SCOPES)


@pytest.mark.parametrize("kind", TYPES)
def test_reading_takes_read_or_read_of_that_type(kind: Any) -> None:
    for scope in ("read", f"read:{kind}", "admin"):
        Principal("u", frozenset([scope])).check_reads([kind], "f")
    for scope in ("publish", "publish:any", *(f"read:{other}" for other in TYPES if other != kind)):
        with pytest.raises(RefusedError) as caught:
            Principal("u", frozenset([scope])).check_reads([kind], "f")
        assert (caught.value.code, caught.value.field) == (1008, "f")
        assert caught.value.details == {"scope": f"read:{kind}"}


@pytest.mark.parametrize("kind", TYPES)
def test_publishing_takes_the_scope_and_the_own_name(kind: str) -> None:
    for scope in ("publish", f"publish:{kind}", "read", "publish:any", "admin"):
        for who in (ME, "somebody"):
            missing = may_publish(Principal(who, frozenset([scope])), message(kind))
            if scope in ("publish:any", "admin"):
                expected = ""
            elif scope == "read" or (scope == "publish" and kind not in AUTHOR):
                expected = f"publish:{kind}"
            else:
                expected = "publish:any" if kind in AUTHOR and who != ME else ""
            assert missing == expected, (scope, who)


def test_all_is_allowed_on_an_open_server_and_nothing_before_authentication() -> None:
    for kind in TYPES:
        assert may_publish(ANYBODY, message(kind)) == ""
        assert may_publish(NOBODY, message(kind)) == f"publish:{kind}"
    assert ANYBODY.readable == set(TYPES)
    assert not NOBODY.readable
    assert (ANYBODY.reads_as, NOBODY.reads_as) == (None, "")


def test_an_admin_reads_direct_messages_as_themselves() -> None:
    assert Principal("root", frozenset(["admin"])).reads_as == "root"


def test_there_is_a_scope_to_read_and_to_publish_each_type() -> None:
    each = {f"{verb}:{kind}" for verb in ("read", "publish") for kind in TYPES}
    assert {*SCOPES} == {
        "read",
        "publish",
        "publish:any",
        "moderate",
        "presence",
        "metrics",
        "admin",
        "replicate",
    } | each
    assert len(SCOPES) == len({*SCOPES})


@pytest.mark.parametrize("scope", SCOPES)
def test_the_readable_types_are_those_that_the_scopes_name(scope: str) -> None:
    expected = {
        "read": {*TYPES},
        "admin": {*TYPES},
        **{f"read:{kind}": {kind} for kind in TYPES},
    }.get(scope, set())
    assert Principal("u", frozenset([scope])).readable == expected


def test_scopes_add_up() -> None:
    found = Principal(ME, scopes("read:user read:raid publish:dm"))
    assert found.readable == {"user", "raid"}
    assert may_publish(found, message("dm")) == ""
    assert may_publish(found, message("user")) == "publish:user"


def test_the_first_type_that_may_not_be_read_is_named() -> None:
    found = Principal("u", scopes("read:user"))
    found.check_reads([], "f")
    with pytest.raises(RefusedError) as caught:
        found.check_reads(["user", "raid", "dm"], "filters.type")
    assert (caught.value.field, caught.value.scope) == ("filters.type", "read:raid")
    assert caught.value.issue == "the scope read:raid is missing"


# Direct messages.


@pytest.mark.parametrize("scope", ["", *SCOPES, " ".join(SCOPES)])
def test_no_scope_makes_the_direct_messages_of_others_readable(scope: str) -> None:
    assert Principal("ann", scopes(scope)).reads_as == "ann"


@pytest.mark.parametrize("principal", [ANYBODY, PROGRAM])
def test_only_an_open_principal_reads_the_direct_messages_of_all(principal: Principal) -> None:
    assert principal.reads_as is None
    assert principal.readable == {*TYPES}


@pytest.mark.parametrize("scope", ["publish", "publish:dm", "read publish publish:dm publish:user"])
def test_a_direct_message_is_published_by_its_sender_only(scope: str) -> None:
    said = message("dm", from_user_id="ann", to_user_id="bob")
    assert may_publish(Principal("ann", scopes(scope)), said) == ""
    for other in ("bob", "Ann", "ann ", ""):
        assert may_publish(Principal(other, scopes(scope)), said) == "publish:any"


# Refusals of a message.


@pytest.mark.parametrize("kind", TYPES)
def test_a_missing_scope_is_named_before_a_wrong_author(kind: str) -> None:
    with pytest.raises(RefusedError) as caught:
        Principal("somebody", scopes("read")).check_publishes(message(kind))
    assert caught.value.field == "type"
    assert caught.value.issue == f"the scope publish:{kind} is missing"


@pytest.mark.parametrize(("kind", "field"), AUTHOR.items())
def test_a_wrong_author_is_named_by_its_field(kind: str, field: str) -> None:
    with pytest.raises(RefusedError) as caught:
        Principal("ann", scopes("publish")).check_publishes(message(kind))
    assert caught.value.field == field
    assert caught.value.issue == "is not you, who are 'ann': the scope publish:any is missing"


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind not in AUTHOR])
def test_a_message_of_the_game_has_no_author(kind: str) -> None:
    for name in (ME, "somebody", ""):
        assert may_publish(Principal(name, scopes(f"publish:{kind}")), message(kind)) == ""
