/* Tests of times as texts, and of the choices that a browser keeps. */
import assert from "node:assert/strict";
import test, { afterEach } from "node:test";
import { Lines } from "../livelog/web/viewer/lines.js";
import { chosen } from "../livelog/web/viewer/settings.js";
import { viewsIn, withView } from "../livelog/web/viewer/savedviews.js";
import { store, stored } from "../livelog/web/viewer/stored.js";
import { ago, atWallTime, clock, dayName, dayOf, moment, useUtc, wallTime, zone } from "../livelog/web/viewer/time.js";

import { EVERYTHING, fromAddress } from "../livelog/web/viewer/view.js";

process.env.TZ = "America/New_York";
afterEach(() => useUtc(false));

test("all times are in UTC where the reader wants it", () => {
  const time = "2025-12-03T02:30:00.120Z";
  assert.deepEqual([clock(time), zone(new Date(time))], ["21:30:00.120", "UTC−05:00"]);
  useUtc(true);
  assert.deepEqual([clock(time), zone(new Date(time))], ["02:30:00.120", "UTC"]);
  assert.equal(dayName(time), "Wednesday, December 3, 2025 · UTC");
  assert.match(moment(time), /^Dec 3, 2025, 02:30:00 UTC$/);
  assert.equal(dayOf("2025-12-03T00:00:00Z"), dayOf("2025-12-03T23:59:59Z"));
  assert.notEqual(dayOf("2025-12-03T04:59:00Z"), dayOf("2025-12-02T23:59:59Z"));
});

test("a time on the clocks is a moment, and back", () => {
  for (const [utc, iso] of [[false, "2025-12-03T17:30:00.000Z"], [true, "2025-12-03T12:30:00.000Z"]]) {
    useUtc(utc);
    const found = atWallTime("2025-12-03T12:30:00");
    assert.equal(found.toISOString(), iso);
    assert.equal(wallTime(found), "2025-12-03T12:30:00.000");
  }
  for (const none of ["", "x", "2025-13-01T00:00"]) assert.equal(atWallTime(none), null);
});

for (const [seconds, words] of [
  [0, "0 s ago"],
  [0.9, "0 s ago"],
  [59, "59 s ago"],
  [60, "1 min ago"],
  [7199, "1 h ago"],
  [86_400 * 400, "400 d ago"],
  [-90, "in 1 min"],
]) {
  test(`${seconds} seconds back is ${words}`, () => {
    const now = Date.parse("2025-12-03T12:00:00Z");
    assert.equal(ago(new Date(now - seconds * 1000).toISOString(), now), words);
  });
}

test("a text that is no time is shown as it is", () => {
  assert.deepEqual([ago("x", 0), clock("x"), dayName("x")], ["x", "x", "Day unknown"]);
});

test("lines have their day rows anew in another zone", () => {
  const rows = ["2025-12-03T03:00:00Z", "2025-12-03T12:00:00Z"].map((timestamp, seq) => ({ type: "user", timestamp, seq }));
  const lines = new Lines({ rows, first: 0, older: 0, unseen: 0 });
  assert.deepEqual(lines.rows.map(({ type }) => type), ["day", "user", "day", "user"]);
  useUtc(true);
  lines.reset();
  assert.deepEqual(lines.rows.map(({ type }) => type), ["day", "user", "user"]);
});

test("choices that are unknown or missing are the default", () => {
  const initial = chosen(undefined);
  assert.deepEqual(chosen({ theme: "pink", raw: "yes", more: 1 }), initial);
  assert.deepEqual(chosen("x"), initial);
  assert.equal(chosen({ theme: "dark" }).theme, "dark");
});

for (const [words, storage] of [
  ["forbidden", { get localStorage() { throw new Error("SecurityError"); } }],
  ["full", { localStorage: { getItem: () => null, setItem() { throw new Error("QuotaExceededError"); } } }],
  ["damaged", { localStorage: { getItem: () => "{", setItem() { throw new Error("x"); } } }],
]) {
  test(`storage that is ${words} is no fault`, (context) => {
    Object.defineProperty(globalThis, "localStorage", { configurable: true, get: () => storage.localStorage });
    context.after(() => delete globalThis.localStorage);
    assert.equal(store("settings", { theme: "dark" }), false);
    assert.equal(stored("settings"), undefined);
  });
}

test("saved views are known by their name, and only views are imported", () => {
  const view = { ...EVERYTHING, text: "red", fields: { channel: "x" } };
  let views = withView([], " mine ", view);
  assert.deepEqual(views, [{ name: "mine", address: "?q=red&channel=x" }]);
  assert.deepEqual(fromAddress(views[0].address), view);
  views = withView(withView(views, "all", EVERYTHING), "mine", EVERYTHING);
  assert.deepEqual(views, [{ name: "all", address: "" }, { name: "mine", address: "" }]);
  assert.equal(withView(views, "  ", view), views);
  const wide = { ...EVERYTHING, columns: ["a", "b"] };
  const widths = { a: 20, b: 9999, c: 7, __proto__: { b: 7 } };
  const kept = [{ name: "wide", address: "?column=a&column=b", widths: { a: 20 } }];
  assert.deepEqual(withView([], "wide", wide, widths), kept);
  assert.deepEqual(viewsIn(kept), kept);
  assert.deepEqual(viewsIn([{ ...kept[0], widths: "x" }]), [{ name: "wide", address: kept[0].address }]);
  const foreign = [null, 7, { name: "x" }, { name: "evil", address: "javascript:alert(1)?q=a&evil=1" }];
  assert.deepEqual(viewsIn(foreign), [{ name: "evil", address: "" }]);
  for (const none of [undefined, null, {}, "x"]) assert.deepEqual(viewsIn(none), []);
  const many = Array.from({ length: 150 }, (_, name) => ({ name: String(name), address: "" }));
  assert.equal(viewsIn(many).length, 100);
});
