"""Views side by side: two to four viewers in frames of one page, in a real Chromium."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from tests.support.browser import Host, Look, Viewer, hosting
from tests.support.identity import SECRET, token
from tests.support.wire import PATIENCE, user

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Frame

OUT_OF_SIGHT = """(hidden) => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
NOTIFICATIONS = """() => {
  top.notified = [];
  window.Notification = class {
    static requestPermission = async () => 'granted';
    constructor(title, { body }) { top.notified.push([title, body]); }
  };
}"""
PHONE = {"viewport": {"width": 390, "height": 740}, "is_mobile": True, "has_touch": True}


def until(frame: Frame, condition: str, argument: Any = None) -> None:
    """Wait until an expression is true in a frame; with an `argument` it is a function."""
    deadline = time.monotonic() + PATIENCE
    function = condition if argument is not None else f"() => ({condition})"
    while not frame.evaluate(function, argument):
        assert time.monotonic() < deadline, f"still not: {condition} {argument or ''}"
        frame.page.wait_for_timeout(20)


def until_row(frame: Frame, words: str) -> None:
    until(
        frame,
        "w => [...document.querySelectorAll('.row')].some((l) => l.textContent.includes(w))",
        words,
    )


def frames(viewer: Viewer, many: int) -> list[Frame]:
    """The views of the page from left to right, once each is connected."""
    viewer.until("n => document.querySelectorAll('iframe').length === n", many)
    elements = viewer.page.locator("iframe").element_handles()
    found = [frame for element in elements if (frame := element.content_frame()) is not None]
    assert len(found) == many
    for frame in found:
        frame.locator("#light[data-state=connected]").wait_for(state="attached")
    return found


def beside(viewer: Viewer, host: Host, *addresses: str) -> list[Frame]:
    """Open views of these addresses side by side."""
    fragment = urlencode([("pane", address) for address in addresses])
    viewer.page.goto(f"{host.url}viewer/panes.html#{fragment}")
    return frames(viewer, len(addresses))


def titles(viewer: Viewer) -> list[str]:
    found: list[str] = viewer.page.evaluate(
        "() => [...document.querySelectorAll('.title')].map((t) => t.value || t.placeholder)"
    )
    return found


def test_each_view_has_a_connection_and_an_address_of_its_own(host: Host, look: Look) -> None:
    host.publish("red 1", "blue 1")
    viewer = look(host)
    sockets: list[str] = []
    viewer.page.on("websocket", lambda socket: sockets.append(socket.url))
    left, right = beside(viewer, host, "?q=red", "?q=blue")
    assert len(sockets) == 2
    until_row(left, "red 1")
    until_row(right, "blue 1")
    host.publish("red 2", "blue 2")
    until_row(left, "red 2")
    until_row(right, "blue 2")
    assert left.locator(".row").count() == right.locator(".row").count() == 2
    assert titles(viewer) == ["red", "blue"]
    assert viewer.page.title() == "red | blue · livelog"
    left.locator("#search").fill("blue")
    until_row(left, "blue 2")
    viewer.until("location.hash === '#pane=%3Fq%3Dblue&pane=%3Fq%3Dblue'")


def test_views_are_added_named_closed_and_brought_back_by_the_link(host: Host, look: Look) -> None:
    host.publish("red", "blue")
    viewer = look(host, "?q=red", permissions=["clipboard-read", "clipboard-write"])
    viewer.page.locator("#split").click()
    frames(viewer, 2)
    viewer.until("document.querySelectorAll('.title')[0].placeholder === 'red'")
    assert titles(viewer) == ["red", "all messages"]
    viewer.page.get_by_label("Title of view 2").fill("Everything & more")
    viewer.page.locator("#add").click()
    third = frames(viewer, 3)[2]
    third.locator("#search").fill("blue")
    until_row(third, "blue")
    viewer.until("document.querySelectorAll('.title')[2].placeholder === 'blue'")
    viewer.page.locator("#link").click()
    viewer.until("document.getElementById('said').textContent === 'Link copied.'")
    link = viewer.page.evaluate("navigator.clipboard.readText()")
    viewer.page.reload()
    frames(viewer, 3)
    viewer.until("document.querySelectorAll('.title')[2].placeholder === 'blue'")
    assert titles(viewer) == ["red", "Everything & more", "blue"]
    other = look(host)
    other.page.goto(link)
    restored = frames(other, 3)
    until_row(restored[2], "blue")
    other.until("document.querySelectorAll('.title')[2].placeholder === 'blue'")
    assert titles(other) == ["red", "Everything & more", "blue"]
    viewer.page.locator("#add").click()
    frames(viewer, 4)
    assert viewer.page.locator("#add").is_disabled()
    viewer.page.locator(".pane .close").first.click()
    frames(viewer, 3)
    assert titles(viewer)[:2] == ["Everything & more", "blue"]
    viewer.page.locator(".alone").nth(1).click()
    viewer.until_row("blue")
    assert viewer.page.url == f"{host.url}?q=blue"


