"""The rules of axe, a checker of accessibility, on the states of the viewer, in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.browser import Host, Look, Viewer
from tests.support.follower import npm_install
from tests.support.identity import token
from tests.support.wire import SAMPLES, user

pytestmark = [pytest.mark.browser, pytest.mark.node]

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
    "counts": click(".row .summary", "#values .handle", "#menu button:nth-of-type(3)", "#close"),
    "suggestions": lambda viewer: viewer.page.locator("#search").press_sequentially(" cha"),
    "filters": press("f"),
    "histogram": press("h"),
    "display": click("#display"),
    "views": press("v"),
    "publisher": press("n"),
    "shortcuts": press("?"),
    "a pause": press("p"),
    "an open server": press("o"),
}


def reach(selector: str, *keys: str) -> Callable[[Viewer], None]:
    """Make a state by keys, in which an element is in sight, and put the pointer there: an act that
    waits is not sent then.
    """

    def act(viewer: Viewer) -> None:
        press(*keys)(viewer)
        viewer.page.locator(selector).first.hover()

    return act


def fail(viewer: Viewer) -> None:
    """Disconnect a user who has no connection."""
    reach("#acts .failed", "k", "m", "End", "Enter", "Enter")(viewer)
    viewer.faults.clear()  # the browser's own word about the status 404


def choose_user(viewer: Viewer) -> None:
    """Open the menu of the id of a user."""
    press("k")(viewer)
    viewer.page.locator("#values .handle", has_text="u1").click()
    viewer.page.locator("#menu hr").wait_for(state="attached")


def count(viewer: Viewer) -> None:
    """Count what an expression finds."""
    press("m", "Enter")(viewer)
    viewer.page.locator("#redacting-where").press("Enter")
    viewer.until("!document.getElementById('redacting-confirm').disabled")


MODERATED: dict[str, Callable[[Viewer], None]] = {
    "the menu of a message": reach("#menu button:nth-of-type(3)", "k", "m"),
    "the menu of a user's id": choose_user,
    "the menu without a message": reach("#menu button:nth-of-type(3)", "m"),
    "a block": reach("#act-duration", "k", "m", "ArrowDown", "Enter"),
    "an act that waits": reach("#acts button", "k", "m", "Enter", "Enter"),
    "an act that has failed": fail,
    "a redaction by expression": count,
    "the audit log": reach("#audit-acts-list li", "a"),
    "blocks": reach("#audit-blocks-list li button", "m", "End", "Enter"),
    "users on line": reach("#online-list li", "o"),
}
DESK = {"viewport": {"width": 1280, "height": 720}}
PHONE = {"viewport": {"width": 390, "height": 740}, "is_mobile": True, "has_touch": True}
KINDS: dict[str, dict[str, object]] = {
    "light": {**DESK, "color_scheme": "light"},
    "dark": {**DESK, "color_scheme": "dark"},
    "phone": {**PHONE, "color_scheme": "light"},
}
Begin = Callable[[], Viewer]


def violations_of(
    states: dict[str, Callable[[Viewer], None]], begin: Begin, axe: str, kind: str
) -> dict[str, list[str]]:
    """The rules that are violated, by the state; `begin` opens the viewer."""
    found = {}
    for name, act in states.items():
        viewer = begin()
        act(viewer)
        viewer.page.wait_for_timeout(100)
        viewer.page.evaluate(axe)
        # In the dark the colours alone are others.
        violations = viewer.page.evaluate(RULES, ["color-contrast"] if kind == "dark" else None)
        if violations:
            found[name] = violations
        viewer.page.context.close()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_no_rule_of_accessibility_is_violated(host: Host, look: Look, axe: str, kind: str) -> None:
    host.publish(*SAMPLES, user("see https://a.test/", metadata={"level": 4}))

    def begin() -> Viewer:
        viewer = look(host, "?q=-channel:none", **KINDS[kind])
        viewer.until_row("conquest complete")
        return viewer

    assert violations_of(STATES, begin, axe, kind) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_nor_is_one_by_moderation(guarded: Host, look: Look, axe: str, kind: str) -> None:
    guarded.post("api/messages", [user("hello"), *SAMPLES[4:]], token("game", "publish:any"))
    moderator = token("mod", "read moderate presence")
    for block in ({"user_id": "u7", "reason": "insults"}, {"address": "192.0.2.0/24"}):
        guarded.post("api/admin/block", block, moderator)

    def begin() -> Viewer:
        viewer = look(guarded, "?q=hello", token=moderator, **KINDS[kind])
        viewer.until_row("hello")
        viewer.until("!document.getElementById('moderate').hidden")
        return viewer

    assert violations_of(MODERATED, begin, axe, kind) == {}
