/* Tests of the viewer's parts that need no page: what is loaded, subscribed and tried again. */
import assert from "node:assert/strict";
import test from "node:test";
import { LiveLog } from "../livelog/web/client/livelog.js";
import { clock, dayName, dayOf, moment } from "../livelog/web/viewer/time.js";
import { Lines } from "../livelog/web/viewer/lines.js";
import { Pages } from "../livelog/web/viewer/pages.js";
import { Timeline } from "../livelog/web/viewer/timeline.js";
import { EVERYTHING, filtersOf, fromAddress, wordsOf } from "../livelog/web/viewer/view.js";
import { TestClock, TestSocket } from "./support/js/doubles.mjs";

process.env.TZ = "America/New_York";
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

test("older messages that an incomplete page does not count are loaded all the same", async () => {
  serve(40, 5);
  const whole = globalThis.fetch;
  let asked = 0;
  globalThis.fetch = async (address) => {
    const page = JSON.parse(await (await whole(address)).text());
    asked += 1;
    const { offset = 0, messages = [] } = page;
    const seen = { incomplete: true, total_count: offset + messages.length };
    const answer = asked === 1 ? { ...page, ...seen } : page;
    return { ok: true, status: 200, text: async () => JSON.stringify(answer) };
  };
  const timeline = new Timeline(live, new Pages(), () => undefined);
  await timeline.open(EVERYTHING);
  assert.equal(timeline.rows.length, 5);
  await timeline.loadOlder();
  assert.deepEqual([timeline.rows.length, timeline.older], [10, 30]);
});

test("the newest page of all messages says by itself where the log ends", async () => {
  const opened = async (count, view) => {
    serve(count, 500);
    const whole = globalThis.fetch;
    const asked = [];
    globalThis.fetch = (address) => {
      asked.push(new URL(address, "http://h/").pathname);
      return whole(address);
    };
    let since;
    const listen = (wanted) => {
      since = wanted.since;
      return { stop: () => undefined };
    };
    await new Timeline({ ...live, listen }, new Pages(), () => undefined).open(view);
    return [since, asked];
  };
  const [page, head] = ["/api/history", "/healthz"];
  assert.deepEqual(await opened(40, EVERYTHING), [40, [page]]);
  assert.deepEqual(await opened(0, EVERYTHING), [0, [page, head, page]]);
  assert.deepEqual(await opened(40, { ...EVERYTHING, text: "x" }), [40, [head, page]]);
  assert.deepEqual(await opened(40, { ...EVERYTHING, at: 7 }), [40, [head, page]]);
});

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

const at = (timestamp, seq = 0) => ({ type: "user", timestamp, seq });

/** Lines as texts: the day of a day row, the seq of another. */
const shown = ({ rows }) => rows.map(({ type, timestamp, seq }) => {
  return type === "day" ? dayName(timestamp).replace(/^\w+day, | ·.*/g, "") : String(seq);
});

test("a leap second is the end of its minute, and of its day", () => {
  for (const leap of ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.5Z", "2016-12-31T15:59:60-08:00"]) {
    assert.equal(clock(leap), "18:59:59.999");
    assert.match(moment(leap), /^Dec 31, 2016, 18:59:59 UTC−05:00$/);
    assert.equal(dayName(leap), "Saturday, December 31, 2016 · UTC−05:00");
    assert.equal(dayOf(leap), dayOf("2016-12-31T23:59:58Z"));
    assert.equal(fromAddress(`?from=${encodeURIComponent(leap)}`).from, "2016-12-31T23:59:59.999Z");
  }
});

test("a day row stands wherever the local day changes", () => {
  const rows = [
    at("2025-12-03T04:59:59.999999Z", 1), // still the 2nd in New York
    at("2025-12-03T05:00:00.000000Z", 2),
    { type: "gap", seq: 3, from: 2, to: 3 },
    at("2025-12-04T04:59:00Z", 4),
    at("2024-01-01T12:00:00Z", 5), // a sender names its own times
    at("2025-12-04T04:59:30Z", 6),
    at("no time at all", 7),
    at("2025-12-04T04:59:30Z", 8),
  ];
  const lines = new Lines({ rows, first: 0, older: 10, unseen: 5 });
  const days = ["December 2, 2025", "December 3, 2025", "January 1, 2024", "Day unknown"];
  const [second, third, old, unknown] = days;
  const expected = [second, 1, third, 2, 3, 4, old, 5, third, 6, unknown, 7, third, 8].map(String);
  assert.deepEqual(shown(lines), expected);
  assert.deepEqual(lines.placeOf(1), { place: 11, of: 23 });
  assert.deepEqual(lines.placeOf(3), { place: 12, of: 23 });
});

