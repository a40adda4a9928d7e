/* Tests of the viewer's parts that need no page: what is loaded, subscribed and tried again. */
import assert from "node:assert/strict";
import test from "node:test";
import { LiveLog } from "../livelog/web/client/livelog.js";
import { Pages } from "../livelog/web/viewer/pages.js";
import { Timeline } from "../livelog/web/viewer/timeline.js";
import { EVERYTHING } from "../livelog/web/viewer/view.js";
import { TestClock, TestSocket } from "./support/js/doubles.mjs";

globalThis.sessionStorage = { getItem: () => null };

const live = { on: () => undefined, listen: () => ({ stop: () => undefined }) };
const settled = () => new Promise((resolve) => setTimeout(resolve));

/** A server whose pages are cut: of the messages asked for, the `most` nearest to the place are on
 * the page. */
function serve(count, most) {
  const seqs = Array.from({ length: count }, (_, place) => place + 1);
  globalThis.fetch = async (address) => {
    const asked = Object.fromEntries(new URL(address, "http://h/").searchParams);
    const page = address.includes("healthz") ? { head_seq: count } : cut(seqs, asked, most);
    return { ok: true, status: 200, text: async () => JSON.stringify(page) };
  };
}

function cut(seqs, { before, after, around, limit }, most) {
  const size = Math.min(Number(limit), most);
  const from = {
    before: () => Math.max(0, before - 1 - size),
    after: () => Number(after),
    around: () => Math.max(0, Math.min(seqs.length - size, around - Math.ceil(size / 2))),
    end: () => Math.max(0, seqs.length - size),
  };
  const start = from[before ? "before" : after ? "after" : around ? "around" : "end"]();
  const end = before ? before - 1 : start + size;
  const messages = seqs.slice(start, end).reverse().map((seq) => ({ type: "user", seq }));
  const offset = Math.max(0, seqs.length - end);
  const rest = messages.length < limit ? { truncated: true, next_offset: offset + messages.length } : {};
  return { messages, total_count: seqs.length, offset, ...rest };
}

for (const most of [1, 3, 7, 500]) {
  for (const at of [null, 1, 20, 40]) {
    test(`pages of ${most} from ${at ?? "the end"} leave nothing out and double nothing`, async () => {
      serve(40, most);
      const timeline = new Timeline(live, new Pages(), () => undefined);
      await timeline.open({ ...EVERYTHING, at });
      for (let page = 0; page < 40 && timeline.older; page += 1) await timeline.loadOlder();
      for (let page = 0; page < 40 && !timeline.complete; page += 1) await timeline.loadNewer();
      const seqs = timeline.rows.map(({ seq }) => seq);
      assert.deepEqual(seqs, Array.from({ length: 40 }, (_, place) => place + 1));
      assert.deepEqual([timeline.older, timeline.unseen, timeline.failure], [0, 0, null]);
    });
  }
}

test("a gap is filled from pages that are cut", async () => {
  serve(40, 3);
  const timeline = new Timeline(live, new Pages(), () => undefined);
  await timeline.open(EVERYTHING);
  const gap = { type: "gap", seq: 30, from: 10, to: 30 };
  timeline.rows = [{ seq: 10, type: "user" }, gap, { seq: 31, type: "user" }];
  assert.equal(await timeline.fill(gap), 20);
  assert.deepEqual(timeline.rows.map(({ seq }) => seq), Array.from({ length: 22 }, (_, n) => n + 10));
});

test("an empty page with something beside it ends the loading", async () => {
  serve(40, 3);
  const timeline = new Timeline(live, new Pages(), () => undefined);
  await timeline.open({ ...EVERYTHING, at: 20 });
  let asked = 0;
  globalThis.fetch = async () => {
    asked += 1;
    const page = { messages: [], total_count: 40, offset: 7 };
    return { ok: true, text: async () => JSON.stringify(page) };
  };
  assert.equal(await timeline.catchUp(), true);
  await timeline.loadOlder();
  await timeline.loadOlder();
  assert.equal(asked, 2);
});

test("a view that could not be loaded is tried again, unless it was refused", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const tick = async (ms) => {
    context.mock.timers.tick(ms);
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  };
  const answers = [
    { status: 429, body: { error_code: 4003, details: { retry_after_seconds: 9 } } },
    { status: 502, body: "<html>" },
    { status: 400, body: { error_code: 1002, details: {} } },
  ];
  let asked = 0;
  globalThis.fetch = async () => {
    const { status, body } = answers[Math.min(asked, 2)];
    asked += 1;
    return { ok: false, status, text: async () => (body.error_code ? JSON.stringify(body) : body) };
  };
  const timeline = new Timeline(live, new Pages(), () => undefined);
  await timeline.open(EVERYTHING);
  assert.equal(timeline.failure.code, 4003);
  await tick(8999);
  assert.equal(asked, 1);
  await tick(1);
  assert.match(timeline.failure.message, /no JSON \(HTTP status 502\)/);
  await tick(5000);
  assert.equal(timeline.failure.code, 1002);
  await tick(1_000_000);
  assert.equal(asked, 3);
});

test("a view that replaces another costs one command", async () => {
  serve(40, 500);
  const clock = new TestClock();
  const client = new LiveLog("ws://localhost/", { WebSocket: TestSocket, clock });
  const socket = TestSocket.last;
  socket.receive({ action: "connected" });
  const timeline = new Timeline(client, new Pages(), () => undefined);
  const commands = () => socket.sent.filter(({ action }) => action.endsWith("subscribe"));
  const answer = () => {
    const { request_id, action, message_types, since = 40 } = socket.sent.at(-1);
    socket.receive({ action: `${action}d`, request_id, message_types, seq: since });
  };
  const views = [["user", "dm", "raid"], ["user", "dm"], ["user"], ["user", "guild"], ["guild"]];
  for (const [place, types] of [EVERYTHING.types, ...views].entries()) {
    await timeline.open({ ...EVERYTHING, types });
    await settled();
    assert.equal(commands().length, place + 1);
    assert.deepEqual([socket.sent.at(-1).action, socket.sent.at(-1).message_types], ["subscribe", types]);
    answer();
    clock.advance(1000);
  }
  clock.advance(1000);
  const { action, message_types } = socket.sent.at(-1);
  assert.equal(action, "unsubscribe");
  assert.deepEqual(message_types.sort(), ["dm", "party", "raid", "system", "user"]);
  assert.equal(commands().length, 7);
  client.close();
  assert.equal(clock.timers.size, 0);
});

test("a listener gets the types that it asked for and no others", async () => {
  const client = new LiveLog("ws://localhost/", { WebSocket: TestSocket, clock: new TestClock() });
  const socket = TestSocket.last;
  socket.receive({ action: "connected" });
  const heard = { users: [], raids: [] };
  client.listen({ types: ["user"] }, ({ seq }) => heard.users.push(seq));
  client.listen({ types: ["raid"] }, ({ seq }) => heard.raids.push(seq));
  await Promise.resolve();
  const { request_id, message_types } = socket.sent.at(-1);
  socket.receive({ action: "subscribed", request_id, message_types, seq: 0 });
  ["user", "raid", "dm", "user"].forEach((type, place) => socket.receive({ type, seq: place + 1 }));
  assert.deepEqual(heard, { users: [1, 4], raids: [2] });
});
