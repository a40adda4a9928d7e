"""The list of the viewer: columns, wrapped rows, what a search has found, counts of each type, and
selected text beside a stream, in a real Chromium.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.support.browser import Host, Look, Viewer
from tests.support.wire import SAMPLES, Json, user

pytestmark = pytest.mark.browser

CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}


def add_column(viewer: Viewer, field: str) -> None:
    """Choose a field in the dialog of columns."""
    viewer.page.keyboard.press("t")
    viewer.page.locator("#columns-name").fill(field)
    viewer.page.locator("#columns-form [type=submit]").click()
    viewer.page.locator("#columns-close").click()


def wrap(viewer: Viewer, lines: str) -> None:
    viewer.page.locator("#display").click()
    viewer.page.locator("#settings [name=lines]").select_option(lines)
    viewer.page.locator("#settings button").click()


def boxes(viewer: Viewer) -> list[tuple[str, float, float]]:
    """Text, top and bottom of the rows in the document, from top to bottom."""
    found: list[Any] = viewer.page.evaluate(
        """() => [...document.querySelectorAll('.row')]
            .map((row) => [row.querySelector('.summary').textContent, row.getBoundingClientRect()])
            .map(([text, { top, bottom }]) => [text, top, bottom])
            .sort(([, one], [, other]) => one - other)"""
    )
    return [(text, top, bottom) for text, top, bottom in found]


def test_a_field_becomes_a_column_that_the_link_and_the_browser_keep(
    host: Host, look: Look
) -> None:
    host.publish(*[user(f"line {n}", metadata={"level": 10**n, "zone": "x" * n}) for n in range(6)])
    viewer = look(host)
    viewer.until_row("line 5")
    viewer.page.locator(".row .summary").first.click()
    viewer.page.locator("#values dd", has_text="1").locator(".handle").last.click()
    viewer.page.keyboard.press("Escape")
    level = viewer.page.locator("#values dt", has_text="metadata.level")
    level.locator("+ dd .handle").click()
    viewer.page.get_by_role("menuitem", name="Show as a column").click()
    viewer.until("document.querySelectorAll('.row .cell').length === 6")
    cells = viewer.page.locator(".row .cell")
    assert cells.all_inner_texts() == ["1", "10", "100", "1000", "10000", "100000"]
    assert viewer.page.url.endswith("?column=metadata.level")
    add_column(viewer, "metadata.zone")
    viewer.until("document.querySelectorAll('.row .cell').length === 12")
    # Each column begins, and numbers end, at the same place in all rows, below its name.
    edges: list[list[float]] = viewer.page.evaluate(
        """() => [...document.querySelectorAll('#columns-head, .row')].map((row) =>
            [...row.querySelectorAll('.cell')].flatMap((cell) => {
              const { left, right } = cell.getBoundingClientRect();
              return [left, right];
            }))"""
    )
    assert len(edges) == 7
    assert all(edge == pytest.approx(edges[0], abs=0.5) for edge in edges), edges
    other = look(host, "?column=metadata.level")
    other.until("document.querySelectorAll('.row .cell').length === 6")
    viewer.open(host.url)
    viewer.until("document.querySelectorAll('.row .cell').length === 12")
    viewer.page.keyboard.press("t")
    viewer.page.get_by_role("button", name="Move metadata.zone to the left").click()
    viewer.page.get_by_role("button", name="Remove metadata.level").click()
    viewer.page.keyboard.press("Escape")
    assert viewer.page.locator("#columns-head .cell").all_inner_texts() == ["metadata.zone"]
    viewer.page.keyboard.press("t")
    viewer.page.locator("#columns-none").click()
    viewer.page.locator("#columns-close").click()
    assert viewer.page.locator("#columns-head").is_hidden()
    assert viewer.page.locator(".row .subject").first.inner_text() == "Ann"
    assert viewer.page.url == host.url


def test_a_column_is_made_wider_by_pointer_and_by_keys(host: Host, look: Look) -> None:
    host.publish(*[user(f"line {n}", metadata={"note": "word " * n}) for n in range(4)])
    viewer = look(host, "?column=metadata.note&column=username")
    viewer.until("document.querySelectorAll('.row .cell').length === 8")
    edge = viewer.page.get_by_role("separator", name="Width of metadata.note")
    viewer.until("document.querySelector('.edge').ariaValueNow === '16'")
    width = "document.querySelector('.row .cell').getBoundingClientRect().width"
    before = viewer.page.evaluate(width)
    edge.focus()
    viewer.page.keyboard.press("ArrowRight")
    viewer.until("document.querySelector('.edge').ariaValueNow === '17'")
    assert viewer.page.evaluate(width) == pytest.approx(before * 17 / 16, abs=0.5)
    place = edge.bounding_box()
    assert place is not None
    viewer.page.mouse.move(place["x"] + 4, place["y"] + 5)
    viewer.page.mouse.down()
    viewer.page.mouse.move(place["x"] + 4 + before, place["y"] + 5, steps=4)
    viewer.page.mouse.up()
    viewer.until("document.querySelector('.edge').ariaValueNow === '33'")
    viewer.page.reload()
    viewer.until("document.querySelector('.edge')?.ariaValueNow === '33'")
    edge.dblclick()
    viewer.until("document.querySelector('.edge').ariaValueNow === '16'")


def test_rows_with_columns_are_copied_as_a_table(host: Host, look: Look) -> None:
    host.publish(user("one", metadata={"level": 1}), "two", user("three", metadata={"level": 3}))
    viewer = look(host, "?column=metadata.level&column=username", **CLIPBOARD)
    viewer.until("document.querySelectorAll('.row').length === 3")
    viewer.page.evaluate("getSelection().selectAllChildren(document.querySelector('#rows .sheet'))")
    viewer.page.keyboard.press("Control+c")
    lines = viewer.page.evaluate("navigator.clipboard.readText()").splitlines()
    assert [line.split("\t")[1:] for line in lines] == [
        ["user", "1", "Ann", "one"],
        ["user", "", "Ann", "two"],
        ["user", "3", "Ann", "three"],
    ]


def test_a_hit_outside_of_the_line_is_shown_in_it(host: Host, look: Look) -> None:
    far = f"{'far away ' * 40}wyvern"
    raid = {
        **SAMPLES[3],
        "participants": [{**SAMPLES[3]["participants"][0], "username": "Wyverna"}],
    }
    host.publish("a wyvern in sight", far, raid, {**SAMPLES[1], "data": {"deep": {"n": "wyvern"}}})
    viewer = look(host, "?q=wyvern")
    viewer.until("document.querySelectorAll('.row').length >= 3")
    box = viewer.page.locator("#rows").bounding_box()
    assert box is not None
    marks: list[dict[str, float]] = viewer.page.evaluate(
        """() => [...document.querySelectorAll('.row')].map((row) =>
            row.querySelector('mark')?.getBoundingClientRect().toJSON() ?? null)"""
    )
    assert None not in marks
    assert all(mark["right"] < box["x"] + box["width"] for mark in marks)
    snippets = viewer.page.locator(".snippet").all_inner_texts()
    assert "participants[0].username Wyverna" in snippets
    assert viewer.page.locator(".row", has_text="in sight").locator(".snippet").count() == 0
    assert viewer.rows()[1].startswith("…")
    viewer.page.locator("#search").fill("metadata.level:>=40")
    host.publish(user("strong", metadata={"level": 42}), user("weak", metadata={"level": 4}))
    viewer.until_row("strong")
    viewer.until_rows(["metadata.level 42 strong"])


def test_rows_wrap_as_far_as_their_text_needs(host: Host, look: Look) -> None:
    long = "word " * 100
    host.publish(*[f"{n} {long if n % 3 == 0 else ''}" for n in range(300)])
    viewer = look(host)
    viewer.until_row("299 ")
    wrap(viewer, "three")
    viewer.until("[...document.querySelectorAll('.row')].some((row) => row.offsetHeight > 24)")
    viewer.until_at_rest()
    rows = boxes(viewer)
    assert {round(bottom - top) for _, top, bottom in rows} == {24, 62}
    for (_, _, bottom), (_, top, _) in pairwise(rows):
        assert top == pytest.approx(bottom)
    box = viewer.page.locator("#rows").bounding_box()
    assert box is not None
    assert rows[-1][0].startswith("299")
    assert rows[-1][2] == pytest.approx(box["y"] + box["height"], abs=1)
    # New rows push the others up; the newest stays in sight.
    host.publish(long, "the next")
    viewer.until_row("the next")
    assert viewer.rows()[-1] == "the next"
    wrap(viewer, "all")
    host.publish("\n".join(f"verse {n}" for n in range(9)))
    viewer.until_row("verse 8")
    viewer.until(
        "[...document.querySelectorAll('.row')].some((row) => row.offsetHeight === 24 + 8 * 19)"
    )
    wrap(viewer, "one")
    viewer.until("[...document.querySelectorAll('.row')].every((row) => row.offsetHeight === 24)")


def test_wrapped_rows_stay_where_they_are_while_others_are_measured_and_come(
    host: Host, look: Look
) -> None:
    long = "word " * 60
    host.publish(*[f"{n} {long if n % 2 else ''}" for n in range(900)])
    viewer = look(host)
    viewer.until_row("899 ")
    wrap(viewer, "all")
    for _ in range(12):
        viewer.scroll(-900)
        viewer.until_at_rest()
    before = boxes(viewer)
    host.publish(*[f"new {n} {long}" for n in range(40)])
    viewer.until("document.getElementById('unseen').textContent === '40 new ↓'")
    assert boxes(viewer) == before
    for (_, _, bottom), (_, top, _) in pairwise(before):
        assert top == pytest.approx(bottom)
    # A step of the wheel moves the rows in sight by as much, although rows above become known.
    middle = before[len(before) // 2]
    viewer.scroll(-120)
    viewer.until_at_rest()
    after = {text: top for text, top, _ in boxes(viewer)}
    assert after[middle[0]] == pytest.approx(middle[1] + 120, abs=2)
    # The keyboard leads to the next rows, each whole in sight.
    for _ in range(4):
        viewer.page.keyboard.press("k")
        viewer.until_at_rest()
        row = viewer.page.locator(".row[aria-selected=true]").bounding_box()
        box = viewer.page.locator("#rows").bounding_box()
        assert row is not None
        assert box is not None
        assert row["y"] >= box["y"] - 1
        assert row["y"] + row["height"] <= box["y"] + box["height"] + 1
    viewer.page.keyboard.press("End")
    viewer.until_row("new 39")


def again(*places: int) -> list[Json]:
    """Samples as new messages."""
    return [{k: v for k, v in SAMPLES[place].items() if k != "id"} for place in places]


def counts(viewer: Viewer) -> dict[str, str]:
    """The number of messages in the box of each type."""
    found: dict[str, str] = viewer.page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll('.toggle')].map((box) =>
            [box.querySelector('.name').textContent, box.querySelector('.many').textContent]))"""
    )
    return found


