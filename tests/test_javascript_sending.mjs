/* Tests of commands on their way out: checked, measured, sent, sent again, given up. */
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import test from "node:test";
import { defaultUrl } from "../livelog/web/client/environment.js";
import { LiveLog } from "../livelog/web/client/livelog.js";
import { TestClock, TestSocket } from "./support/js/doubles.mjs";

const connected = { action: "connected", connection_id: "c", message: "hello" };
const text = (content, more = {}) => {
  return { type: "user", user_id: "u1", username: "Ann", content, ...more };
};

/** A client on a connection whose server says `greeting`. */
function client(greeting = connected, options = {}) {
  const clock = new TestClock();
  const all = { WebSocket: TestSocket, clock, random: () => 0, ...options };
  const live = new LiveLog("ws://localhost/", all);
  if (greeting) TestSocket.last.receive(greeting);
  return { live, clock };
}

/** Lose the connection, and come back. */
function reconnect({ live, clock }, code) {
  TestSocket.last.onclose({ code, reason: "" });
  assert.equal(live.state.name, "waiting");
  clock.advance(1000);
  TestSocket.last.receive(connected);
}

const published = () => TestSocket.last.sent.filter(({ action }) => action === "publish");
const contents = () => published().map(({ message }) => message.content);

const cycle = text("x");
cycle.metadata = { cycle };
let deep = {};
for (let level = 0; level < 100_000; level += 1) deep = { deep };
const fails = () => {
  throw new RangeError("no");
};

const UNWRITABLE = {
  "a big integer": text("x", { metadata: { n: 10n } }),
  "a cycle": cycle,
  "a toJSON that throws": text("x", { metadata: { toJSON: fails } }),
  "a getter that throws": { type: "user", get content() { return fails(); } },
  "a nested getter that throws": text("x", { metadata: { get n() { return fails(); } } }),
  "an object too deep for a server": text("x", { metadata: JSON.parse('{"a":'.repeat(260) + 1 + "}".repeat(260)) }),
  "a list too deep for a server": text("x", { metadata: { a: JSON.parse("[".repeat(260) + "]".repeat(260)) } }),
  "an object too deep": text("x", { metadata: deep }),
  "a proxy that throws": text("x", { metadata: new Proxy({}, { ownKeys: fails }) }),
  "half of an emoji": text("cut \ud83d"),
  "the other half": text("\udc09 cut"),
  "half of an emoji as a name": text("x", { metadata: { "\ud83d": 1 } }),
  "half of an emoji in an id": text("x", { id: "\ud83d" }),
  "no message": null,
  "a text": "hello",
  "a function": () => text("x"),
};

for (const [name, message] of Object.entries(UNWRITABLE)) {
  test(`${name} is refused at once, and not kept`, async () => {
    for (const greeting of [connected, null]) {
      const { live, clock } = client(greeting);
      const [refused, next] = [live.publish(message), live.publish(text("next"))];
      await assert.rejects(refused);
      if (!greeting) TestSocket.last.receive(connected);
      assert.deepEqual(contents(), ["next"]);
      reconnect({ live, clock }, 1006);
      assert.deepEqual(contents(), ["next"]);
      const { request_id } = published()[0];
      TestSocket.last.receive({ action: "published", request_id, id: "a", seq: 1 });
      assert.deepEqual(await next, { id: "a", seq: 1 });
      live.close();
    }
  });
}

test("a refusal names the field", async () => {
  const { live } = client();
  const refused = live.publish(text("x", { metadata: { a: ["b", "\ud83d"] } }));
  await assert.rejects(refused, { code: 1002, field: "message.metadata.a.1" });
  await assert.rejects(live.search("\ud83d"), { code: 1002, field: "query" });
  await assert.rejects(live.history({ limit: 10n }), { code: 1002 });
  await assert.rejects(live.history({ filters: { text: "\ud83d" } }), { field: "filters.text" });
  assert.throws(() => live.listen({ filters: { text: "\ud83d" } }), { code: 1002, field: "text" });
  assert.throws(() => live.listen({ filters: { text: 1n } }), { code: 1002 });
  for (const since of [10n, NaN, -1, 1.5, "7", 2 ** 60, {}]) {
    assert.throws(() => live.listen({ since }), { code: 1002, field: "since" });
  }
});

test("whole emoji, and text that looks like an escape, are sent", () => {
  const { live } = client();
  const texts = ["{[".repeat(1000), "🐉", "\\ud83d", "\\\\ud83d", "\ud83d\udc09\\", "\u0000"];
  for (const each of texts) live.publish(text(each));
  assert.deepEqual(contents(), texts);
});

