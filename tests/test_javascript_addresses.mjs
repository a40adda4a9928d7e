/* Tests of a client with several addresses: in which order, how soon, and when no longer. */
import assert from "node:assert/strict";
import test from "node:test";
import { LiveLog } from "../livelog/web/client/livelog.js";
import { TestClock, TestSocket } from "./support/js/doubles.mjs";

const connected = { action: "connected", connection_id: "c", message: "hello" };
const A = "ws://a/ws/live-log";
const B = "ws://b/ws/live-log";
const C = "ws://c/ws/live-log";

/** A socket that knows its address; one for `broken` cannot even be made. */
class Socket extends TestSocket {
  static opened = [];

  constructor(url) {
    if (url === "ws://broken/") throw new DOMException("insecure", "SecurityError");
    super();
    Socket.opened.push(url);
  }
}

function client(urls, options = {}) {
  Socket.opened = [];
  const clock = new TestClock();
  const live = new LiveLog(urls, { WebSocket: Socket, clock, random: () => 0.5, ...options });
  return { live, clock };
}

const lose = (code = 1006) => TestSocket.last.onclose({ code, reason: "" });

test("each attempt is made at the next address, by the schedule", () => {
  const { live, clock } = client([A, B, new URL(C), A]);
  const waits = [];
  for (let round = 0; round < 6; round += 1) {
    lose();
    waits.push(live.state.retryAt - clock.now());
    clock.advance(60_000);
  }
  assert.deepEqual(Socket.opened, [A, B, C, A, B, C, A]);
  assert.deepEqual(waits, [0, 500, 1000, 2000, 4000, 30_000]);
  live.close();
});

test("the order is drawn for each client", () => {
  const drawn = new Set();
  for (let round = 0; round < 300; round += 1) {
    client([A, B], { random: Math.random }).live.close();
    drawn.add(Socket.opened[0]);
  }
  assert.deepEqual([...drawn].sort(), [A, B]);
});

test("a server that shuts down is left at once, unless there is no other", () => {
  for (const [urls, wait] of [[[A, B], 0], [[A], 5000], [A, 5000]]) {
    const { live, clock } = client(urls);
    TestSocket.last.receive(connected);
    TestSocket.last.receive({ action: "disconnected", reconnect_after_ms: 5000 });
    lose(1001);
    assert.equal(live.state.retryAt - clock.now(), wait);
    live.close();
  }
});

test("servers that shut down one after the other are left at once, each once", () => {
  const { live, clock } = client([A, B, C]);
  const waits = [];
  for (let round = 0; round < 5; round += 1) {
    TestSocket.last.receive(connected);
    lose(1001);
    waits.push(live.state.retryAt - clock.now());
    clock.advance(waits.at(-1));
  }
  assert.deepEqual(Socket.opened, [A, B, C, A, B, C]);
  assert.deepEqual(waits, [0, 0, 0, 0, 500]);
  TestSocket.last.receive(connected);
  clock.advance(20_000); // it lasts
  lose();
  clock.advance(0);
  TestSocket.last.receive(connected);
  lose(1001);
  assert.equal(live.state.retryAt - clock.now(), 0);
  live.close();
});

test("any other wait is kept to, at the next address as well", () => {
  const { live, clock } = client([A, B]);
  TestSocket.last.receive(connected);
  TestSocket.last.receive({ action: "disconnected", reconnect_after_ms: 5000 });
  lose(1008);
  assert.equal(live.state.retryAt - clock.now(), 5000);
  live.close();
});

test("a final end at one is final at all", () => {
  for (const code of [1002, 4000, 4001, 4002]) {
    const { live, clock } = client([A, B], { token: "t" });
    lose(code);
    assert.equal(live.state.name, "stopped");
    clock.advance(60_000);
    assert.deepEqual(Socket.opened, [A]);
  }
});

test("the token and what was not acknowledged are sent at the next", async () => {
  const { live, clock } = client([A, B], { token: "t" });
  TestSocket.last.receive(connected);
  TestSocket.last.receive({ action: "authenticated", id: "u1" });
  const message = { type: "user", user_id: "u1", username: "Ann", content: "hi" };
  const acknowledged = live.publish(message);
  const [, { message: before }] = TestSocket.last.sent;
  lose();
  clock.advance(0);
  TestSocket.last.receive(connected);
  assert.equal(TestSocket.last.sent[0].token, "t");
  TestSocket.last.receive({ action: "authenticated", id: "u1" });
  const { message: after, request_id } = TestSocket.last.sent[1];
  assert.deepEqual(after, before);
  TestSocket.last.receive({ action: "published", request_id, id: after.id, seq: 7 });
  assert.deepEqual(await acknowledged, { id: before.id, seq: 7 });
  assert.deepEqual(Socket.opened, [A, B]);
  live.close();
});

test("an address that the browser does not take is passed over among others only", () => {
  const { live, clock } = client(["ws://broken/", A]);
  assert.equal(live.state.name, "waiting");
  clock.advance(0);
  assert.deepEqual(Socket.opened, [A]);
  live.close();
  assert.throws(() => client("ws://broken/"), { name: "SecurityError" });
});

test("what is no address is refused at once", () => {
  for (const urls of [[], [A, "b"], [A, ""], [A, null]]) {
    assert.throws(() => client(urls), TypeError);
  }
});
