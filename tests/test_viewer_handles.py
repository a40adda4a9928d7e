"""Values as handles in the viewer: their menu, the chips over the rows, the counts, faults of
expressions, and the details of a message, in a real Chromium.
"""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from livelog.index.where import fields
from livelog.index.where.expression import And, Equals, Not
from livelog.index.where.leaves import equals
from livelog.index.where.parser import parse
from tests.support.browser import ROOT, Host, Look, Viewer
from tests.support.follower import NODE
from tests.support.wire import SAMPLES, user

browsing = pytest.mark.browser
EXPRESSION = ROOT / "livelog/web/viewer/expression.js"


def in_node(script: str, argument: object) -> object:
    """Run a function of the module `expression.js` over an argument."""
    if NODE is None:
        pytest.skip("Node is not installed")
    source = (
        f"import * as expression from {json.dumps(str(EXPRESSION))};"
        f"console.log(JSON.stringify(({script})({json.dumps(argument)})))"
    )
    command = [NODE, "--input-type=module", "--eval", source]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def test_the_page_knows_the_fields_that_expressions_can_name() -> None:
    names = in_node("() => [...expression.NAMES, ...expression.ROOTS]", None)
    assert isinstance(names, list)
    assert sorted(names) == sorted({*fields.NAMES, *fields.ROOTS})


VALUES = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=40)


@settings(max_examples=10)
@given(VALUES)
@example(
    [
        '"',
        "\\",
        "a b",
        "-x",
        "OR",
        "(",
        ")",
        "50",
        "true",
        "TRUE",
        "fal\u017fe",
        "a*",
        "„“",
        "x,y",
        "1..2",
        "x",
    ]
)
def test_the_condition_of_a_value_means_that_value(values: list[str]) -> None:
    asked = [json.dumps(value) for value in values]
    made = in_node(
        """(values) => values.map((json) => [
            expression.condition("channel", json),
            expression.including("red OR gate", expression.condition("channel", json)),
            expression.opposing("red", "red") + " " +
              expression.negation(expression.condition("channel", json)),
        ])""",
        asked,
    )
    assert isinstance(made, list)
    for value, (alone, added, negated) in zip(values, made, strict=True):
        wanted = equals("channel", value, 0)
        assert parse(alone, 0) == wanted
        both = parse(added, 0)
        assert isinstance(both, And)
        assert wanted in both.items
        none = parse(negated, 0)
        assert isinstance(none, And)
        assert Not(wanted) in none.items
    assert isinstance(wanted, Equals)


def choose(viewer: Viewer, words: str) -> None:
    """Choose an item of the menu that is open."""
    viewer.page.locator("#menu").get_by_role("menuitem", name=words).click()


@browsing
def test_a_click_on_a_name_or_a_badge_narrows_the_view(host: Host, look: Look) -> None:
    trade, pit = {"channel": "trade"}, {"channel": 'the "pit"'}
    host.publish(
        user("one", metadata=trade), user("two", metadata=pit), user("three", username="Ann B")
    )
    viewer = look(host)
    viewer.until_row("three")
    viewer.page.locator(".badge", has_text="pit").click()
    assert viewer.text("#menu .value") == 'channel: the "pit"'
    choose(viewer, "Not this")
    viewer.until("document.querySelectorAll('.row').length === 2")
    assert viewer.page.locator("#search").input_value() == '-channel:"the \\"pit\\""'
    host.publish(user("four", metadata=pit), user("five", metadata=trade))
    viewer.until_row("five")
    viewer.until_rows(["one", "three", "five"])
    assert viewer.page.locator("#details").is_hidden()
    viewer.page.get_by_text("Ann B").click()
    choose(viewer, "Only this")
    viewer.until("document.querySelectorAll('.row').length === 1")
    assert viewer.page.locator(".chip").all_inner_texts() == [
        'not channel:"the \\"pit\\""\n✕',
        'username:"Ann B"\n✕',
    ]
    viewer.page.go_back()
    viewer.until("document.querySelectorAll('.row').length === 3")