def until_count(viewer: Viewer, kind: str, words: str) -> None:
    viewer.until(
        "w => document.querySelector('.toggle.' + w[0] + ' .many').textContent === w[1]",
        [kind, words],
    )


def test_each_type_is_counted_also_if_it_is_not_shown(host: Host, look: Look) -> None:
    trade = {"channel": "trade"}
    host.publish(*SAMPLES, *[user(f"{n}", metadata=trade) for n in range(1199)])
    viewer = look(host)
    until_count(viewer, "user", "1,200")
    assert counts(viewer) == {"user": "1,200"} | dict.fromkeys(
        ("system", "dm", "raid", "party", "guild"), "1"
    )
    viewer.page.locator(".toggle.raid").click()
    viewer.page.locator(".toggle.dm").click()
    host.publish(*again(3, 3, 5))
    until_count(viewer, "raid", "3")
    until_count(viewer, "guild", "2")
    viewer.page.wait_for_timeout(1700)  # then the server counts the types that are left out
    host.publish(*again(3, 2))
    until_count(viewer, "raid", "4")
    until_count(viewer, "dm", "2")
    assert viewer.page.locator(".row.raid").count() == 0
    viewer.page.locator("#search").fill("channel:trade")
    until_count(viewer, "user", "1,199")
    until_count(viewer, "raid", "0")


