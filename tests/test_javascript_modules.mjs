/* Tests of single modules of the client, without a server; `node --test` runs them. */
import assert from "node:assert/strict";
import test from "node:test";
import { BACKOFF_MS, Backoff, requestedAbsence } from "../livelog/web/client/backoff.js";
import { subscriptionCommands } from "../livelog/web/client/commands.js";
import { SizeLimit } from "../livelog/web/client/frames.js";
import { Heartbeat } from "../livelog/web/client/heartbeat.js";
import { LiveLog } from "../livelog/web/client/livelog.js";
import { RequestQueue } from "../livelog/web/client/requestqueue.js";
import { TestClock, TestSocket } from "./support/js/doubles.mjs";

const subscribe = (types, filters = {}) => {
  return { action: "subscribe", message_types: types, filters };
};

test("only a difference is asked for, types with equal filters together", () => {
  const wanted = new Map([["user", "{}"], ["dm", "{}"], ["raid", '{"status":"wipe"}']]);
  const inForce = new Map([["user", "{}"], ["guild", "{}"]]);
  assert.deepEqual(subscriptionCommands(wanted, inForce, null), [
    { action: "unsubscribe", message_types: ["guild"] },
    subscribe(["dm"]),
    subscribe(["raid"], { status: "wipe" }),
  ]);
  assert.deepEqual(subscriptionCommands(inForce, inForce, null), []);
});

test("a move names the types again, even if they are in force", () => {
  const inForce = new Map([["user", "{}"]]);
  assert.deepEqual(subscriptionCommands(inForce, inForce, 7), [{ ...subscribe(["user"]), since: 7 }]);
  assert.deepEqual(subscriptionCommands(new Map(), new Map(), 7), []);
});

test("the schedule of reconnects", () => {
  const backoff = new Backoff(() => 1);
  assert.deepEqual(BACKOFF_MS.map(() => backoff.next(false)), BACKOFF_MS);
  assert.equal(backoff.next(false), BACKOFF_MS.at(-1));
  backoff.reset();
  assert.equal(backoff.next(true), BACKOFF_MS[1]);
});

test("a server may send its clients away for a while, within limits", () => {
  const asked = (reconnect_after_ms) => requestedAbsence({ reconnect_after_ms });
  assert.deepEqual([500, 5, 0, -5].map(asked), [500, 100, 100, 100]);
  assert.deepEqual([1e9, 2 ** 31, Infinity].map(asked), [3_600_000, 3_600_000, 3_600_000]);
  assert.deepEqual(["5", null, NaN, [], undefined].map(asked), Array(5).fill(undefined));
  assert.equal(requestedAbsence(null), undefined);
});

test("a heartbeat gives up after silence, but not because its own timer was late", () => {
  const clock = new TestClock();
  const seen = [];
  const on = { ping: () => seen.push("ping"), dead: () => seen.push("dead") };
  const heartbeat = new Heartbeat({ clock, heartbeatMs: 20, timeoutMs: 10 }, on);
  heartbeat.start();
  clock.advance(20);
  clock.advance(10, 5000);
  assert.deepEqual(seen, ["ping", "ping"]);
  heartbeat.heard();
  clock.advance(10);
  clock.advance(20);
  clock.advance(10);
  assert.deepEqual(seen, ["ping", "ping", "ping", "dead"]);
});

test("after a rate limit the queue goes one by one, in order", async () => {
  const clock = new TestClock();
  const sent = [];
  const send = (text) => sent.push(JSON.parse(text).request_id);
  const queue = new RequestQueue(clock, new SizeLimit(), send, () => {});
  queue.open();
  const answers = ["a", "b", "c"].map((id) => queue.ask({ action: "publish" }, id));
  const limited = Object.assign(new Error(), { code: 4003, details: { retry_after_seconds: 2 } });
  for (const id of ["b", "a", "c"]) assert.equal(queue.refuse(id, limited), true);
  assert.equal(queue.refuse("d", limited), false);
  sent.length = 0;
  for (const id of ["a", "b", "c"]) {
    clock.advance(1999);
    assert.notEqual(sent.at(-1), id);
    clock.advance(1);
    assert.equal(sent.at(-1), id);
    queue.settle({ request_id: id, action: "published", seq: 1 });
  }
  assert.deepEqual(sent, ["a", "b", "c"]);
  assert.deepEqual(await Promise.all(answers), [{ seq: 1 }, { seq: 1 }, { seq: 1 }]);
});

test("a client that is closed while it reports the connection stays closed", async () => {
  const clock = new TestClock();
  const live = new LiveLog("ws://localhost/", { WebSocket: TestSocket, clock });
  const states = [];
  live.on("state", ({ name }) => {
    states.push(name);
    if (name === "connected") live.close();
  });
  const refused = assert.rejects(live.history(), { code: 1000 });
  TestSocket.all[0].receive({ action: "connected" });
  await refused;
  assert.equal(clock.timers.size, 0);
  clock.advance(1_000_000);
  assert.deepEqual(states, ["connected", "stopped"]);
  assert.equal(TestSocket.all.length, 1);
});
