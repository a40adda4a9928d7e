"""What somebody may read and write: scopes, at both doors."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from livelog.auth.principal import ANYBODY, NOBODY, SCOPES, Principal, scopes
from livelog.errors import POLICY_VIOLATION, RefusedError
from livelog.net import queries
from livelog.wire.commands import Filters, GetHistory
from livelog.wire.messages import AnyMessage
from tests.support.identity import token
from tests.support.wire import SAMPLES, TYPES, Json, on_uvloop, serving, user
from tests.test_authentication import AUTH, entered

AUTHOR = {"user": "user_id", "dm": "from_user_id"}
ME = "user_12345"  # who says the samples of the API


def message(kind: str, **fields: Any) -> AnyMessage:
    """The sample of a type."""
    sample = next(sample for sample in SAMPLES if sample["type"] == kind)
    return msgspec.convert({**sample, **fields}, AnyMessage)  # type: ignore[no-any-return]  # a union is a type to msgspec


def may_publish(who: Principal, said: AnyMessage) -> str:
    """The scope that is missing, or nothing."""
    try:
        who.check_publishes(said)
    except RefusedError as error:
        refused = error
    else:
        return ""
    scope = str(refused.details["scope"])
    assert refused.code == POLICY_VIOLATION
    assert refused.headers["WWW-Authenticate"].endswith(f'scope="{scope}"')
    return scope


def test_words_that_mean_nothing_here_are_left_out() -> None:
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


def test_whoever_connects_to_an_open_server_may_do_all_and_nobody_nothing() -> None:
    for kind in TYPES:
        assert may_publish(ANYBODY, message(kind)) == ""
        assert may_publish(NOBODY, message(kind)) == f"publish:{kind}"
    assert ANYBODY.readable == set(TYPES)
    assert not NOBODY.readable
    assert (ANYBODY.reads_as, NOBODY.reads_as) == (None, "")


def test_an_admin_reads_direct_messages_as_themselves() -> None:
    assert Principal("root", frozenset(["admin"])).reads_as == "root"


@pytest.mark.parametrize(
    ("scope", "named", "expected"),
    [
        ("read", None, None),
        ("admin", "dm", "dm"),
        ("read:user", None, ["user"]),
        ("read:user read:dm", None, ["dm", "user"]),
        ("read:user", "user", "user"),
        ("read:user read:dm", ["dm", "user"], ["dm", "user"]),
    ],
)
def test_a_question_is_narrowed_to_what_may_be_read(scope: str, named: Any, expected: Any) -> None:
    who = Principal("u", scopes(scope))
    asked = GetHistory(filters=Filters(user_id="x", **({"type": named} if named else {})))
    filters = queries.allowed(who, asked).filters
    assert filters.user_id == "x"
    assert filters.type == (msgspec.UNSET if expected is None else expected)


@pytest.mark.parametrize(
    ("scope", "named", "needed"),
    [
        ("read:user", "dm", "read:dm"),
        ("read:user", ["user", "raid"], "read:raid"),
        ("publish", None, "read:user"),
        ("publish:any", "raid", "read:raid"),
    ],
)
def test_a_question_about_what_may_not_be_read_is_refused(
    scope: str, named: Any, needed: str
) -> None:
    asked = GetHistory(filters=Filters(**({"type": named} if named else {})))
    with pytest.raises(RefusedError) as caught:
        queries.allowed(Principal("u", scopes(scope)), asked)
    assert caught.value.details == {"scope": needed}
    assert caught.value.field == "filters.type"


# At the doors.


def error(field: str, issue: str, scope: str) -> Json:
    """What a client is told whom a scope is missing."""
    return {
        "action": "error",
        "error_code": 1008,
        "error_message": "Policy Violation",
        "details": {"field": field, "issue": issue, "scope": scope},
    }


@on_uvloop
async def test_a_websocket_keeps_to_the_scopes() -> None:
    async with serving(**AUTH) as house:
        for sample in SAMPLES:
            house.append(sample)
        client = await entered(house, "u1", "read:user read:raid publish")
        assert await client.ask("subscribe", message_types=["user", "guild"]) == error(
            "message_types", "the scope read:guild is missing", "read:guild"
        )
        history = await client.ask("get_history")
        assert (history["total_count"], {each["type"] for each in history["messages"]}) == (
            2,
            {"user", "raid"},
        )
        assert (await client.ask("search", query="ancient"))["count"] == 1
        assert await client.ask("get_history", filters={"type": "dm"}) == error(
            "filters.type", "the scope read:dm is missing", "read:dm"
        )
        assert (await client.ask("publish", message=user()))["action"] == "published"
        assert await client.ask("publish", message=user(user_id="u2")) == error(
            "message.user_id",
            "is not you, who are 'u1': the scope publish:any is missing",
            "publish:any",
        )
        assert (await client.ask("publish", message=SAMPLES[1]))["details"]["scope"] == (
            "publish:system"
        )


@on_uvloop
async def test_http_keeps_to_the_scopes() -> None:
    async with serving(**AUTH) as house:
        for sample in SAMPLES:
            house.append(sample)
        http = await house.http()
        may = {"Authorization": f"Bearer {token('u1', 'read:user publish:user')}"}
        assert (await http.ask("GET", "/api/history", **may)).json["total_count"] == 1
        assert (await http.ask("GET", "/api/search?query=ancient", **may)).json["count"] == 0
        answer = await http.ask("GET", "/api/search?query=x&type=user,dm", **may)
        assert (answer.status, answer.json) == (
            403,
            error("type", "the scope read:dm is missing", "read:dm"),
        )
        assert 'error="insufficient_scope", scope="read:dm"' in answer.headers["www-authenticate"]
        head = house.context.log.head
        good, other = msgspec.json.encode(user()), msgspec.json.encode(user(user_id="u2"))
        answer = await http.ask("POST", "/api/messages", b"[" + good + b"," + other + b"]", **may)
        assert (answer.status, answer.json["details"]["index"]) == (403, 1)
        assert answer.json["details"]["scope"] == "publish:any"
        assert house.context.log.head == head
        assert (await http.ask("POST", "/api/messages", good, **may)).status == 201