def test_a_selection_lives_through_a_stream_and_other_widths(host: Host, look: Look) -> None:
    host.publish(*[f"line {n}" for n in range(60)])
    viewer = look(host)
    viewer.until_row("line 59")
    wrap(viewer, "two")
    viewer.until_row("line 59")
    viewer.page.evaluate(
        """() => {
          const rows = [...document.querySelectorAll('.row .summary')];
          const from = rows.find((row) => row.textContent === 'line 50');
          const to = rows.find((row) => row.textContent === 'line 53');
          getSelection().setBaseAndExtent(from.firstChild, 2, to.firstChild, 4);
        }"""
    )
    words = viewer.page.evaluate("getSelection().toString()")
    before = boxes(viewer)
    for round_ in range(5):
        host.publish(*[f"new {round_} {n}" for n in range(400)])
        viewer.until(
            "n => document.getElementById('unseen').textContent.startsWith(n)",
            f"{(round_ + 1) * 400:,} new",
        )
    viewer.page.set_viewport_size({"width": 1100, "height": 720})
    viewer.until_at_rest()
    assert viewer.page.evaluate("getSelection().toString()") == words
    shown = [text for text, _, _ in boxes(viewer)]
    assert shown[-1] in ("line 58", "line 59")
    assert len(shown) >= len(before) - 3
    # Scrolled away from, the rows of the selection stay in the document.
    viewer.scroll(-3000)
    viewer.until_at_rest()
    assert viewer.page.evaluate("getSelection().toString()") == words
    viewer.page.evaluate("getSelection().removeAllRanges()")
    viewer.page.keyboard.press("End")
    viewer.until_row("new 4 399")