def test_unread_messages_of_all_views_are_summed_in_the_title(host: Host, look: Look) -> None:
    viewer = look(host)
    both = beside(viewer, host, "?q=red", "?q=blue OR red")
    for frame in both:
        frame.evaluate(OUT_OF_SIGHT, True)
    host.publish("red", "blue", "green")
    viewer.until("document.title.startsWith('(3) red | ')")
    assert viewer.page.locator(".unread").all_inner_texts() == ["1 new", "2 new"]
    for frame in both:
        frame.evaluate(OUT_OF_SIGHT, False)
    viewer.until("document.title.startsWith('red | ')")


def test_views_side_by_side_notify_as_one_page(host: Host, look: Look) -> None:
    viewer = look(host)
    both = beside(viewer, host, "?q=red", "?q=blue OR red", "?q=green")
    for frame in (*both, viewer.page.main_frame):
        frame.evaluate(NOTIFICATIONS)
    for frame in both[:2]:
        frame.locator("#notify").click()
    for frame in (*both, viewer.page.main_frame):
        frame.evaluate(OUT_OF_SIGHT, True)
    host.publish("red", "blue", "green")
    viewer.until("document.title.startsWith('(4) ')")
    viewer.until("top.notified.length === 1")
    [[title, body]] = viewer.page.evaluate("notified")
    assert title == "3 new messages"
    assert sorted(body.split("\n")) == ["blue OR red (2): blue", "red (1): red"]
    host.publish("blue again")
    viewer.until("top.notified.length === 2")
    assert viewer.page.evaluate("notified[1]") == ["blue OR red: user · Ann", "blue again"]
    both[1].locator("#notify").click()
    viewer.page.locator(".pane .close").first.click()
    host.publish("blue and red")
    viewer.until("document.title.startsWith('(5) blue OR red | green')")
    viewer.page.wait_for_timeout(1000)
    assert len(viewer.page.evaluate("notified")) == 2


def test_keys_lead_from_view_to_view(host: Host, look: Look) -> None:
    viewer = look(host)
    left, right = beside(viewer, host, "", "")
    left.locator("#rows").click()
    viewer.until("document.querySelectorAll('.pane')[0].classList.contains('active')")
    viewer.page.keyboard.press("]")
    viewer.until("document.querySelectorAll('.pane')[1].classList.contains('active')")
    viewer.page.keyboard.press("/")
    viewer.page.keyboard.type("in the right one")
    assert right.locator("#search").input_value() == "in the right one"
    assert left.locator("#search").input_value() == ""
    viewer.page.keyboard.press("Escape")
    viewer.page.keyboard.press("]")
    viewer.until("document.querySelectorAll('.pane')[0].classList.contains('active')")
    viewer.page.keyboard.press("/")
    viewer.page.keyboard.type("left")
    assert left.locator("#search").input_value() == "left"


def test_density_is_of_one_view_and_the_theme_of_all(host: Host, look: Look) -> None:
    host.publish("one")
    viewer = look(host, color_scheme="light")
    left, right = beside(viewer, host, "", "#density=roomy")
    until_row(right, "one")
    left.locator("#display").click()
    left.locator("[name=density]").select_option("compact")
    left.locator("[name=theme]").select_option("dark")
    left.locator("#settings button").click()
    viewer.until("location.hash.includes('density%3Dcompact')")
    for frame, density in ((left, "compact"), (right, "roomy")):
        until(frame, "d => document.documentElement.dataset.density === d", density)
        until(frame, "document.getElementById('dark').media === 'all'")
    viewer.until("document.getElementById('dark').media === 'all'")
    viewer.page.reload()
    left, right = frames(viewer, 2)
    until(left, "document.documentElement.dataset.density === 'compact'")
    until(right, "document.documentElement.dataset.density === 'roomy'")
    alone = look(host)
    assert alone.page.evaluate("document.documentElement.dataset.density") == "normal"


