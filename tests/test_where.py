"""Expressions: a table of what is read how and what is refused where, and what always holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from livelog import wire
from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.index.analysis.values import field_named
from livelog.index.text import MAX_WORD, MAX_WORDS
from livelog.index.where import leaves
from livelog.index.where.bounds import MAX_DEPTH, MAX_EXPANDING, MAX_LEAVES, MAX_LENGTH
from livelog.index.where.canonical import canonical, text
from livelog.index.where.document import from_json, to_json
from livelog.index.where.expression import Equals, Expression, Word
from livelog.index.where.expression import leaves as conditions
from livelog.index.where.fields import NAMES, suggestion
from livelog.index.where.parser import parse
from livelog.wire.messages import encoder
from tests.support.expressions import NOW, documents, texts
from tests.support.process import ROOT

CASES = json.loads(Path(__file__).with_name("where-cases.json").read_text(encoding="utf-8"))
TAKEN = [case for case in CASES if "text" in case]
REFUSED = [case for case in CASES if "issue" in case]


def read(where: Any) -> Expression:
    return parse(where, NOW) if isinstance(where, str) else from_json(where, NOW)


def refusal(where: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        read(where)
    assert (caught.value.code, caught.value.field) == (PROTOCOL_ERROR, "filters.where")
    assert caught.value.details["allowed"]
    return caught.value


def by_where(case: dict[str, Any]) -> str:
    return json.dumps(case["where"], ensure_ascii=False)


@pytest.mark.parametrize("case", TAKEN, ids=by_where)
def test_the_table_of_what_is_taken(case: dict[str, Any]) -> None:
    node = read(case["where"])
    assert text(node) == case["text"]
    assert to_json(node) == case.get("json", to_json(node))
    assert_one_form(node)


@pytest.mark.parametrize("case", REFUSED, ids=by_where)
def test_the_table_of_what_is_refused(case: dict[str, Any]) -> None:
    error = refusal(case["where"])
    assert case["issue"] in error.issue
    place = {name: error.details.get(name) for name in ("column", "path")}
    assert place == {name: case.get(name) for name in ("column", "path")}


def test_the_examples_of_the_protocol() -> None:
    readme = Path(wire.__file__).with_name("README.md").read_text(encoding="utf-8")
    section = readme.partition("### Expressions\n")[2].partition("\n### ")[0]
    examples = re.findall(r"^\| `(.+?)` \| `(.+?)` \|", section, re.MULTILINE)
    assert [text(read(where)) for where, _ in examples] == [canonical for _, canonical in examples]
    assert len(examples) > 20


def test_the_examples_of_the_readme() -> None:
    """In each there are conditions, and not only words."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("take one [expression]")[2]
    examples = re.findall(r"^    (.+?)  ", section.partition("### ")[0], re.MULTILINE)
    assert len(examples) == 4
    for shown in examples:
        assert not all(isinstance(leaf, Word) for leaf in conditions(read(shown))), shown


def test_both_tables_are_long() -> None:
    assert len(TAKEN) > 150
    assert len(REFUSED) > 80
    assert sum("json" in case for case in TAKEN) > 20


def assert_one_form(node: Expression) -> None:
    """Assert that an expression is the same after a round in each of its forms."""
    assert canonical(node) == node
    assert parse(text(node), NOW) == node
    assert text(parse(text(node), NOW)) == text(node)
    assert from_json(json.loads(encoder.encode(to_json(node))), NOW) == node


@given(documents)
def test_json_is_read_to_one_form(document: dict[str, Any]) -> None:
    assert_one_form(from_json(document, NOW))


@given(texts)
@example("a OR -(b OR -(channel:(c OR “d”) e*))")
def test_text_is_read_to_one_form_or_refused_where_it_is_wrong(where: str) -> None:
    try:
        node = parse(where, NOW)
    except RefusedError:
        assert 1 <= refusal(where).details["column"] <= len(where) + 1
    else:
        assert_one_form(node)


