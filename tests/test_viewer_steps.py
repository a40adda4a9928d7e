"""Panels of the viewer: Back and Escape close them, and the focus returns, in a real Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import Host, Look, Viewer
from tests.support.identity import token
from tests.support.wire import user

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Page

MODERATOR = token("mod", "read moderate presence publish:any")
PHONE = {"viewport": {"width": 390, "height": 740}, "is_mobile": True, "has_touch": True}
KINDS: dict[str, dict[str, Any]] = {"desk": {}, "phone": PHONE}
OPENERS = {"more": "#filters", "online": "#online-count", "audit": "#moderate"}
"""Panel → the button that it is opened by, if it is not a row's."""


def opened(viewer: Viewer, panel: str) -> None:
    """Open a panel as its reader does."""
    page = viewer.page
    if panel in ("more", "online"):
        page.locator(OPENERS[panel]).click()
    elif panel == "audit":
        page.locator("#moderate").click()
        page.get_by_role("menuitem", name="Blocks").click()
    else:
        page.locator(".row .summary").first.click()
    if panel == "counts":
        page.locator("#values .handle").first.click()
        page.get_by_role("menuitem", name="Count by").click()
    page.locator(f"#{panel}").wait_for()


def until_closed(viewer: Viewer, panel: str) -> None:
    viewer.until("id => !document.getElementById(id).checkVisibility()", panel)


def focused(page: Page) -> str:
    found: str = page.evaluate("document.activeElement.id || document.activeElement.textContent")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_back_and_escape_close_a_panel_and_the_focus_returns(
    guarded: Host, look: Look, kind: str
) -> None:
    guarded.post("api/messages", [user("red"), user("blue")], MODERATOR)
    viewer = look(guarded, token=MODERATOR, **KINDS[kind])
    for panel in ("details", "counts", "audit", "online", "more"):
        viewer.open_anew(guarded.url)
        back_and_escape_close(viewer, panel)


def back_and_escape_close(viewer: Viewer, panel: str) -> None:
    """Open and close a panel both ways, in a view that has been narrowed."""
    page = viewer.page
    page.locator("#search").fill("red")
    viewer.until("document.querySelectorAll('.row').length === 1")
    viewer.until("location.search === '?q=red'")
    viewer.until("!document.getElementById('moderate').hidden")
    before = page.evaluate("history.length")
    home = {"counts": "user", "details": "rows"}.get(panel) or OPENERS[panel].removeprefix("#")
    for close in (page.go_back, lambda: page.keyboard.press("Escape")):
        opened(viewer, panel)
        close()
        until_closed(viewer, panel)
        viewer.until("location.search + location.hash === '?q=red'")
        assert focused(page) == home
        if panel == "counts":
            assert page.locator("#details").is_visible()
            page.keyboard.press("Escape")
            until_closed(viewer, "details")
    assert page.evaluate("history.length") <= before + 2  # what was closed can be opened by Forward
    assert page.evaluate("history.state?.panel ?? null") is None


def test_back_closes_a_panel_and_keeps_what_the_view_has_become(host: Host, look: Look) -> None:
    host.publish(user("one", metadata={"channel": "a"}), user("two", metadata={"channel": "b"}))
    viewer = look(host, **PHONE)
    viewer.until_row("two")
    viewer.page.locator("#filters").tap()
    viewer.page.locator("#fields input").nth(2).fill("a")
    viewer.until("document.querySelectorAll('.row').length === 1")
    viewer.page.go_back()
    until_closed(viewer, "more")
    viewer.until("location.search === '?channel=a'")
    viewer.until_rows(["one"])
    viewer.page.locator(".row .summary").tap()
    viewer.page.locator("#context").tap()
    viewer.until("document.querySelectorAll('.row').length === 2")
    viewer.page.go_back()  # to the view before, in one step
    viewer.until("location.search === '?channel=a'")
    viewer.until("document.querySelectorAll('.row').length === 1")


def test_panels_are_closed_one_by_one_from_the_last(guarded: Host, look: Look) -> None:
    guarded.post("api/messages", [user("red")], MODERATOR)
    viewer = look(guarded, token=MODERATOR)
    viewer.until_row("red")
    viewer.until("!document.getElementById('moderate').hidden")
    for key in ("k", "a", "o"):
        viewer.page.keyboard.press(key)
    viewer.page.locator("#online").wait_for()
    viewer.page.go_back()
    until_closed(viewer, "online")
    assert viewer.page.locator("#audit").is_visible()
    viewer.page.keyboard.press("Escape")
    until_closed(viewer, "audit")
    viewer.until("location.hash === ''")
    assert viewer.page.locator("#details").is_visible()
    viewer.page.go_back()
    until_closed(viewer, "details")
    assert viewer.page.url == guarded.url