test("a message that was received is sent on without its place", async () => {
  const { live } = client();
  const received = { ...text("a"), id: "m1", seq: 7 };
  live.publish(received).catch(() => {});
  await Promise.resolve();
  const { message } = published()[0];
  assert.deepEqual([message.id, message.seq, received.seq], ["m1", undefined, 7]);
  live.close();
});

test("a message is sent as it was when it was published", () => {
  const { live } = client(null);
  const message = text("before");
  live.publish(message);
  message.content = "after";
  TestSocket.last.receive(connected);
  assert.deepEqual(contents(), ["before"]);
});

test("a message is measured in bytes before it is sent", async () => {
  const { live } = client({ ...connected, max_message_bytes: 1000 });
  const tooLong = { code: 1009 };
  await assert.rejects(live.publish(text("x".repeat(1000))), tooLong);
  await assert.rejects(live.publish(text("€".repeat(300))), tooLong);
  await assert.rejects(live.history({ filters: { text: "x".repeat(1000) } }), tooLong);
  live.publish(text("€".repeat(250)));
  assert.equal(published().length, 1);
  const { ready } = live.listen({ types: ["user"], filters: { text: "x".repeat(1000) } });
  await assert.rejects(ready, tooLong);
  live.listen({ types: ["user"] });
  await Promise.resolve();
  assert.equal(TestSocket.last.sent.at(-1).action, "subscribe");
});

test("the longest message that fits has as many bytes as the bound", async () => {
  const { live } = client();
  live.publish(text("x", { id: "m1" }));
  const frame = { ...published()[0], request_id: "js-2" };
  const bytes = JSON.stringify(frame).length;
  for (const [bound, fits] of [[bytes, true], [bytes - 1, false]]) {
    const other = client({ ...connected, max_message_bytes: bound }).live;
    other.ping();
    const refused = other.publish(text("x", { id: "m1" })).catch(({ code }) => code);
    assert.equal(published().length, fits ? 1 : 0);
    if (!fits) assert.equal(await refused, 1009);
  }
});

test("what was queued before the bound was known is measured, too", async () => {
  const { live } = client(null);
  const refused = live.publish(text("x".repeat(1000)));
  live.publish(text("short"));
  TestSocket.last.receive({ ...connected, max_message_bytes: 1000 });
  await assert.rejects(refused, { code: 1009 });
  assert.deepEqual(contents(), ["short"]);
});

test("without a bound, a message that ended the connection is not sent again", async () => {
  const { live, clock } = client();
  const refused = live.publish(text("x".repeat(70_000)));
  live.publish(text("short"));
  live.history();
  reconnect({ live, clock }, 1009);
  await assert.rejects(refused, { code: 1009 });
  assert.deepEqual(contents(), ["short"]);
  assert.equal(TestSocket.last.sent.some(({ action }) => action === "get_history"), true);
});

test("of two messages that are too long each is sent once", async () => {
  const { live, clock } = client();
  const sizes = [70_000, 80_000];
  const refused = sizes.map((size) => assert.rejects(live.publish(text("x".repeat(size)))));
  live.publish(text("short"));
  reconnect({ live, clock }, 1009);
  assert.deepEqual(contents().map(({ length }) => length), [70_000, 5]);
  reconnect({ live, clock }, 1009);
  assert.deepEqual(contents(), ["short"]);
  await Promise.all(refused);
});

test("a subscription that is too long is given up, the others stay", async () => {
  const { live, clock } = client();
  const { ready } = live.listen({ types: ["user"], filters: { text: "x".repeat(70_000) } });
  live.listen({ types: ["raid"] }).ready;
  live.on("error", () => undefined);
  await Promise.resolve();
  reconnect({ live, clock }, 1009);
  await assert.rejects(ready, { code: 1009 });
  assert.deepEqual(TestSocket.last.sent.map((command) => command.message_types), [["raid"]]);
});

test("an end with 1009 while nothing is under way is like any other", () => {
  const { live, clock } = client();
  reconnect({ live, clock }, 1009);
  assert.equal(live.state.name, "connected");
});

test("an error ends an attempt even if no close follows", () => {
  const { live } = client(null);
  TestSocket.last.onerror({});
  assert.equal(live.state.name, "waiting");
  assert.equal(live.state.code, 1006);
});

test("a close that follows an error of an open connection says more", () => {
  const { live, clock } = client();
  TestSocket.last.onopen({});
  TestSocket.last.onerror({});
  TestSocket.last.onclose({ code: 1011, reason: "r" });
  assert.deepEqual([live.state.name, live.state.code], ["waiting", 1011]);
  clock.advance(1000);
  TestSocket.last.onopen({});
  TestSocket.last.receive(connected);
  TestSocket.last.onerror({});
  assert.equal(live.state.name, "connected");
  clock.advance(100);
  assert.deepEqual([live.state.name, live.state.code], ["waiting", 1006]);
});