def test_a_phone_shows_one_view_at_a_time(host: Host, look: Look) -> None:
    host.publish("red", "blue")
    viewer = look(host, **PHONE)
    left, right = beside(viewer, host, "?q=red", "?q=blue")
    tabs = viewer.page.locator("#tabs .tab")
    assert viewer.page.locator(".pane:visible").count() == 1
    until_row(left, "red")
    host.publish("blue again", "blue once more")
    viewer.until("document.querySelectorAll('.tab')[1].textContent === 'blue (2)'")
    tabs.nth(1).tap()
    until_row(right, "blue once more")
    viewer.until("document.querySelectorAll('.tab')[1].textContent === 'blue'")
    assert left.locator("#rows").is_hidden()
    host.publish("red again")
    viewer.until("document.querySelectorAll('.tab')[0].textContent === 'red (1)'")
    assert viewer.page.title().startswith("(1) ")
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_another_page_is_neither_in_a_view_nor_around_one(host: Host, look: Look) -> None:
    viewer = look(host)
    [only] = beside(viewer, host, "javascript:alert(1)")
    assert only.url == host.url
    with hosting("--store", "memory") as elsewhere:
        viewer.page.route(
            f"{elsewhere.url}around",
            lambda route: route.fulfill(
                content_type="text/html", body=f"<iframe src='{host.url}'></iframe>"
            ),
        )
        viewer.page.goto(f"{elsewhere.url}around")
        inside = viewer.page.frames[1]
        inside.wait_for_url("chrome-error:**")
        assert inside.locator("#rows").count() == 0


def test_who_logs_in_in_one_view_is_logged_in_in_all(browser: Browser) -> None:
    with hosting("--store", "memory", "--no-limits", "--jwt-secret", SECRET) as host:
        viewer = Viewer(browser.new_context().new_page())
        fragment = urlencode([("pane", ""), ("pane", "?q=x")])
        viewer.page.goto(f"{host.url}viewer/panes.html#{fragment}")
        for place in range(2):
            frame = viewer.page.frame_locator("iframe").nth(place)
            frame.locator("#login[open]").wait_for()
        first = viewer.page.frame_locator("iframe").first
        first.locator("#token").fill(token("u1", "read"))
        first.locator("#login-form button").click()
        for place in range(2):
            frame = viewer.page.frame_locator("iframe").nth(place)
            frame.locator("#login[open]").wait_for(state="detached")
            frame.locator("#total", has_text="0 messages").wait_for()
        viewer.page.context.close()


def test_a_panel_of_a_view_is_in_the_address_of_all(guarded: Host, look: Look) -> None:
    viewer = look(guarded, token=token("mod", "read moderate"))
    left, _ = beside(viewer, guarded, "?q=red", "?q=blue")
    left.locator("#moderate:not([hidden])").wait_for()
    left.locator("#rows").press("a")
    viewer.until("location.hash === '#pane=%3Fq%3Dred%23audit&pane=%3Fq%3Dblue'")
    viewer.page.reload()
    left, _ = frames(viewer, 2)
    left.locator("#audit").wait_for()
    left.locator("#audit-close").click()
    viewer.until("location.hash === '#pane=%3Fq%3Dred&pane=%3Fq%3Dblue'")
    left.locator("#rows").press("a")
    viewer.page.locator("#add").click()
    third = frames(viewer, 3)[2]
    assert third.locator("#audit").is_hidden()  # one of them is enough


def test_a_view_with_an_act_that_waits_is_closed_only_if_its_reader_says_so(
    guarded: Host, look: Look
) -> None:
    guarded.post("api/messages", [user("hello")], token("game", "publish:any"))
    viewer = look(guarded, token=token("mod", "read moderate"))
    left, _ = beside(viewer, guarded, "", "")
    until_row(left, "hello")
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        (dialog.accept if len(asked) > 1 else dialog.dismiss)()

    viewer.page.on("dialog", answer)
    left.locator(".row .subject .handle").click()
    left.locator("#menu").get_by_role("menuitem", name="Redact this message…").click()
    left.locator("#act-submit").click()
    left.locator("#acts button", has_text="Undo").focus()  # so that it waits
    with viewer.page.expect_event("dialog"):
        viewer.page.locator(".pane .close").first.click()
    assert len(asked) == 1
    assert "has not been sent yet" in asked[0]
    assert len(viewer.page.locator("iframe").all()) == 2
    viewer.page.locator(".pane .close").first.click()
    frames(viewer, 1)
    assert len(asked) == 2
