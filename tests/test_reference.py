"""The reference of the documentation: made from the code, and committed as it is made.

`python -m tests.test_reference` writes it anew. Tables of other pages that people have written are
held against the same tables of the code here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import pytest

from livelog.auth.principal import SCOPES
from livelog.cli.deploy import FILES
from livelog.cli.serve import TITLES
from livelog.config import OPTIONS, flag
from livelog.config.live import LIVE, shown
from livelog.errors import CODES
from livelog.net.admin.table import COMMANDS
from livelog.net.http import openapi
from livelog.net.http.errors import STATUSES
from livelog.net.http.notes import notes
from livelog.net.http.routes import ROUTES
from livelog.net.metrics import METRICS
from livelog.wire import asyncapi
from livelog.wire.admin import ADMIN
from livelog.wire.commands import AnyCommand, Filters
from livelog.wire.events import AnyEvent
from livelog.wire.messages import AnyMessage
from tests.support.process import ROOT
from tests.test_readme import PRODUCTION, PROTOCOL, table, tables

PAGE = ROOT / "livelog" / "web" / "docs" / "reference.md"
REGENERATE = "python -m tests.test_reference"
Json = dict[str, Any]

HEAD = """\
# Reference

Made from the code, not edited. A server serves the same for programs: `/openapi.json` has the paths
of HTTP, `/asyncapi.json` the commands and events of the WebSocket. What it all means stands in [the
protocol](../../wire/README.md) and [running in production](../../net/README.md).
"""

ASYNC: Json = json.loads(asyncapi.document("/ws/live-log", "1.2.3"))
OPEN: Json = json.loads(
    openapi.document(
        "1.2.3",
        tuple(
            (path, method, one.anybody) for path in ROUTES for method, one in ROUTES[path].items()
        ),
    )
)
SCHEMAS: Json = {**OPEN["components"]["schemas"], **ASYNC["components"]["schemas"]}


# Writing.


def written() -> str:
    """The page as it is to be."""
    parts = [HEAD, *options(), *commands(), *events(), *messages(), *admin(), *paths()]
    return "\n".join([*parts, *metrics(), *codes()])


def rows(names: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *cells]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def options() -> Iterator[str]:
    yield "## Options\n"
    yield (
        "Each is also a variable (`--ping-interval`: `LIVELOG_PING_INTERVAL`) and a key of the TOML"
        " file (`ping_interval`).\n`livelog config print` shows those in force.\n"
    )
    for group in dict.fromkeys(each.group for each in OPTIONS.values()):
        yield f"### {TITLES[group]}\n"
        yield rows(
            ["option", "default", "meaning"],
            [
                [
                    f"`{flag(name)} {each.metavar}".rstrip() + "`",
                    default_of(name),
                    cell(each.description) + again(name),
                ]
                for name, each in OPTIONS.items()
                if each.group == group
            ],
        )


def again(name: str) -> str:
    return " Read again on SIGHUP." if name in LIVE else ""


def default_of(name: str) -> str:
    text = shown(OPTIONS[name], None)
    return "" if text in ('""', "''") else f"`{text}`"


def kind(schema: Json) -> str:
    """A schema in words."""
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(dict.fromkeys(map(kind, schema.get("anyOf") or schema["oneOf"])))
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`".replace('"', "") for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    plain = {"string": "text", "number": "number", "null": "null"}
    name = plain.get(str(schema.get("type")), str(schema.get("type", "anything")))
    return f"{name}{bounds(schema)}"


def bounds(schema: Json) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum")
    if schema.get("type") == "string" and "maxLength" in schema:
        return f" of up to {schema['maxLength']} characters"
    if low is not None and high is not None and high < 2**53 - 1:
        return f" from {low} to {high}"
    return f" from {low}" if low is not None else ""


def fields(schema: Json, kind_of: type, *, without: Sequence[str] = ()) -> str:
    """A table of the fields of a struct."""
    properties, needed = schema["properties"], schema.get("required", [])
    encoded = dict(zip(kind_of.__struct_fields__, kind_of.__struct_encode_fields__, strict=True))  # type: ignore[attr-defined]
    said = {encoded[name]: note for name, note in notes(kind_of).items() if name in encoded}
    found = [
        [f"`{name}`", kind(one), usual(one, name in needed), cell(meaning(one, said.get(name, "")))]
        for name, one in properties.items()
        if name not in without
    ]
    return rows(["field", "kind", "default", "meaning"], found) if found else "No fields.\n"


def usual(schema: Json, needed: bool) -> str:
    if needed:
        return "required"
    return f"`{json.dumps(schema['default'])}`" if schema.get("default") not in (None, "") else ""


def meaning(schema: Json, note: str) -> str:
    return str(schema.get("description", "")) or note


def summary(kind_of: type) -> str:
    return str(SCHEMAS[kind_of.__name__].get("description", ""))


def tag(kind_of: Any) -> str:
    return str(kind_of.__struct_config__.tag)


def commands() -> Iterator[str]:
    yield "## Commands\n"
    yield "Each may carry a `request_id`, which its answer or its `error` repeats.\n"
    for each in get_args(AnyCommand):
        operation = ASYNC["operations"][tag(each)]
        answer = operation["reply"]["messages"][0]["$ref"].rpartition("/")[2]
        yield f"### {tag(each)}\n"
        yield f"{summary(each)}\n\nAnswered by [`{answer}`](#{answer}).\n"
        yield fields(SCHEMAS[each.__name__], each, without=("action", "request_id"))
    yield "### Filters\n"
    yield f"{summary(Filters)}\n"
    yield fields(SCHEMAS["Filters"], Filters)


def events() -> Iterator[str]:
    yield "## Events\n"
    for each in get_args(AnyEvent):
        yield f"### {tag(each)}\n"
        yield f"{summary(each)}\n"
        yield fields(SCHEMAS[each.__name__], each, without=("action", "request_id"))


def messages() -> Iterator[str]:
    yield "## Messages\n"
    yield "Delivered messages have all fields of their type, and `seq`.\n"
    for each in get_args(AnyMessage):
        yield f"### {tag(each)} message\n"
        yield f"{summary(each)}\n"
        yield fields(OPEN["components"]["schemas"][each.__name__], each, without=("type",))


def admin() -> Iterator[str]:
    yield "## Admin commands\n"
    for command, each in ADMIN.items():
        yield f"### admin {command}\n"
        yield f"{summary(each)} Scope: `{COMMANDS[command].scope}`.\n"
        yield fields(SCHEMAS[each.__name__], each)


def paths() -> Iterator[str]:
    yield "## HTTP\n"
    found = []
    for path, methods in OPEN["paths"].items():
        for method, one in methods.items():
            named = ", ".join(f"`{each['name']}`" for each in one.get("parameters", []))
            statuses = ", ".join(status for status in one["responses"] if status != "default")
            found.append([f"`{method.upper()} {path}`", cell(one["summary"]), named, statuses])
    yield rows(["request", "meaning", "parameters", "statuses"], found)


def metrics() -> Iterator[str]:
    yield "## Metrics\n"
    yield rows(
        ["metric", "kind", "labels", "meaning"],
        [
            [
                f"`livelog_{one.name}{'_total' if one.kind == 'counter' else ''}`",
                one.kind,
                ", ".join(f"`{label}`" for label in one.labels),
                cell(one.help),
            ]
            for one in METRICS
        ],
    )


def codes() -> Iterator[str]:
    yield "## Codes\n"
    yield "The same as `error_code`, as close code and, over HTTP, beside the status.\n"
    yield rows(
        ["code", "`error_message`", "HTTP status", "`reason` of `disconnected`"],
        [
            [str(code), one.text, str(STATUSES[code]), f"`{one.reason}`"]
            for code, one in CODES.items()
        ],
    )


# The page.


def test_the_committed_page_is_that_of_the_code() -> None:
    committed = PAGE.read_text(encoding="utf-8")
    assert committed == written(), f"the code has changed; run: {REGENERATE}"


def test_everything_has_a_row_and_a_meaning() -> None:
    text = written()
    for name, each in OPTIONS.items():
        assert f"| `{flag(name)}` |" in text or f"| `{flag(name)} {each.metavar}` |" in text
        assert each.description.endswith(".")
    for kind_of in (*get_args(AnyCommand), *get_args(AnyEvent)):
        assert f"\n### {tag(kind_of)}\n" in text
    assert all(f"\n### admin {command}\n" in text for command in ADMIN)
    assert all(f"\n| {code} |" in text for code in CODES)
    assert all(
        f"`{method} {path}`" in text or "{file}" in text
        for path in ROUTES
        for method in ROUTES[path]
    )


# Tables that people have written.


def words(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_the_scopes_are_all_explained() -> None:
    named = {word for row in table(PRODUCTION, "scope", "allows") for word in words(row["scope"])}
    assert {"read:TYPE"} | {scope for scope in SCOPES if not scope.startswith("read:")} == named


def test_the_filters_are_all_explained() -> None:
    rows = table(PROTOCOL, "filter", "a message matches if")
    assert {word for row in rows for word in words(row["filter"])} == {*Filters.__struct_fields__}


def test_the_admin_commands_have_their_scope_and_fields() -> None:
    rows = {words(row["command"])[0]: row for row in table(PROTOCOL, "command", "scope", "fields")}
    assert rows.keys() == ADMIN.keys()
    for command, row in rows.items():
        assert words(row["scope"]) == [COMMANDS[command].scope]
        values = {"since", "behind", "bytes_sent", "info", "debug", "warning", "error"}
        assert {*words(row["fields"])} - values == {*ADMIN[command].__struct_fields__}, command


def test_the_paths_are_all_explained() -> None:
    explained = " ".join(row["request"] for row in table(PROTOCOL, "request", "answer"))
    found = {word.partition("?")[0] for word in words(explained)}
    shared = {
        f"{method} {path}".replace(path.rpartition("/")[2], "COMMAND")
        if path.startswith("/api/admin/")
        else f"{method} {path}"
        for path in ROUTES
        for method in ROUTES[path]
        if not path.startswith(("/client/", "/viewer/", "/ws/"))
    }
    assert found == shared


def test_the_files_to_deploy_are_all_explained() -> None:
    rows = table(PRODUCTION, "name", "file", "values")
    listed = {name: words(row["values"]) for row in rows for name in words(row["name"])}
    assert listed.keys() == FILES.keys()
    for name, values in listed.items():
        taken = {f"--{value}" for value in FILES[name][2]}
        alone = [row for row in rows if words(row["name"]) == [name]]
        assert {*values} == taken if alone else taken <= {*values}, name


def test_the_codes_are_all_explained() -> None:
    rows = table(PROTOCOL, "`error_code`", "meaning", "HTTP status")
    named = {int(code) for row in rows for code in re.findall(r"\d+", row["`error_code`"])}
    assert named == {*CODES} - {1000, 1006}  # the first is no error, the second never sent


def stated() -> Iterator[tuple[str, str]]:
    """Options and the numbers that the page gives for their defaults."""
    for found in tables(PRODUCTION):
        column = "option" if "option" in found.names else "setting"
        if not {column, "default"} <= {*found.names}:
            continue
        for row in found.rows:
            flags, values = words(row[column]), row["default"].split(", ")
            if len(flags) == len(values):
                yield from zip(flags, values, strict=True)


DEFAULTS = [
    (option, text) for option, text in stated() if re.match(r"\d", text) and "host" not in option
]


def test_defaults_are_stated() -> None:
    assert len(DEFAULTS) >= 20


@pytest.mark.parametrize(("option", "text"), DEFAULTS)
def test_a_default_is_that_of_the_code(option: str, text: str) -> None:
    digits = re.match(r"[\d. ]+", text)
    assert digits is not None
    scale = {"KiB": 2**10, "MiB": 2**20}.get(text[digits.end() :].strip(), 1)
    wanted = OPTIONS[option.removeprefix("--").replace("-", "_")].default
    assert float(digits[0].replace(" ", "")) * scale == float(wanted)


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
