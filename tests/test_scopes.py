"""Scopes: the types a principal may read and publish, at both doors."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest

import livelog
from livelog.auth.principal import ANYBODY, Principal, scopes
from livelog.errors import RefusedError
from livelog.index.query import compile_query
from livelog.wire.commands import Filters
from tests.support.identity import token
from tests.support.strategies import record
from tests.support.wire import SAMPLES, TYPES, Json, on_uvloop, serving, user
from tests.test_authentication import AUTH, entered


@pytest.mark.parametrize(
    ("scope", "named", "expected"),
    [
        ("read", None, TYPES),
        ("admin", "dm", ["dm"]),
        ("read:user", None, ["user"]),
        ("read:user read:dm", None, ["dm", "user"]),
        ("read:user", "user", ["user"]),
        ("read:user read:dm", ["dm", "user"], ["dm", "user"]),
        ("read", ["raid", "user"], ["raid", "user"]),
    ],
)
def test_a_query_is_limited_to_the_types_that_may_be_read(
    scope: str, named: Any, expected: list[str]
) -> None:
    principal = Principal("u", scopes(scope))
    filters = Filters(user_id="x", type=named or msgspec.UNSET)
    query = compile_query(principal, filters)
    assert sorted(query.types) == sorted(expected)
    assert query.reads_as == "u"
    assert query.keys == ("user_id=x",)
    assert compile_query(ANYBODY, filters).reads_as is None
    types: list[Any] = [named] if isinstance(named, str) else named or []
    assert compile_query(principal, Filters(), message_types=types).types == query.types


@pytest.mark.parametrize("where", ["type:raid", "NOT type:user", "*", "-raid_id:x", "type:dm,raid"])
def test_an_expression_may_name_types_that_may_not_be_read_and_matches_none_of_them(
    where: str,
) -> None:
    query = compile_query(
        Principal("u", scopes("read:user read:party")), Filters(where=where), now=0
    )
    found = [one["type"] for one in SAMPLES if query.matches(record(one, 1))]
    allowed = compile_query(ANYBODY, Filters(where=where, type=["user", "party"]), now=0)
    assert found == [one["type"] for one in SAMPLES if allowed.matches(record(one, 1))]


@pytest.mark.parametrize(
    ("scope", "named", "needed"),
    [
        ("read:user", ["dm"], "read:dm"),
        ("read:user", ["user", "raid"], "read:raid"),
        ("publish", [], "read:user"),
        ("publish:any", ["raid"], "read:raid"),
    ],
)
def test_a_query_for_types_that_may_not_be_read_is_refused(
    scope: str, named: list[Any], needed: str
) -> None:
    principal = Principal("u", scopes(scope))
    with pytest.raises(RefusedError) as caught:
        compile_query(principal, Filters(type=named or msgspec.UNSET))
    assert caught.value.details == {"scope": needed}
    assert caught.value.field == "filters.type"
    with pytest.raises(RefusedError) as caught:
        compile_query(principal, Filters(), message_types=named)
    assert caught.value.details == {"scope": needed}
    assert caught.value.field == ("message_types" if named else "filters.type")


DECIDING = {"check_reads", "reads_as", "Query", "EVERYTHING"}
"""Names that decide what may be read, or make a query without a principal."""


def deciding(module: Path) -> set[str]:
    """Return the names of `DECIDING` that `module` calls or reads."""
    nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    found = {function.id for function in called if isinstance(function, ast.Name)}
    found |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    found |= {node.id for node in nodes if isinstance(node, ast.Name)} & {"EVERYTHING"}
    return found & DECIDING


def test_the_query_compiler_alone_decides_what_a_principal_may_read() -> None:
    root = Path(livelog.__file__).parent
    found = {str(file.relative_to(root)): deciding(file) for file in root.rglob("*.py")}
    assert {file: names for file, names in found.items() if names} == {
        "index/query.py": DECIDING,
        # The hub's table of audiences without filters.
        "fanout/routing.py": {"EVERYTHING"},
        # A message that is named by its seq is redacted whoever may read it, and not shown.
        "net/admin/redacting.py": {"EVERYTHING"},
        # An erased user is looked for in all messages, none of which is shown.
        "net/admin/erasing.py": {"EVERYTHING"},
    }


# At the doors.


def error(field: str, issue: str, scope: str) -> Json:
    """Return the error for a missing scope."""
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