SINGLE = """
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) {
  send.call(this, text.replace(',"batch":true', ""));
};
"""
"""Lets a page ask for single messages, so that new ones come with each frame."""
STREAM = """() => new Promise((resolve) => {
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws/live-log");
  const message = { type: "user", user_id: "u1", username: "Ann", content: "one more" };
  const sheet = document.querySelector(".sheet");
  let drawings = 0;
  new MutationObserver(() => { drawings += 1; }).observe(sheet, { childList: true });
  const began = performance.now();
  const frame = () => {
    socket.send(JSON.stringify({ action: "publish", message }));
    const intervals = (performance.now() - began) / 125;
    if (intervals < 16) requestAnimationFrame(frame);
    else resolve([drawings, intervals]);
  };
  socket.onopen = frame;
})"""
"""Publishes a message for each frame, for two seconds; returns how often rows were drawn, and how
often eighths of a second passed."""


def test_the_list_follows_a_stream_eight_times_a_second_and_no_more(host: Host, look: Look) -> None:
    host.publish(*[f"line {n}" for n in range(60)])
    viewer = look(host)
    viewer.until_row("line 59")
    viewer.page.add_init_script(SINGLE)
    viewer.open(host.url)
    drawings, intervals = viewer.page.evaluate(STREAM)
    assert 1 <= drawings <= 1.5 * intervals
    host.publish("the last")
    viewer.until_row("the last")
