"""The viewer under a finger, which needs targets of 44 pixels, and in colours that the system
forces, where nothing may be told by a ground alone; in a real Chromium.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.browser import Host, Look, Viewer
from tests.support.states import State, faulty, press, show_columns, suggest, tap
from tests.support.wire import SAMPLES, user

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 740}, "is_mobile": True, "has_touch": True}
TABLET = {"viewport": {"width": 1024, "height": 768}, "is_mobile": True, "has_touch": True}

# A link in a text and the box inside of a label are no targets of their own.
SMALL = """() => [...document.querySelectorAll(
    'button, input, select, textarea, a, .toggle, .row, [role=button], [role=separator], ' +
    '[role=option]')]
  .filter((target) => target.checkVisibility() && !target.matches('.toggle input, dd a'))
  .filter((target) => !document.querySelector('dialog[open]') || target.closest('dialog[open]'))
  .map((target) => [target, target.getBoundingClientRect()])
  .filter(([, { width, height }]) => width < 43.5 || height < 43.5)
  .map(([target]) => target.id || target.className || target.textContent)"""


STATES: dict[str, State] = {
    "rows": (tap(), ".row"),
    "filters": (tap("#filters"), "#more"),
    "a message": (tap(".row .summary"), "#values dd"),
    "the menu of a value": (tap(".row .summary", "#values .handle"), "#menu button"),
    "counts": (
        tap(".row .summary", "#values .handle", "#menu button:nth-of-type(3)"),
        "#counts-values li",
    ),
    "columns": (show_columns, ".row .cell"),
    "the choice of columns": (press("t"), "#columns-dialog"),
    "suggestions": (suggest, "#suggestions li"),
    "histogram": (press("h"), "#bars"),
    "display": (tap("#display"), "#settings"),
    "views": (press("v"), "#views-dialog"),
    "publisher": (press("n"), "#message"),
    "shortcuts": (press("?"), "#shortcuts"),
}


def small_targets(viewer: Viewer) -> list[str]:
    """The targets that a finger may miss."""
    found: list[str] = viewer.page.evaluate(SMALL)
    return found


@pytest.mark.parametrize("kind", [PHONE, TABLET], ids=["phone", "tablet"])
def test_all_that_can_be_touched_is_44_pixels_wide_and_high(
    host: Host, look: Look, kind: dict[str, Any]
) -> None:
    host.publish(*SAMPLES, user("see https://a.test/", metadata={"level": 4}))
    viewer = look(host, "?q=-channel:none", **kind)

    def ready(viewer: Viewer) -> None:
        viewer.until_row("conquest complete")

    assert faulty(viewer, STATES, ready, small_targets) == {}


@pytest.mark.parametrize("kind", [PHONE, TABLET], ids=["phone", "tablet"])
def test_views_side_by_side_can_be_touched(host: Host, look: Look, kind: dict[str, Any]) -> None:
    viewer = look(host, **kind)
    viewer.page.goto(f"{host.url}viewer/panes.html#pane=&pane=")
    viewer.page.locator(".pane .title").first.wait_for()
    viewer.until("document.querySelectorAll('iframe').length === 2")
    assert small_targets(viewer) == []


LOOK = """(selector) => {
  const { outlineStyle, borderTopStyle, borderTopColor, borderTopWidth, color, backgroundColor } =
    getComputedStyle(document.querySelector(selector));
  const border = borderTopStyle + borderTopColor + borderTopWidth;
  return { outline: outlineStyle, border, color, ground: backgroundColor };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_forced_colours_leave_nothing_told_by_a_ground_alone(
    host: Host, look: Look, scheme: str
) -> None:
    worst = {**SAMPLES[1], "id": "worst", "severity": "critical"}
    host.publish(*SAMPLES, worst, user("a dragon"))
    viewer = look(host, "?types=user,system", forced_colors="active", color_scheme=scheme)
    viewer.until_row("a dragon")

    def shown(selector: str) -> dict[str, str]:
        found: dict[str, str] = viewer.page.evaluate(LOOK, selector)
        return found

    assert viewer.page.evaluate("matchMedia('(forced-colors: active)').matches")
    # The selected row, a pressed button, a chosen type: each has an outline that others lack.
    viewer.page.keyboard.press("k")
    assert shown(".row[aria-selected=true]")["outline"] == "solid"
    assert shown(".row[aria-selected=false]")["outline"] == "none"
    viewer.page.keyboard.press("p")
    assert shown("#pause")["outline"] == "solid"
    assert shown("#publish")["outline"] == "none"
    assert shown(".toggle.user")["outline"] == "solid"
    assert shown(".toggle.raid")["outline"] == "none"
    # The worst severity has another border than the others; all buttons keep theirs.
    assert shown(".badge.worst")["border"] != shown(".badge.calm")["border"]
    assert shown("#publish")["border"].startswith("solid")
    # The light keeps its colour, which tells the connection's state beside the words.
    assert shown("#light")["ground"] not in (shown("body")["ground"], "rgba(0, 0, 0, 0)")
    viewer.page.keyboard.press("Escape")
    viewer.page.locator("#search").fill("dragon")
    viewer.until("document.querySelector('.row mark')")
    mark = shown(".row mark")
    assert mark["ground"] != shown("body")["ground"]
    # Bars of the histogram are drawn, in colours that differ from the ground.
    viewer.page.keyboard.press("Escape")
    viewer.page.keyboard.press("h")
    viewer.until("document.getElementById('bars-label').textContent.includes('in a bar')")
    painted = viewer.page.evaluate(
        """() => {
          const bars = document.getElementById('bars');
          const { data } = bars.getContext('2d').getImageData(0, 0, bars.width, bars.height);
          return new Set(new Uint32Array(data.buffer)).size;
        }"""
    )
    assert painted > 1
    # A view side by side that is the active one has an outline.
    viewer.page.goto(f"{host.url}viewer/panes.html#pane=&pane=")
    viewer.page.locator("iframe").nth(1).wait_for()
    assert shown(".pane.active .bar")["outline"] == "solid"
    assert shown(".pane:not(.active) .bar")["outline"] == "none"