test("lines keep their numbers when rows are added or dropped before them", () => {
  const day = (number, seq) => at(`2025-12-${String(number).padStart(2, "0")}T12:00:00Z`, seq);
  const timeline = { rows: [day(3, 30), day(3, 31), day(4, 40)], first: 0, generation: 1 };
  const lines = new Lines(timeline);
  const number = (seq) => lines.first + lines.rows.findIndex((row) => row.type !== "day" && row.seq === seq);
  const numbers = () => [number(31), number(40)];
  const before = numbers();
  const [, , , dayRow] = lines.rows;
  const change = (rows, first) => {
    Object.assign(timeline, { rows, first });
    lines.update();
    assert.deepEqual(numbers(), before);
  };
  change([day(1, 10), day(2, 20), day(3, 29), ...timeline.rows], -3);
  change([day(1, 9), ...timeline.rows], -4);
  change(timeline.rows.slice(3), -1);
  change(timeline.rows.slice(2), 1);
  assert.equal(lines.rows.find(({ type, seq }) => type === "day" && seq === 40), dayRow);
});

test("lines that grow are those that are made anew", () => {
  let state = 7; // the same numbers in every run
  const chance = (most) => (state = (state * 48_271) % 2_147_483_647) % most;
  const timeline = { rows: [], first: 0, generation: 1, older: 0, unseen: 0 };
  const lines = new Lines(timeline);
  let seq = 0;
  const row = () => at(`2025-12-0${1 + chance(3)}T12:00:00Z`, (seq += 1));
  const changes = [
    () => timeline.rows.push(row(), row()),
    () => timeline.rows.push({ type: "gap", seq: (seq += 1) }),
    () => (timeline.rows.unshift(row()), (timeline.first -= 1)),
    () => (timeline.first += timeline.rows.splice(0, 2).length),
    () => timeline.rows.splice(-2, 2),
    () => (timeline.rows = [row(), ...timeline.rows.slice(1)]),
    () => (timeline.rows.splice(-1, 1), timeline.rows.push(row())),
    () => ((timeline.rows = []), (timeline.generation += 1)),
  ];
  for (let time = 0; time < 2000; time += 1) {
    changes[chance(time % 10 ? 3 : changes.length)]();
    if (chance(3) === 0) continue;
    lines.update();
    assert.deepEqual(lines.rows, new Lines(timeline).rows);
  }
});

test("a time is shown with the zone that held then", () => {
  assert.match(dayName("2025-12-03T12:00:00Z"), /^Wednesday, December 3, 2025 · UTC−05:00$/);
  assert.match(dayName("2025-07-03T12:00:00Z"), /UTC−04:00$/);
  assert.match(moment("2025-12-03T12:00:00Z"), /, 07:00:00 UTC−05:00$/);
  assert.equal(dayOf("2025-12-03T12:00:00Z"), dayOf("2025-12-03T23:00:00+02:00"));
  assert.notEqual(dayOf("2025-11-02T05:30:00Z"), dayOf("2025-11-02T06:30:00Z"), "01:30 twice");
  assert.equal(dayOf("2016-12-31T23:59:60Z"), dayOf("2016-12-31T23:59:59Z"), "a leap second");
  assert.match(moment("2016-12-31T18:59:60.5-05:00"), /18:59:59/);
  for (const none of ["", "x", "Z", undefined, null, 7e99]) assert.equal(dayOf(none), "");
});

for (const [text, words] of [
  ["red -dragon", "red"],
  ["channel:general,trade red", "red"],
  ['-channel:"the pit" "red dragon"', '"red dragon"'],
  ["red OR (gate NOT (gold ring))", "red (gate )"],
  ['metadata."my level":>=40 drag*', "drag*"],
  ["channel:(general OR trade)", ""],
  ["http://x -y", "http://x"],
]) {
  test(`${text} is an expression, of which words are marked`, () => {
    const view = { ...EVERYTHING, text };
    assert.deepEqual(filtersOf(view), { where: text });
    assert.equal(wordsOf(view).replaceAll(/\s+/g, " ").trim(), words);
  });
}

for (const text of ["red dragon", '"red dragon', "well-known", "f(x) :)", "10:30", "status: ok", "a * b"]) {
  test(`${text} is words`, () => {
    const view = { ...EVERYTHING, text };
    assert.deepEqual([filtersOf(view), wordsOf(view)], [{ text }, text]);
  });
}
