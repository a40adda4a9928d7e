"""Reading in the viewer: theme, density, long lines, selected text, copies, times and zones, in a
real Chromium.
"""

from __future__ import annotations

import pytest

from tests.support.browser import Host, Look, Viewer
from tests.support.wire import SAMPLES, user

pytestmark = pytest.mark.browser

GROUND = "getComputedStyle(document.body).backgroundColor"


def choose(viewer: Viewer, name: str, value: str) -> None:
    """Make a choice in the dialog."""
    viewer.page.locator("#display").click()
    viewer.page.locator(f"#settings [name={name}]").select_option(value)
    viewer.page.locator("#settings button").click()


def row_heights(viewer: Viewer) -> set[float]:
    found: list[float] = viewer.page.evaluate(
        "[...document.querySelectorAll('.row')].map((row) => row.getBoundingClientRect().height)"
    )
    return set(found)


def test_a_theme_is_the_system_s_or_chosen_and_kept(host: Host, look: Look) -> None:
    viewer = look(host, color_scheme="dark")
    dark = viewer.page.evaluate(GROUND)
    viewer.page.emulate_media(color_scheme="light")
    light = viewer.page.evaluate(GROUND)
    assert dark != light
    choose(viewer, "theme", "dark")
    assert viewer.page.evaluate(GROUND) == dark
    viewer.page.reload()
    viewer.until_connection("Connected")
    assert viewer.page.evaluate(GROUND) == dark
    assert viewer.page.locator("#settings [name=theme]").input_value() == "dark"
    choose(viewer, "theme", "light")
    viewer.page.emulate_media(color_scheme="dark")
    assert viewer.page.evaluate(GROUND) == light
    choose(viewer, "theme", "system")
    assert viewer.page.evaluate(GROUND) == dark


def test_density_and_lines_keep_the_place(host: Host, look: Look) -> None:
    long = "word " * 100
    host.publish(*[f"line {n} {long}" for n in range(300)])
    viewer = look(host)
    viewer.until_row("line 299")
    choose(viewer, "density", "roomy")
    viewer.until("document.querySelector('.row').getBoundingClientRect().height === 30")
    assert viewer.rows()[-1].startswith("line 299")  # though nothing comes
    choose(viewer, "density", "compact")
    viewer.until("document.querySelector('.row').getBoundingClientRect().height === 20")
    assert row_heights(viewer) == {20}
    viewer.until_row("line 299")
    choose(viewer, "lines", "three")
    viewer.until("document.querySelector('.row').getBoundingClientRect().height === 54")
    viewer.until_row("line 299")
    height = "document.querySelector('.row .summary').getBoundingClientRect().height"
    assert viewer.page.evaluate(height) == 51
    host.publish("the next")
    viewer.until_row("the next")
    assert viewer.rows()[-1] == "the next"


def test_storage_that_is_forbidden_is_no_fault(host: Host, look: Look) -> None:
    viewer = look(host)
    viewer.page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } })"
    )
    viewer.page.reload()
    viewer.until_connection("Connected")
    choose(viewer, "density", "roomy")
    host.publish("one")
    viewer.until_row("one")
    assert row_heights(viewer) == {30}


def select(viewer: Viewer, first: str, last: str) -> None:
    """Select text with the pointer, from the beginning of one summary to the end of another."""
    for words, act in ((first, viewer.page.mouse.down), (last, viewer.page.mouse.up)):
        row = viewer.page.locator(".row .summary", has_text=words)
        text: dict[str, float] = row.evaluate(
            """(summary) => {
              const range = document.createRange();
              range.selectNodeContents(summary);
              return range.getBoundingClientRect().toJSON();
            }"""
        )
        at = text["left"] + 1 if act == viewer.page.mouse.down else text["right"]
        viewer.page.mouse.move(at, text["top"] + 8, steps=4)
        act()


def test_while_text_is_selected_nothing_moves_and_it_copies_as_lines(
    host: Host, look: Look
) -> None:
    host.publish(*[user(f"line {n}", metadata={"channel": "general"}) for n in range(40)])
    viewer = look(host, permissions=["clipboard-read", "clipboard-write"])
    viewer.until_row("line 39")
    before = viewer.rows()
    select(viewer, "line 30", "line 32")
    host.publish(*[f"new {n}" for n in range(10)])
    viewer.until("document.getElementById('unseen').textContent === '10 new ↓'")
    assert viewer.rows() == before
    assert viewer.page.locator("#details").is_hidden()
    viewer.page.keyboard.press("Control+c")
    lines = viewer.page.evaluate("navigator.clipboard.readText()").splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        f"user Ann #general line {n}" for n in (30, 31, 32)
    ]
    viewer.page.evaluate("getSelection().removeAllRanges()")
    viewer.until_row("new 9")
    assert viewer.page.locator("#unseen").is_hidden()