@given(documents, documents, documents)
def test_order_and_grouping_do_not_matter(a: Any, b: Any, c: Any) -> None:
    for name in ("and", "or"):
        one = {name: [a, {name: [b, c]}, a]}
        other = {name: [{name: [{name: [c]}, a]}, {"not": {"not": b}}]}
        assert from_json(one, NOW) == from_json(other, NOW)


def test_one_is_not_true() -> None:
    node = parse("metadata.x:1 OR metadata.x:true", NOW)
    assert text(node) == "metadata.x:1,true"


def test_a_moment_before_now_is_fixed_on_arrival() -> None:
    node = parse("timestamp:>-15m", NOW)
    assert parse(text(node), NOW + 1000) == node
    assert parse("timestamp:>-15m", NOW + 1000) != node
    assert text(parse("timestamp:>-1s", 0.0015)) == "timestamp:>1969-12-31T23:59:59.001Z"


def deep(kinds: list[str], depth: int) -> Any:
    document: Any = {"word": "a"}
    for at in range(depth):
        kind = kinds[at % len(kinds)]
        other = {"field": "id", "eq": str(at)}
        document = {kind: document if kind == "not" else [document, other]}
    return document


@pytest.mark.parametrize(
    ("where", "column", "allowed"),
    [
        ("a" * (MAX_LENGTH + 1), MAX_LENGTH + 1, MAX_LENGTH),
        ("NOT " * 10_000 + "a", MAX_LENGTH + 1, MAX_LENGTH),
        ("NOT " * (MAX_DEPTH + 1) + "a", 4 * MAX_DEPTH + 1, MAX_DEPTH),
        ("NOT " * 400, 4 * MAX_DEPTH + 1, MAX_DEPTH),
        ("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1), MAX_DEPTH + 1, MAX_DEPTH),
        ("-(" * 500, 2 * (MAX_DEPTH // 2) + 1, MAX_DEPTH),
        ("(" * MAX_DEPTH + "channel:a,b" + ")" * MAX_DEPTH, MAX_DEPTH + 1, MAX_DEPTH),
        ("channel:" + ",".join(["a"] * (MAX_LEAVES + 1)), 9 + 2 * MAX_LEAVES, MAX_LEAVES),
        ("channel:(" + "a OR " * 390, 10 + 5 * MAX_LEAVES, MAX_LEAVES),
        ("* " * (MAX_LEAVES + 1), 2 * MAX_LEAVES + 1, MAX_LEAVES),
        ("a " * (MAX_WORDS + 1), 2 * MAX_WORDS + 1, MAX_WORDS),
        ("f(" * 900, 1, MAX_WORDS),
        ('"' + "a " * (MAX_WORDS + 1) + '"', 1, MAX_WORDS),
        ("x " + "a" * (MAX_WORD + 1), 3, MAX_WORD),
        ("\ufdfa" * (MAX_EXPANDING + 1), MAX_LENGTH + 1, MAX_EXPANDING),
    ],
)
def test_bounds_of_text(where: str, column: int, allowed: int) -> None:
    error = refusal(where)
    assert error.details["column"] == column
    assert str(allowed) in error.details["allowed"]


@pytest.mark.parametrize(
    ("document", "allowed"),
    [
        (deep(["not"], 7000), MAX_DEPTH),  # as deep as 64 KiB can be
        (deep(["and", "or"], 3000), MAX_DEPTH),
        ({"and": [{"and": []}] * 3000}, MAX_LEAVES),
        ({"and": [{"word": "a"}] * (MAX_LEAVES + 1)}, MAX_LEAVES),
        ({"or": [{"field": "id", "eq": str(n)} for n in range(MAX_LEAVES + 1)]}, MAX_LEAVES),
        ({"and": [{"word": f"w{n}"} for n in range(MAX_WORDS + 1)]}, MAX_WORDS),
        ({"phrase": "a " * (MAX_WORDS + 1)}, MAX_WORDS),
        ({"word": "a" * (MAX_WORD + 1)}, MAX_WORD),
        ({"word": "a" * (MAX_LENGTH + 1)}, MAX_LENGTH),
        ({"field": "content", "eq": '"' * (MAX_LENGTH - 20)}, MAX_LENGTH),  # each has a \ in text
        ({"and": [{"field": "id", "eq": "\ufdfa" * 40}] * 2}, MAX_EXPANDING),
    ],
)
def test_bounds_of_json(document: Any, allowed: int) -> None:
    assert str(allowed) in refusal(document).details["allowed"]


@pytest.mark.parametrize("number", [10**400, -(10**400), float("inf"), float("nan")])
@pytest.mark.parametrize("key", ["eq", "gt"])
def test_a_number_that_json_or_a_float_has_not_is_refused(key: str, number: float) -> None:
    assert "too large" in refusal({"field": "metadata.x", key: number}).issue


@pytest.mark.parametrize(
    "where",
    [
        "NOT " * MAX_DEPTH + "a",
        "(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH,
        "".join(f"a{n} OR (b{n} " for n in range(MAX_DEPTH // 2)) + "c" + ")" * (MAX_DEPTH // 2),
        " OR ".join(f"metadata.x{n}:>{n}" for n in range(MAX_LEAVES)),
        " ".join(f"w{n}" for n in range(MAX_WORDS)),
        "content:" + "a" * (MAX_LENGTH - 8),
    ],
)
def test_at_its_bounds_an_expression_is_taken_in_all_forms(where: str) -> None:
    assert_one_form(read(where))


def test_as_deep_as_json_may_be_its_text_may_be() -> None:
    levels = 2 * MAX_DEPTH + 1  # AND in OR needs no parentheses, OR in AND does
    assert_one_form(read(deep(["and", "or"], levels)))
    refusal(deep(["and", "or"], levels + 2))


def test_reading_stops_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    read_so_far: list[str] = []

    def equals_bare(field: str, value: str, now: float) -> Expression:
        read_so_far.append(value)
        return Equals(field, value)

    monkeypatch.setattr(leaves, "equals_bare", equals_bare)
    refusal("channel:" + ",".join(["a"] * 900))
    assert len(read_so_far) == MAX_LEAVES + 1


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("chanel", "channel"),
        ("CHANEL", "channel"),
        ("hcannel", "channel"),
        ("chamnel", "channel"),
        ("chnl", None),
        ("chanl", None),  # two letters of seven
        ("usrnme", "username"),
        ("userid", "user_id"),
        ("evnt", None),  # event has only five
        ("typ", None),
        ("stat", None),
        ("metdata.x.y", "metadata.x.y"),
        ("participant.user_id", "participants.user_id"),
        ("channel.x", None),
        ("dta.x", None),
        ("metadata..x", None),  # the name is right, what follows is not
        ("x" * 1000, None),
    ],
)
def test_suggestions(name: str, known: str | None) -> None:
    assert suggestion(name) == known


@pytest.mark.parametrize("rest", ["", ".x", "my level", "*", "x.." * 80])
def test_a_name_that_is_no_path_is_told_how_to_quote(rest: str) -> None:
    with pytest.raises(RefusedError) as refused:
        from_json({"field": f"metadata.{rest}", "eq": 1}, NOW)
    issue = refused.value.issue
    assert 'metadata."my level"' in issue
    assert "did you mean" not in issue
    assert len(issue) < 200
    with pytest.raises(RefusedError, match="quote"):
        field_named(f"metadata.{rest}", "group_by")


@given(st.sampled_from(NAMES), st.integers(0, 20), st.sampled_from("abcz_"))
def test_a_long_name_is_suggested_for_one_edit_of_it(name: str, at: int, letter: str) -> None:
    at = min(at, len(name) - 1)
    for edited in (
        name[:at] + letter + name[at:],
        name[:at] + letter + name[at + 1 :],
        name[:at] + name[at + 1 :],
        name[:at] + name[at + 1 : at + 2] + name[at] + name[at + 2 :],
    ):
        near = suggestion(edited)
        assert near in NAMES if len(name) >= 6 else len(near or "long enough") >= 6
