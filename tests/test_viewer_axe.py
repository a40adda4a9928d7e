"""The rules of axe, a checker of accessibility, on the states of the viewer, in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import Host, Look, Viewer, hosting
from tests.support.follower import npm_install
from tests.support.identity import SECRET, token
from tests.support.wire import SAMPLES, user

pytestmark = [pytest.mark.browser, pytest.mark.node]

if TYPE_CHECKING:
    from playwright.sync_api import Browser

RULES = """async (only) => {
  const options = { resultTypes: ['violations'], ...(only && { runOnly: only }) };
  const { violations } = await axe.run(document, options);
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}"""


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The checker's source."""
    place: Path = npm_install(tmp_path_factory.mktemp("axe"), "axe-core@4")
    return (place / "node_modules/axe-core/axe.min.js").read_text()


def press(*keys: str) -> Callable[[Viewer], None]:
    """Make a state by pressing keys."""

    def act(viewer: Viewer) -> None:
        for key in keys:
            viewer.page.keyboard.press(key)

    return act


def click(*selectors: str) -> Callable[[Viewer], None]:
    """Make a state by clicks."""

    def act(viewer: Viewer) -> None:
        for selector in selectors:
            viewer.page.locator(selector).first.click()

    return act


STATES: dict[str, Callable[[Viewer], None]] = {
    "rows": press(),
    "a message": press("k"),
    "its JSON": click(".row .summary", "#raw"),
    "the menu of a value": click(".row .summary", "#values .handle"),
    "counts": click(".row .summary", "#values .handle", "#menu button:nth-of-type(3)"),
    "suggestions": lambda viewer: viewer.page.locator("#search").press_sequentially(" cha"),
    "filters": press("f"),
    "histogram": press("h"),
    "columns": lambda viewer: viewer.open(f"{viewer.page.url}&column=channel&column=username"),
    "the choice of columns": press("t"),
    "display": click("#display"),
    "views": press("v"),
    "publisher": press("n"),
    "shortcuts": press("?"),
    "a pause": press("p"),
    "an open server": press("o"),
}
DESK = {"viewport": {"width": 1280, "height": 720}}
PHONE = {"viewport": {"width": 390, "height": 740}, "is_mobile": True, "has_touch": True}
KINDS: dict[str, dict[str, Any]] = {
    "light": {**DESK, "color_scheme": "light"},
    "dark": {**DESK, "color_scheme": "dark"},
    "phone": {**PHONE, "color_scheme": "light"},
}


def rules(viewer: Viewer, axe: str, only: list[str] | None) -> list[str]:
    """The violations on the page."""
    viewer.page.evaluate(axe)
    found: list[str] = viewer.page.evaluate(RULES, only)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_login_and_the_account_violate_none(browser: Browser, axe: str, kind: str) -> None:
    with hosting("--store", "memory", "--jwt-secret", SECRET) as host:
        context = browser.new_context(**KINDS[kind])
        viewer = Viewer(context.new_page())
        viewer.page.goto(host.url)
        viewer.page.locator("#token").wait_for()
        viewer.page.evaluate(axe)
        assert viewer.page.evaluate(RULES, None) == []
        viewer.page.locator("#token").fill(token("u1", "read"))
        viewer.page.locator("#login-form button").click()
        viewer.until_connection("Connected")
        viewer.page.locator("#account").click()
        viewer.page.evaluate(axe)
        assert viewer.page.evaluate(RULES, None) == []
        context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_no_rule_of_accessibility_is_violated(host: Host, look: Look, axe: str, kind: str) -> None:
    host.publish(*SAMPLES, user("see https://a.test/", metadata={"level": 4}))
    found = {}
    for name, reach in STATES.items():
        viewer = look(host, "?q=-channel:none", **KINDS[kind])
        viewer.until_row("conquest complete")
        reach(viewer)
        viewer.page.wait_for_timeout(100)
        # In the dark the colours alone are others.
        violations = rules(viewer, axe, ["color-contrast"] if kind == "dark" else None)
        if violations:
            found[name] = violations
        viewer.page.context.close()
    assert found == {}


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_of_views_side_by_side_violates_no_rule(
    host: Host, look: Look, axe: str, kind: str
) -> None:
    viewer = look(host, **KINDS[kind])
    viewer.page.goto(f"{host.url}viewer/panes.html#pane=%3Fq%3Done&pane=")
    viewer.until("document.querySelectorAll('.title')[0]?.placeholder === 'one'")
    assert rules(viewer, axe, None) == []
