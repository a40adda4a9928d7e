"""The rules of axe, a checker of accessibility, on the states of the viewer, in a real Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import Host, Look, Viewer, hosting
from tests.support.follower import npm_install
from tests.support.identity import SECRET, token
from tests.support.states import State, click, faulty, press, show_columns, suggest
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


STATES: dict[str, State] = {
    "rows": (press(), ".row"),
    "a message": (press("k"), "#values dd"),
    "its JSON": (click(".row .summary", "#raw"), "#json"),
    "the menu of a value": (click(".row .summary", "#values .handle"), "#menu button"),
    "counts": (
        click(".row .summary", "#values .handle", "#menu button:nth-of-type(3)"),
        "#counts-values li",
    ),
    "suggestions": (suggest, "#suggestions li"),
    "filters": (press("f"), "#more"),
    "histogram": (press("h"), "#bars"),
    "columns": (show_columns, ".row .cell"),
    "the choice of columns": (press("t"), "#columns-dialog"),
    "display": (click("#display"), "#settings"),
    "views": (press("v"), "#views-dialog"),
    "publisher": (press("n"), "#message"),
    "shortcuts": (press("?"), "#shortcuts"),
    "a pause": (press("p"), "#pause[aria-pressed=true]"),
    "an open server": (press("o"), "#online-note"),
}
DESK = {"viewport": {"width": 1280, "height": 720}}
PHONE = {"viewport": {"width": 390, "height": 740}, "is_mobile": True, "has_touch": True}
KINDS: dict[str, dict[str, Any]] = {
    "desk": {**DESK, "color_scheme": "light"},
    "phone": {**PHONE, "color_scheme": "light"},
}


def violations(viewer: Viewer, axe: str, kind: str) -> list[str]:
    """The violations on the page; at the desk also those of the dark, whose colours are others."""
    page = viewer.page
    page.evaluate(axe)
    found: list[str] = page.evaluate(RULES, None)
    if kind == "desk":
        page.emulate_media(color_scheme="dark")
        found += [f"in the dark {each}" for each in page.evaluate(RULES, ["color-contrast"])]
        page.emulate_media(color_scheme="light")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_login_and_the_account_violate_none(browser: Browser, axe: str, kind: str) -> None:
    with hosting("--store", "memory", "--jwt-secret", SECRET) as host:
        context = browser.new_context(**KINDS[kind])
        viewer = Viewer(context.new_page())
        viewer.page.goto(host.url)
        viewer.page.locator("#token").wait_for()
        assert violations(viewer, axe, kind) == []
        viewer.page.locator("#token").fill(token("u1", "read"))
        viewer.page.locator("#login-form button").click()
        viewer.until_connection("Connected")
        viewer.page.locator("#account").click()
        viewer.page.locator("#account-values dd").first.wait_for()
        assert violations(viewer, axe, kind) == []
        context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_no_rule_of_accessibility_is_violated(host: Host, look: Look, axe: str, kind: str) -> None:
    host.publish(*SAMPLES, user("see https://a.test/", metadata={"level": 4}))
    viewer = look(host, "?q=-channel:none", **KINDS[kind])

    def ready(viewer: Viewer) -> None:
        viewer.until_row("conquest complete")

    assert faulty(viewer, STATES, ready, lambda viewer: violations(viewer, axe, kind)) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_of_views_side_by_side_violates_no_rule(
    host: Host, look: Look, axe: str, kind: str
) -> None:
    viewer = look(host, **KINDS[kind])
    viewer.page.goto(f"{host.url}viewer/panes.html#pane=%3Fq%3Done&pane=")
    viewer.until("document.querySelectorAll('.title')[0]?.placeholder === 'one'")
    assert violations(viewer, axe, kind) == []