def test_rows_that_are_drawn_later_are_selected_in_their_order(host: Host, look: Look) -> None:
    host.publish(*[f"line {n}" for n in range(200)])
    viewer = look(host)
    viewer.until_row("line 199")
    viewer.scroll(-500)
    viewer.until("!document.querySelector('.row .summary').textContent.includes('199')")
    viewer.until_at_rest()
    shown: list[str] = viewer.page.locator(".row .summary").all_inner_texts()
    numbers = [int(line.split()[1]) for line in shown]
    assert numbers == sorted(numbers)


def test_times_are_local_or_in_utc_or_relative(host: Host, look: Look) -> None:
    for time in ("2025-12-03T02:00:00Z", "2025-12-03T12:00:00Z"):
        host.publish(user(time, timestamp=time))
    viewer = look(host, "?from=2025-12-03T00:00:00Z", timezone_id="America/New_York")
    viewer.until_row("2025-12-03T12:00:00Z")
    times = viewer.page.locator(".row .time")
    assert times.all_inner_texts() == ["21:00:00.000", "07:00:00.000"]
    assert viewer.page.locator(".day").count() == 2
    assert viewer.text("#zone").startswith("local · UTC\u22120")
    assert viewer.page.locator("#from").input_value() == "2025-12-02T19:00"
    viewer.page.locator("#zone").click()
    viewer.until("document.querySelectorAll('.day').length === 1")
    assert times.all_inner_texts() == ["02:00:00.000", "12:00:00.000"]
    assert viewer.text("#zone") == "UTC"
    assert viewer.page.locator("#from").input_value() == "2025-12-03T00:00"
    choose(viewer, "times", "ago")
    viewer.until("document.querySelector('.row .time').textContent.endsWith(' d ago')")
    host.publish("now")
    viewer.until_row("now")
    assert times.last.inner_text() == "0 s ago"
    viewer.until("[...document.querySelectorAll('.row .time')].at(-1).textContent !== '0 s ago'")


def test_going_to_a_time_shows_what_was_then(host: Host, look: Look) -> None:
    days = [f"2025-12-{day:02}T12:00:00Z" for day in range(1, 29)]
    host.publish(*[user(f"{day} {n}", timestamp=day) for day in days for n in range(50)])
    viewer = look(host, timezone_id="UTC")
    viewer.until_row(days[-1])
    viewer.page.keyboard.press("f")
    viewer.page.locator("#goto").fill("2025-12-10T18:00")
    viewer.page.locator("#goto").press("Enter")
    viewer.until_row(f"{days[9]} 49")
    assert viewer.page.locator(".row[aria-selected=true] .summary").inner_text() == f"{days[9]} 49"
    viewer.page.locator("#goto").fill("2020-01-01T00:00")
    viewer.page.locator("#go").click()
    viewer.until("document.getElementById('notice').textContent.includes('no message up to')")


def test_on_a_phone_the_filters_are_a_sheet_of_large_targets(host: Host, look: Look) -> None:
    phone = {"viewport": {"width": 390, "height": 740}, "is_mobile": True, "has_touch": True}
    host.publish(*SAMPLES)
    viewer = look(host, **phone)
    viewer.until_row("conquest complete")
    assert viewer.page.locator(".toggle.raid").is_hidden()
    viewer.page.locator("#filters").tap()
    sheet = viewer.page.locator("#controls").bounding_box()
    assert sheet is not None
    assert sheet["y"] + sheet["height"] == 740
    assert sheet["y"] >= 740 * 0.2
    viewer.page.locator(".toggle.raid").tap()
    viewer.until("document.querySelectorAll('.row').length === 5")
    viewer.page.locator("#filters").tap()
    assert viewer.page.locator(".toggle.raid").is_hidden()
    viewer.page.locator(".row.user .summary").tap()
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= 390
    small: list[str] = viewer.page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, a, .toggle, [role=button]')]
            .filter((target) => target.checkVisibility() && !target.closest('.toggle input, dd a'))
            .filter((target) => !target.matches('.toggle input, dd a'))
            .map((target) => [target.id || target.textContent, target.getBoundingClientRect()])
            .filter(([, { width, height }]) => width < 44 || height < 44)
            .map(([name]) => name)"""
    )
    assert small == []