test("a server that sends its clients away again and again is obeyed less and less", () => {
  const { live, clock } = client(connected, { random: () => 1 });
  const waits = [];
  for (let time = 0; time < 5; time += 1) {
    TestSocket.last.receive({ action: "disconnected", reconnect_after_ms: 0 });
    TestSocket.last.onclose({ code: 1001, reason: "" });
    waits.push(live.state.retryAt - clock.now());
    clock.advance(waits.at(-1));
    TestSocket.last.receive(connected);
  }
  assert.deepEqual(waits, [100, 1000, 2000, 4000, 8000]);
});

test("after a rate limit that ended the connection it waits as long as it was told", () => {
  const { live, clock } = client();
  live.listen({ types: ["user"] });
  const limit = { error_code: 4003, error_message: "m", details: { retry_after_seconds: 7 } };
  TestSocket.last.receive({ action: "error", ...limit });
  clock.advance(2000);
  TestSocket.last.onclose({ code: 4003, reason: "" });
  assert.equal(live.state.retryAt - clock.now(), 5000);
});

test("a signal is let go once its request is settled", async () => {
  const { live, clock } = client();
  const { signal } = new AbortController();
  const waiting = () => getEventListeners(signal, "abort").length;
  const answered = live.publish(text("a"), { signal });
  const refused = live.publish(text("b"), { signal });
  const ended = live.publish(text("c"), { signal });
  assert.equal(waiting(), 3);
  const [first, second] = published().map(({ request_id }) => request_id);
  TestSocket.last.receive({ action: "published", request_id: first, id: "a", seq: 1 });
  TestSocket.last.receive({ action: "error", request_id: second, error_code: 1002 });
  await answered;
  await assert.rejects(refused, { code: 1002 });
  assert.equal(waiting(), 1);
  live.close();
  await assert.rejects(ended, { code: 1000 });
  assert.equal(waiting(), 0);
  assert.equal(clock.timers.size, 0);
});

test("an aborted request is not sent again", async () => {
  const { live, clock } = client();
  const abort = new AbortController();
  const aborted = live.publish(text("a"), { signal: abort.signal });
  abort.abort();
  await assert.rejects(aborted, { name: "AbortError" });
  await assert.rejects(live.publish(text("b"), { signal: abort.signal }), { name: "AbortError" });
  reconnect({ live, clock }, 1006);
  assert.deepEqual(contents(), []);
});

test("without an address it is the server of the module, below its prefix", () => {
  const below = (module, page) => defaultUrl(module, page);
  assert.equal(below("https://h/logs/client/environment.js"), "wss://h/logs/ws/live-log");
  assert.equal(below("http://h:8000/client/environment.js"), "ws://h:8000/ws/live-log");
  assert.equal(below("file:///a.js", "https://h/logs/?q=x#y"), "wss://h/logs/ws/live-log");
  assert.throws(() => below("file:///a.js", undefined), TypeError);
  assert.throws(() => below("file:///a.js", "about:blank"), TypeError);
});

/** A client on a server that refuses each command of these actions with this error. */
function refusing(actions, error, greeting = connected) {
  const { live, clock } = client(greeting);
  live.on("error", () => undefined);
  const socket = TestSocket.last;
  socket.send = (data) => {
    const command = JSON.parse(data);
    socket.sent.push(command);
    assert.ok(socket.sent.length < 100, "it repeats itself");
    const { action, request_id, message_types, since = 5 } = command;
    const confirmed = { action: `${action}d`, request_id, message_types, seq: since };
    const refused = { action: "error", request_id, error_code: 1002, details: {}, ...error };
    queueMicrotask(() => socket.receive(actions.includes(action) ? refused : confirmed));
  };
  return { live, clock, socket };
}

test("a refusal of since is believed once only", async () => {
  const { live, socket } = refusing(["subscribe"], { details: { field: "since", issue: "no" } });
  const { ready } = live.listen({ types: ["user"], since: 7 });
  await assert.rejects(ready, { code: 1002 });
  assert.deepEqual(socket.sent.map(({ since }) => since), [7, undefined]);
});

test("a refused unsubscribe is not repeated", async () => {
  const { live, clock, socket } = refusing(["unsubscribe"], {});
  const { ready, stop } = live.listen({ types: ["user"] });
  await ready;
  stop();
  await Promise.resolve();
  for (let second = 0; second < 60; second += 1) {
    clock.advance(1000);
    await new Promise((resolve) => setTimeout(resolve));
  }
  const commands = socket.sent.filter(({ action }) => action !== "ping");
  assert.deepEqual(commands.map(({ action }) => action), ["subscribe", "unsubscribe"]);
});

