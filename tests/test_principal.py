"""Principals: what each scope allows, for every type of message, and whose direct messages."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from livelog.auth.principal import ANYBODY, NOBODY, SCOPES, Principal, scopes
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
