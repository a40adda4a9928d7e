"""A real Chromium and Node's `ws` decode what they share, also when they join late."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import Host, hosting
from tests.support.follower import NODE as NODE_PATH
from tests.support.follower import npm_install
from tests.support.wire import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGE = """([url, count]) => {
  window.got ??= [];
  for (let n = 0; n < count; n += 1) {
    const texts = [];
    const socket = new WebSocket(url);
    window.got.push({ texts, extensions: () => socket.extensions });
    socket.onmessage = ({ data }) => texts.push(data);
  }
}"""
NODE = """
const WebSocket = require("ws");
const [url, count, last] = process.argv.slice(2);
const all = Array.from({ length: Number(count) }, () => []);
let left = all.length;
for (const texts of all) {
  const socket = new WebSocket(url);
  socket.on("message", (data) => {
    texts.push(data.toString());
    if (!texts.at(-1).includes(last)) return;
    left -= 1;
    if (!left) process.stdout.write(JSON.stringify([socket.extensions, all]), () => process.exit());
  });
}
"""


def publish_until(host: Host, sent: list[str], done: Callable[[], object]) -> None:
    """Publish, a little at a time."""
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        sent.append(f"message {len(sent)} of the red dragon")
        host.publish(sent[-1])
        time.sleep(0.02)


def contents(texts: list[str]) -> list[str]:
    items = [json.loads(text) for text in texts]
    each = [one for item in items for one in (item if isinstance(item, list) else [item])]
    return [one["content"] for one in each if "type" in one]


@pytest.mark.parametrize("batch", ["", "&batch=10"])
def test_chromium_decodes_what_it_shares_also_when_it_joins_late(
    browser: Browser, batch: str
) -> None:
    with hosting("--store", "memory", "--no-limits") as host, browser.new_page() as page:
        url = f"{host.url.replace('http', 'ws', 1)}ws/live-log?message_types=user{batch}"
        page.goto(host.url + "healthz")
        sent: list[str] = []
        starts = []
        for _ in range(2):
            page.evaluate(PAGE, [url, 5])
            page.wait_for_function("window.got.every(({ texts }) => texts.length)")
            starts.append(len(sent))
            began = time.monotonic()
            publish_until(host, sent, lambda began=began: time.monotonic() > began + 2.5)  # type: ignore[misc]  # bound
        page.wait_for_function(
            "last => window.got.every(({ texts }) => texts.at(-1).includes(last))", arg=sent[-1]
        )
        got = page.evaluate("window.got.map((one) => [one.extensions(), one.texts])")
        for number, (extensions, texts) in enumerate(got):
            assert "permessage-deflate" in extensions
            assert contents(texts) == sent[starts[number // 5] :]


def test_node_decodes_what_it_shares(tmp_path: Path) -> None:
    if NODE_PATH is None:
        pytest.skip("Node is not installed")
    npm_install(tmp_path, "ws")
    (tmp_path / "read.cjs").write_text(NODE)
    with hosting("--store", "memory", "--no-limits") as host:
        url = f"{host.url.replace('http', 'ws', 1)}ws/live-log?message_types=user&since=0"
        with subprocess.Popen(
            [NODE_PATH, str(tmp_path / "read.cjs"), url, "9", "the very last"],
            stdout=subprocess.PIPE,
            text=True,
        ) as node:
            sent: list[str] = []
            began = time.monotonic()
            publish_until(host, sent, lambda: time.monotonic() > began + 4)
            sent.append("the very last")
            host.publish(sent[-1])
            out, _ = node.communicate(timeout=PATIENCE)
        extensions, each = json.loads(out)
        assert "permessage-deflate" in extensions
        assert len(each) == 9
        assert all(contents(texts) == sent for texts in each)