test("an internal error of the server does not end a listener", async () => {
  const trouble = ["subscribe"];
  const { live, clock, socket } = refusing(trouble, { error_code: 1011 });
  const { ready } = live.listen({ types: ["user"] });
  await new Promise((resolve) => setTimeout(resolve));
  clock.advance(4999);
  assert.equal(socket.sent.length, 1);
  trouble.pop();
  clock.advance(1);
  await ready;
});

test("a command that is never answered is given up, while the server answers pings", async () => {
  const { live, clock } = client();
  const given = [live.publish(text("x")), live.history(), live.search("x"), live.ping()];
  const unanswered = given.map((call) => assert.rejects(call, { code: 1011, message: /not answered/ }));
  await Promise.resolve();
  for (let time = 0; time < 60_000; time += 5000) {
    clock.advance(5000);
    TestSocket.last.receive({ action: "pong", timestamp: "" });
  }
  await Promise.all(unanswered);
  assert.equal(live.state.name, "connected");
  live.close();
  assert.equal(clock.timers.size, 0);
});

test("a subscription that is never confirmed is asked for again, and a late answer is none", async () => {
  const { live, clock } = client();
  const errors = [];
  live.on("error", ({ code }) => errors.push(code));
  const { ready } = live.listen({ types: ["user"] });
  const asked = () => TestSocket.last.sent.filter(({ action }) => action === "subscribe");
  await Promise.resolve();
  for (let time = 0; time < 70_000; time += 5000) {
    clock.advance(5000);
    TestSocket.last.receive({ action: "pong", timestamp: "" });
  }
  assert.deepEqual([asked().length, errors], [2, [1011]]);
  for (const { request_id } of asked()) {
    TestSocket.last.receive({ action: "subscribed", message_types: ["user"], seq: 7, request_id });
  }
  await ready;
  assert.equal(live.seq, 7);
});

test("a timer that was held back is no proof that a command was not answered", async () => {
  const { live, clock } = client();
  const call = live.history();
  await Promise.resolve();
  clock.advance(60_000, 3_600_000);
  const { request_id } = TestSocket.last.sent.find(({ action }) => action === "get_history");
  TestSocket.last.receive({ action: "history", messages: [], total_count: 0, request_id });
  assert.deepEqual((await call).messages, []);
});

test("a command that was lost with its connection has its whole time on the next one", async () => {
  const { live, clock } = client();
  const call = live.publish(text("x"));
  await Promise.resolve();
  clock.advance(5000);
  reconnect({ live, clock }, 1006);
  for (let time = 0; time < 58_000; time += 2000) {
    clock.advance(2000);
    TestSocket.last.receive({ action: "pong", timestamp: "" });
  }
  const { request_id } = published()[0];
  TestSocket.last.receive({ action: "published", id: "m1", seq: 3, request_id });
  assert.equal((await call).seq, 3);
});

const LOST = { code: 1006, message: /10 minutes ago; it may have been carried out/ };

test("a message that was lost with its connection is given up after ten minutes", async () => {
  const { live, clock } = client();
  const [lost, asked] = [assert.rejects(live.publish(text("lost")), LOST), live.history()];
  await Promise.resolve();
  clock.advance(1000);
  TestSocket.last.onclose({ code: 1006, reason: "" });
  const waits = live.publish(text("never sent"));
  clock.advance(598_000);
  assert.equal(await Promise.race([lost, "waits"]), "waits");
  clock.advance(1000);
  await lost;
  TestSocket.last.receive(connected);
  assert.deepEqual(contents(), ["never sent"]);
  for (const { request_id, action } of TestSocket.last.sent) {
    if (action === "publish") TestSocket.last.receive({ action: "published", id: "m1", seq: 3, request_id });
    else if (action === "get_history") TestSocket.last.receive({ action: "history", messages: [], total_count: 0, request_id });
  }
  await Promise.all([waits, asked]);
});

test("a machine that has slept does not publish again what is too old", async () => {
  const { live, clock } = client();
  const lost = assert.rejects(live.publish(text("lost")), LOST);
  await Promise.resolve();
  TestSocket.last.onclose({ code: 1006, reason: "" });
  clock.wall = () => clock.time + 600_000; // timers have stood still
  clock.advance(1000);
  TestSocket.last.receive(connected);
  await lost;
  assert.deepEqual(contents(), []);
});

test("a command that ends one connection after the other is given up, all else lives", async () => {
  const { live, clock } = client();
  const refused = assert.rejects(live.publish(text("deadly")), { code: 1006, message: /8 connections/ });
  await Promise.resolve();
  for (let time = 0; time < 8; time += 1) {
    assert.deepEqual(contents(), ["deadly"]);
    reconnect({ live, clock }, 1011);
  }
  await refused;
  assert.deepEqual(contents(), []);
  live.publish(text("next"));
  assert.deepEqual(contents(), ["next"]);
});
