"""The rules of axe on the states of moderation and presence, in a real Chromium."""

from __future__ import annotations

import pytest

from tests.support.browser import Host, Look, Viewer
from tests.support.identity import token
from tests.support.states import State, faulty, press
from tests.support.wire import SAMPLES, user
from tests.test_viewer_axe import KINDS, violations
from tests.test_viewer_axe import axe as axe

pytestmark = [pytest.mark.browser, pytest.mark.node]


def pointing(selector: str, *keys: str) -> State:
    """The state made by keys in which an element is in sight; the pointer is put there: an act that
    waits is not sent then.
    """

    def act(viewer: Viewer) -> None:
        press(*keys)(viewer)
        viewer.page.locator(selector).first.hover()

    return act, selector


def fail(viewer: Viewer) -> None:
    """Disconnect a user who has no connection."""
    press("k", "m", "End", "Enter", "Enter")(viewer)
    viewer.page.locator("#acts .failed").hover()
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


STATES: dict[str, State] = {
    "the menu of a message": pointing("#menu button:nth-of-type(3)", "k", "m"),
    "the menu of a user's id": (choose_user, "#menu button"),
    "the menu without a message": pointing("#menu button:nth-of-type(3)", "m"),
    "a block": pointing("#act-duration", "k", "m", "ArrowDown", "Enter"),
    "an act that waits": pointing("#acts button", "k", "m", "Enter", "Enter"),
    "an act that has failed": (fail, "#acts .failed"),
    "a redaction by expression": (count, "#redacting-confirm"),
    "the audit log": pointing("#audit-acts-list li", "a"),
    "blocks": pointing("#audit-blocks-list li button", "m", "End", "Enter"),
    "users on line": pointing("#online-list li", "o"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_moderation_violates_no_rule_of_accessibility(
    guarded: Host, look: Look, axe: str, kind: str
) -> None:
    guarded.post("api/messages", [user("hello"), *SAMPLES[4:]], token("game", "publish:any"))
    moderator = token("mod", "read moderate presence")
    for block in ({"user_id": "u7", "reason": "insults"}, {"address": "192.0.2.0/24"}):
        guarded.post("api/admin/block", block, moderator)
    viewer = look(guarded, "?q=hello", token=moderator, **KINDS[kind])

    def ready(viewer: Viewer) -> None:
        viewer.until_row("hello")
        viewer.until("!document.getElementById('moderate').hidden")

    assert faulty(viewer, STATES, ready, lambda viewer: violations(viewer, axe, kind)) == {}
