"""The histogram of the viewer in a real Chromium: its range, its brush, and how it moves."""

from __future__ import annotations

import re

import pytest

from tests.support.browser import Host, Look, Viewer
from tests.support.wire import SAMPLES, user

pytestmark = pytest.mark.browser


def colours(viewer: Viewer, left: float, right: float) -> set[str]:
    """The colours at the bottom of the bars, between two shares of the width."""
    found: list[str] = viewer.page.evaluate(
        """([left, right]) => {
          const canvas = document.getElementById('bars');
          const { width, height } = canvas;
          const from = Math.floor(left * width), many = Math.floor((right - left) * width);
          const pen = canvas.getContext('2d');
          const { data } = pen.getImageData(from, height - 1, Math.max(1, many), 1);
          const found = new Set();
          for (let at = 0; at < data.length; at += 4) {
            if (data[at + 3] === 255) found.add([...data.slice(at, at + 3)].join());
          }
          return [...found];
        }""",
        [left, right],
    )
    return set(found)


def test_messages_by_time_narrow_the_view_by_a_brush(host: Host, look: Look) -> None:
    hours = [f"2025-12-03T{hour:02}:00:00Z" for hour in range(12)]
    host.publish(*[user(f"at {time}", timestamp=time) for time in hours])
    viewer = look(host, timezone_id="UTC")
    viewer.until_row(hours[-1])
    assert viewer.page.locator("#histogram").is_hidden()
    viewer.page.keyboard.press("h")
    viewer.until("document.getElementById('bars-label').textContent.includes('in a bar')")
    label = viewer.text("#bars-label")
    assert label.startswith("Dec 3, 2025, 00:00:00 UTC")
    assert "Dec 3, 2025, 11:" in label
    assert colours(viewer, 0, 0.005)
    box = viewer.page.locator("#bars").bounding_box()
    assert box is not None
    viewer.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 10)
    viewer.page.mouse.down()
    viewer.page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 20, steps=4)
    viewer.page.mouse.up()
    viewer.until("document.querySelectorAll('.row').length === 3")
    viewer.until_rows([f"at {time}" for time in hours[3:6]])
    assert re.search(r"from=2025-12-03T02:.*&to=2025-12-03T05:", viewer.page.url)
    assert viewer.page.locator(".chip").count() == 2
    viewer.page.go_back()
    viewer.until("document.querySelectorAll('.row').length === 12")
    viewer.page.reload()
    viewer.until_connection("Connected")
    assert viewer.page.locator("#histogram").is_visible()


def test_it_moves_with_what_comes(host: Host, look: Look) -> None:
    viewer = look(host)
    viewer.page.locator("#times").click()
    viewer.until("document.getElementById('bars-label').textContent === 'no message'")
    host.publish(*SAMPLES)
    viewer.until("document.getElementById('bars-label').textContent.includes('in a bar')")
    assert colours(viewer, 0, 1)
    viewer.page.locator("#times").click()
    assert viewer.page.locator("#histogram").is_hidden()
