"""A client that is not written in Python: Node, with its own WebSocket or the package `ws`."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.support.follower import FLAG, NODE
from tests.support.wire import PATIENCE, on_uvloop, serving, soon, user

pytestmark = pytest.mark.node

SCRIPT = """
const url = process.argv[1];
const Socket = globalThis.WebSocket ?? require('ws');
const ws = new Socket(url);
const say = (command) => ws.send(JSON.stringify(command));
ws.onmessage = ({ data }) => {
  const event = JSON.parse(data);
  console.log(data);
  if (event.action === 'connected') say({ action: 'subscribe', message_types: ['user'] });
  if (event.action === 'subscribed') say({ action: 'publish', message: MESSAGE });
  if (event.type === 'user') say({ action: 'ping', request_id: 'from node' });
  if (event.action === 'pong') ws.close(1000, 'done');
};
ws.onerror = (error) => { console.error(error.message ?? error); process.exit(1); };
ws.onclose = ({ code, reason }) => console.log(JSON.stringify({ closed: code, reason }));
"""


@on_uvloop
async def test_node_connects_subscribes_publishes_receives_pings_and_leaves(
    node_modules: Path,
) -> None:
    assert NODE is not None
    message = user("grüße → 🐉", id="m1")
    async with serving() as house:
        node = await asyncio.create_subprocess_exec(
            NODE,
            FLAG,
            "-e",
            SCRIPT.replace("MESSAGE", json.dumps(message)),
            house.server.url,
            env={**os.environ, "NODE_PATH": str(node_modules)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await soon(node.communicate(), f"Node, for {PATIENCE} seconds")
        finally:
            if node.returncode is None:
                node.kill()
        assert node.returncode == 0, err.decode()
        events = [json.loads(line) for line in out.decode().splitlines()]
        # The acknowledgement and the message itself may come in any order.
        events[2:4] = sorted(events[2:4], key=lambda event: "type" in event)
        connected, subscribed, published, received, pong, *rest, closed = events
        assert connected["action"] == "connected"
        assert (subscribed["action"], subscribed["message_types"]) == ("subscribed", ["user"])
        assert (published["action"], published["id"]) == ("published", "m1")
        assert message.items() <= received.items()
        assert received["seq"] == published["seq"]
        assert (pong["action"], pong["request_id"]) == ("pong", "from node")
        # Node's own WebSocket hands over nothing once it has begun to close.
        assert rest in ([], [{"action": "disconnected", "reason": "normal_closure"}])
        assert closed == {"closed": 1000, "reason": "done"}
        await house.emptied()