@browsing
def test_a_chip_is_negated_and_removed(host: Host, look: Look) -> None:
    host.publish(*[user(f"{n}", metadata={"channel": f"c{n}"}) for n in range(3)])
    viewer = look(host, "?q=channel:c1&types=user")
    viewer.until("document.querySelectorAll('.row').length === 1")
    viewer.page.get_by_role("button", name="Leave these out: channel:c1").click()
    viewer.until("document.querySelectorAll('.row').length === 2")
    viewer.until_rows(["0", "2"])
    viewer.page.get_by_role("button", name="Remove: not channel:c1").click()
    viewer.until("document.querySelectorAll('.row').length === 3")
    assert viewer.page.locator(".chip").all_inner_texts() == ["type: user\n✕"]
    viewer.page.get_by_role("button", name="Remove: type: user").click()
    viewer.until("document.getElementById('chips').hidden")


@browsing
def test_counts_by_a_field_follow_the_view(host: Host, look: Look) -> None:
    channels = ["general"] * 3 + ["trade"] * 2 + ["<b>pit</b>"]
    host.publish(*[user(f"{n}", metadata={"channel": c}) for n, c in enumerate(channels)], "none")
    viewer = look(host)
    viewer.until_row("none")
    viewer.page.locator(".badge", has_text="trade").first.click()
    choose(viewer, "Count by channel")
    viewer.until("document.querySelectorAll('#counts-values li').length === 3")
    shown = viewer.page.locator("#counts-values li").all_inner_texts()
    assert [line.split() for line in shown] == [
        ["general", "3"],
        ["trade", "2"],
        ["<b>pit</b>", "1"],
    ]
    assert viewer.text("#counts-state") == "7 messages · 1 without one"
    viewer.page.locator("#counts-values .handle", has_text="general").press("Enter")
    choose(viewer, "Not this")
    viewer.until("document.querySelectorAll('#counts-values li').length === 2")
    viewer.page.locator("#rows").focus()
    viewer.page.keyboard.press("Escape")
    assert viewer.page.locator("#counts").is_hidden()


@browsing
def test_counts_stand_over_the_message_that_they_were_asked_from(host: Host, look: Look) -> None:
    host.publish("hello")
    viewer = look(host)
    viewer.until_row("hello")
    press = viewer.page.keyboard.press
    press("k")
    press("Enter")
    press("Enter")
    choose(viewer, "Count by type")
    assert viewer.page.locator("#counts").is_visible()
    assert viewer.page.evaluate("document.activeElement.id") == "counts-close"
    press("Enter")
    assert viewer.page.locator("#counts").is_hidden()
    assert viewer.page.locator("#details").is_visible()
    assert viewer.page.evaluate("document.activeElement.textContent") == "user"  # the value


@browsing
def test_the_keyboard_reaches_every_value_of_a_message(host: Host, look: Look) -> None:
    host.publish(user("one", metadata={"my level": 50}), user("two", metadata={"my level": 40}))
    viewer = look(host, permissions=["clipboard-read", "clipboard-write"])
    viewer.until_row("two")
    press = viewer.page.keyboard.press
    press("k")
    press("k")
    press("Enter")
    assert viewer.page.evaluate("document.activeElement.textContent") == "user"
    viewer.page.get_by_role("button", name="50", exact=True).focus()
    press("Enter")
    assert viewer.text("#menu .value") == 'metadata."my level": 50'
    press("End")
    assert viewer.page.evaluate("document.activeElement.textContent") == "Copy"
    press("Enter")
    viewer.until("document.getElementById('notice').textContent === 'Copied.'")
    assert viewer.page.evaluate("navigator.clipboard.readText()") == "50"
    assert viewer.page.evaluate("document.activeElement.textContent") == "50"
    press("Space")
    press("Escape")
    assert viewer.page.locator("#menu").is_hidden()
    assert viewer.page.locator("#details").is_visible()
    press("Enter")
    press("Enter")
    viewer.until("document.querySelectorAll('.row').length === 1")
    assert viewer.page.locator("#search").input_value() == 'metadata."my level":50'


