"""The OpenAPI document: whole, valid, and true of what a running server takes and answers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from jsonschema import Draft202012Validator

from livelog.errors import CODES
from livelog.net.http import openapi
from livelog.net.http.notes import notes
from livelog.net.http.operations import OPERATIONS, operation, shared_path
from livelog.net.http.routes import ROUTES
from livelog.net.http.stream.request import Follow
from livelog.wire.events import Unsubscribed
from tests.support.identity import SECRET, token
from tests.support.wire import SAMPLES, Answer, Http, Json, on_uvloop, serving, until, user
from tests.test_asyncapi import references

ALL = [(path, method, ROUTES[path][method]) for path in ROUTES for method in ROUTES[path]]
LISTED = tuple((path, method, route.anybody) for path, method, route in ALL)
DOCUMENT: Json = json.loads(openapi.document("1.2.3", LISTED))
QUERIES = sorted(path for (path, _), each in OPERATIONS.items() if each.shape is not None)
ENDLESS = "/api/stream"


def described(path: str, method: str) -> Json:
    found: Json = DOCUMENT["paths"][shared_path(path)][method.lower()]
    return found


def parameters(path: str) -> list[Json]:
    """The documented parameters of a query in the URL."""
    found = described(path, "GET")["parameters"]
    return [each for each in found if each["in"] == "query"]


def found(part: Json) -> Json:
    """The part of the document that a `$ref` points at, or the part itself."""
    while "$ref" in part:
        place: Any = DOCUMENT
        for step in part["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        part = place
    return part


def validator(schema: Json) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def check(path: str, method: str, answer: Answer) -> None:
    """Assert that an answer is one that the document has."""
    responses = described(path, method)["responses"]
    assert str(answer.status) in responses, (path, answer.status, answer.body)
    response = found(responses[str(answer.status)])
    kind = answer.headers["content-type"].partition(";")[0]
    [content] = [each for name, each in response["content"].items() if name.startswith(kind)]
    if kind == "application/json":
        validator(content["schema"]).validate(answer.json)
    for header in response.get("headers", {}):
        if answer.status in (401, 429, 503):
            assert header.lower() in answer.headers


# The document by itself.


def test_it_is_valid_and_whole() -> None:
    # Half a second, which all workers would take where they collect the tests.
    from openapi_spec_validator import OpenAPIV31SpecValidator

    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["info"]["version"] == "1.2.3"
    assert all(found({"$ref": reference}) for reference in references(DOCUMENT))
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_schema_is_used() -> None:
    used = {reference.rpartition("/")[2] for reference in references(DOCUMENT)}
    streamed = {"Gap", "Redacted", "Counts", "TokenExpiring", "Disconnected"}
    assert {*DOCUMENT["components"]["schemas"]} - used <= streamed


def test_every_route_stands_in_it_and_no_other() -> None:
    for path, method, route in ALL:
        assert bool(described(path, method)["security"]) != route.anybody
    wanted = {(shared_path(path), method.lower()) for path, method, _ in ALL}
    assert {(path, method) for path in DOCUMENT["paths"] for method in DOCUMENT["paths"][path]} == (
        wanted
    )
    assert {*OPERATIONS} <= {(path, method) for path, method, _ in ALL}


def test_a_route_without_a_row_is_noticed() -> None:
    with pytest.raises(KeyError):
        operation("/api/new", "GET")


def test_every_file_that_is_served_is_named() -> None:
    for path, _, _ in ALL:
        shared = shared_path(path)
        if shared != path:
            [file] = described(path, "GET")["parameters"]
            assert path.removeprefix(shared.removesuffix("{file}")) in file["schema"]["enum"]


def test_operations_have_ids_of_their_own_and_words_for_people() -> None:
    operations = [each for path in DOCUMENT["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    for each in operations:
        assert each["summary"].endswith(".")
        assert all(one["description"].strip() for one in each.get("parameters", []))
    for path in QUERIES:
        own = [one for one in parameters(path) if one["name"] in ("limit", "offset", "type")]
        assert not [one for one in own if one["description"].startswith("Messages with this")]


def test_the_error_has_every_code() -> None:
    code = DOCUMENT["components"]["schemas"]["Error"]["properties"]["error_code"]
    assert code["enum"] == [*CODES]


def test_notes_are_those_below_the_fields_of_a_class_and_its_bases() -> None:
    assert notes(Follow)["interval"] == "Seconds between two `counts`."
    assert notes(Unsubscribed)["where_ast"].startswith("Type → the expression of `where`")
    assert notes(int) == {}  # it has no source in Python


# A running server.


def sample(one: Json) -> str:
    """A value of a parameter, as a URL has it."""
    value = one.get("example", one["schema"].get("default"))
    if value is None:
        value = 1 if one["schema"].get("type") == "integer" else "x"
    return ",".join(value) if isinstance(value, list) else str(value)


ASKED = {"/api/search": [("query", "dragon")]}
"""Path → what a query cannot do without."""


def target(path: str, *pairs: tuple[str, str]) -> str:
    given = {**dict(ASKED.get(path, [])), **dict(pairs)}
    return f"{path}?{urlencode(given, quote_via=quote)}" if given else path


@pytest.mark.parametrize("path", QUERIES)
@on_uvloop
async def test_every_parameter_is_taken_and_others_are_refused(path: str, tmp_path: Path) -> None:
    settings: Json = {"jwt_secret": SECRET, "store": str(tmp_path / "live.db"), "limits": False}
    async with serving(**settings) as house:
        for message in SAMPLES:
            await house.server.publish(message)
        http = await house.http()
        bearer = f"Bearer {token('u1', 'read presence replicate')}"
        method = "HEAD" if path == ENDLESS else "GET"
        named = [one["name"] for one in parameters(path)]
        assert len(named) == len({*named}) > 0
        for one in parameters(path):
            asked = target(path, (one["name"], sample(one)))
            answer = await http.ask(method, asked, Authorization=bearer)
            assert answer.status == 200, (asked, answer.body)
        for name in ("colour", "filters", "request_id", "action", "follow"):
            answer = await http.ask("GET", target(path, (name, "x")), Authorization=bearer)
            assert (answer.status, answer.json["details"]["field"]) == (400, name)
            assert answer.json["details"]["allowed"] == named
            check(path, "GET", answer)


@pytest.mark.parametrize("path", QUERIES)
@on_uvloop
async def test_bounds_of_parameters_are_those_of_the_server(path: str, tmp_path: Path) -> None:
    settings: Json = {"jwt_secret": SECRET, "store": str(tmp_path / "live.db"), "limits": False}
    async with serving(**settings) as house:
        http = await house.http()
        bearer = f"Bearer {token('u1', 'read presence replicate')}"
        for one in parameters(path):
            for wrong in beyond(one["schema"]):
                asked = target(path, (one["name"], wrong))
                answer = await http.ask("GET", asked, Authorization=bearer)
                assert answer.status == 400, (asked, answer.body)
                check(path, "GET", answer)


def beyond(schema: Json) -> list[str]:
    """Values just outside of the bounds of a schema."""
    values = [str(schema["minimum"] - 1)] if "minimum" in schema else []
    values += [str(schema["maximum"] + 1)] if "maximum" in schema else []
    values += [str(schema["exclusiveMaximum"])] if "exclusiveMaximum" in schema else []
    values += ["x" * (schema["maxLength"] + 1)] if "maxLength" in schema else []
    values += ["usr"] if schema.get("type") == "array" else []
    values += ["x"] if schema.get("type") == "integer" else []
    return values + ([""] if schema.get("minLength") else [])


@on_uvloop
async def test_answers_and_refusals_are_those_of_the_document(tmp_path: Path) -> None:
    settings: Json = {"jwt_secret": SECRET, "store": str(tmp_path / "live.db")}
    async with serving(**settings, limits=False) as house:
        http = await house.http()
        key = f"Bearer {token('u1', 'admin replicate')}"
        await until(lambda: not house.context.log.unready, "the store is read")
        body = json.dumps(SAMPLES)
        answers = [
            (
                "/api/messages",
                "POST",
                await http.ask("POST", "/api/messages", body, Authorization=key),
            ),
        ]
        for path, method, route in ALL:
            if path in ("/ws/live-log", ENDLESS, "/metrics") or method == "POST":
                continue
            more = [("before", "9007199254740991")] if path.endswith("/acts") else []
            auth = {} if route.anybody else {"Authorization": key}
            answers.append((path, method, await http.ask(method, target(path, *more), **auth)))
        answers.append(("/metrics", "GET", await http.ask("GET", "/metrics", Authorization=key)))
        unwanted = [(path, each.body) for path, _, each in answers if each.status not in (200, 201)]
        assert not unwanted
        for path, method, route in ALL:
            if not route.anybody:
                for headers in ({}, {"Authorization": "Bearer wrong"}, {"X_API_Key": "wrong"}):
                    refused = await http.ask(method, path, "", **headers)
                    assert refused.status == 401, path
                    answers.append((path, method, refused))
        for path, method, answer in answers:
            check(path, method, answer)


@on_uvloop
async def test_a_scope_that_is_missing_is_one_of_those_listed() -> None:
    async with serving(jwt_secret=SECRET, limits=False) as house:
        http = await house.http()
        nobody = f"Bearer {token('u1', '')}"
        for path, method, route in ALL:
            if route.anybody:
                continue
            body = json.dumps(user()) if path == "/api/messages" else ""
            more = [("type", "user")] if path in QUERIES and path != "/api/presence" else []
            answer = await http.ask(method, target(path, *more), body, Authorization=nobody)
            assert answer.status == 403, (path, answer.body)
            assert answer.json["details"]["scope"] in operation(path, method).scopes
            check(path, method, answer)


@on_uvloop
async def test_bodies_are_taken_as_described() -> None:
    async with serving() as house:
        http = await house.http()
        described_body: Json = described("/api/messages", "POST")["requestBody"]["content"]
        for number, (kind, content) in enumerate(described_body.items()):
            message = user(id=f"m{number}")
            text = json.dumps(message)
            if kind == "application/json":
                validator(content["schema"]).validate(message)
                validator(content["schema"]).validate([message])
                assert not validator(content["schema"]).is_valid({**message, "colour": "red"})
            answer = await http.ask("POST", "/api/messages", text, Content_Type=kind)
            assert answer.status == 201
            check("/api/messages", "POST", answer)
        for coding in ("gzip", "x-gzip"):
            packed = gzip.compress(json.dumps(user()).encode())
            answer = await http.ask("POST", "/api/messages", packed, Content_Encoding=coding)
            assert answer.status == 201
        [parameter] = described("/api/messages", "POST")["parameters"]
        assert parameter["schema"] == {"enum": ["gzip", "x-gzip", "deflate"]}
        for headers in ({"Content_Type": "text/plain"}, {"Content_Encoding": "br"}):
            answer = await http.ask("POST", "/api/messages", json.dumps(user()), **headers)
            assert answer.status == 415
            check("/api/messages", "POST", answer)


@on_uvloop
async def test_a_websocket_takes_the_parameters_of_its_address() -> None:
    async with serving() as house:
        house.publish("one")
        names = [one["name"] for one in parameters("/ws/live-log")]
        assert names == ["message_types", "since", "batch"]
        client = await house.client("?message_types=user,raid&since=0&batch=7")
        subscribed = await client.reply("subscribed")
        assert subscribed["message_types"] == ["user", "raid"]
        assert subscribed["batch_ms"] == 7
        for wrong in ("batch=1001", "since=-1&message_types=user", "message_types=usr"):
            refused = await (await house.client(f"?{wrong}")).reply("error")
            assert refused["details"]["field"] == wrong.partition("=")[0]


@on_uvloop
async def test_acts_take_a_seq_and_nothing_else(tmp_path: Path) -> None:
    async with serving(store=str(tmp_path / "live.db")) as house:
        http = await house.http()
        [before] = parameters("/api/log/acts")
        assert before["required"]
        assert (await asked(http, "GET", "/api/log/acts")).status == 400
        for query, status in (("before=5", 200), ("before=5&colour=red", 400), ("before=x", 400)):
            answer = await http.ask("GET", f"/api/log/acts?{query}")
            assert answer.status == status
            check("/api/log/acts", "GET", answer)


async def asked(http: Http, method: str, path: str) -> Answer:
    answer = await http.ask(method, path)
    check(path, method, answer)
    return answer


@on_uvloop
async def test_an_open_server_answers_as_described() -> None:
    async with serving(user_command_limit=3, address_command_limit=3) as house:
        http = await house.http()
        assert (await asked(http, "GET", "/ws/live-log")).status == 426
        assert (await asked(http, "GET", "/api/presence")).status == 403
        assert (await asked(http, "GET", "/api/log")).status == 403  # it has no store
        assert (await asked(http, "POST", "/api/admin/blocks")).status == 403
        health = await asked(http, "GET", "/healthz")
        assert health.json["memory"]
        statuses = [(await asked(http, "GET", "/api/history")).status for _ in range(4)]
        assert {*statuses} == {200, 429}


@on_uvloop
async def test_a_server_that_ends_is_not_ready_as_described() -> None:
    async with serving() as house:
        http = await house.http()
        house.context.ending.set()
        try:
            assert (await asked(http, "GET", "/readyz")).status == 503
            assert (await asked(http, "GET", "/healthz")).json["status"] == "draining"
            assert (await asked(http, "GET", ENDLESS)).status == 503
        finally:
            house.context.ending.clear()


@on_uvloop
async def test_the_server_serves_it() -> None:
    async with serving() as house:
        http = await house.http()
        first, again = [await http.ask("GET", "/openapi.json") for _ in range(2)]
        assert first.body == again.body
        assert {**first.json, "info": ...} == {**DOCUMENT, "info": ...}
        assert first.headers["content-type"] == "application/json"
