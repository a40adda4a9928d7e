"""The rules of axe on the states of moderation and presence, in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.browser import Host, Look, Viewer
from tests.support.identity import token
from tests.support.wire import SAMPLES, user
from tests.test_viewer_axe import KINDS, RULES, press
from tests.test_viewer_axe import axe as axe

pytestmark = [pytest.mark.browser, pytest.mark.node]


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


STATES: dict[str, Callable[[Viewer], None]] = {
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


@pytest.mark.parametrize("kind", KINDS)
def test_moderation_violates_no_rule_of_accessibility(
    guarded: Host, look: Look, axe: str, kind: str
) -> None:
    guarded.post("api/messages", [user("hello"), *SAMPLES[4:]], token("game", "publish:any"))
    moderator = token("mod", "read moderate presence")
    for block in ({"user_id": "u7", "reason": "insults"}, {"address": "192.0.2.0/24"}):
        guarded.post("api/admin/block", block, moderator)
    found = {}
    for name, act in STATES.items():
        viewer = look(guarded, "?q=hello", token=moderator, **KINDS[kind])
        viewer.until_row("hello")
        viewer.until("!document.getElementById('moderate').hidden")
        act(viewer)
        viewer.page.evaluate(axe)
        # In the dark the colours alone are others.
        violations = viewer.page.evaluate(RULES, ["color-contrast"] if kind == "dark" else None)
        if violations:
            found[name] = violations
        viewer.page.context.close()
    assert found == {}