@browsing
def test_details_show_lines_links_and_digits(host: Host, look: Look) -> None:
    text = "first\nsee https://a.test/x?y=1, not javascript:alert(1)\n<b>last</b>"
    host.publish(user(text, metadata={"n": 1.50, "url": "javascript:alert(1)"}))
    viewer = look(host)
    viewer.until_row("first")
    viewer.page.locator(".row .summary").click()
    shown = viewer.page.locator("#values dd", has_text="first")
    assert shown.inner_text().startswith(text)
    links = viewer.page.locator("#values a")
    assert links.count() == 1
    assert links.get_attribute("href") == "https://a.test/x?y=1"
    assert links.get_attribute("rel") == "noopener noreferrer"
    assert viewer.page.locator("#values b").count() == 0
    assert viewer.page.locator("#json").is_hidden()
    viewer.page.locator("#raw").click()
    assert json.loads(viewer.text("#json"))["content"] == text
    assert viewer.page.locator("#values").is_hidden()


@browsing
def test_the_fault_of_an_expression_is_shown_at_its_place(host: Host, look: Look) -> None:
    host.publish("red")
    viewer = look(host)
    viewer.until_row("red")
    viewer.page.locator("#search").fill("red chanel:trade x")
    viewer.until("!document.getElementById('fault').hidden")
    assert viewer.text("#fault .here") == "chanel:trade"
    assert "Column 5" in viewer.text("#fault")
    assert "did you mean 'channel'" in viewer.text("#fault")
    assert viewer.page.locator("#search").get_attribute("aria-invalid") == "true"
    viewer.page.locator("#search").fill("red")
    viewer.until("document.getElementById('fault').hidden")
    assert ["400" in fault for fault in viewer.faults] == [True]
    viewer.faults.clear()


@browsing
def test_only_leaves_one_type_and_again_all(host: Host, look: Look) -> None:
    host.publish(*SAMPLES)
    viewer = look(host)
    viewer.until("document.querySelectorAll('.row').length === 6")
    viewer.page.locator(".toggle.raid").hover()
    viewer.page.get_by_role("button", name="Only raid").click()
    viewer.until("document.querySelectorAll('.row').length === 1")
    assert viewer.page.locator(".row.raid").count() == 1
    viewer.page.get_by_role("button", name="Only raid").click()
    viewer.until("document.querySelectorAll('.row').length === 6")
    viewer.page.locator(".row.dm .type").click()
    choose(viewer, "Not this")
    viewer.until("document.querySelectorAll('.row').length === 5")
    assert not viewer.page.locator(".toggle.dm input").is_checked()


@browsing
def test_fields_and_known_values_are_suggested(host: Host, look: Look) -> None:
    for channel in ("general", "the pit", "trade"):
        host.publish(user(channel, metadata={"channel": channel, "my level": 4}))
    viewer = look(host)
    viewer.until_row("trade")
    press = viewer.page.keyboard.press
    search = viewer.page.locator("#search")
    options = viewer.page.locator("#suggestions li")
    search.press_sequentially("-chan")
    viewer.until("document.querySelectorAll('#suggestions li').length === 1")
    press("ArrowDown")
    assert search.get_attribute("aria-activedescendant") == "suggestion-0"
    press("Enter")
    assert search.input_value() == "-channel:"
    viewer.until("document.querySelectorAll('#suggestions li').length === 3")
    assert sorted(options.all_inner_texts()) == ['"the pit"', "general", "trade"]
    search.press_sequentially("t")
    viewer.until("document.querySelectorAll('#suggestions li').length === 2")
    options.filter(has_text="pit").click()
    assert search.input_value() == '-channel:"the pit"'
    viewer.until("document.querySelectorAll('.row').length === 2")
    search.press_sequentially(" meta")
    viewer.until("document.querySelectorAll('.row').length === 0")
    search.press_sequentially("data.")
    viewer.until("document.querySelectorAll('#suggestions li').length === 2")
    assert sorted(options.all_inner_texts()) == ['metadata."my level":', "metadata.channel:"]
    press("Escape")
    assert viewer.page.locator("#suggestions").is_hidden()
    assert viewer.page.evaluate("document.activeElement.id") == "search"
