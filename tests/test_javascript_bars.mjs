/* Tests of the bars of the histogram. */
import assert from "node:assert/strict";
import test from "node:test";
import { Bars, intervalFor, MOST, total } from "../livelog/web/viewer/bars.js";

const at = (iso) => Date.parse(iso) / 1000;
const sums = (bars) => bars.bars.map(total);

test("an interval is as fine as 2000 buckets allow", () => {
  for (const seconds of [0, 1, 1000, 3600, 86_400, 86_400 * 40, 86_400 * 4000]) {
    const interval = intervalFor(seconds);
    assert.ok(seconds / interval + 2 <= 2000, `${seconds} by ${interval}`);
    assert.ok(Number.isInteger(interval) && interval >= 1);
  }
});

test("buckets become bars of the range that was asked for", () => {
  const buckets = [
    { start: "2025-12-03T12:00:00Z", groups: { user: 2, raid: 1 } },
    { start: "2025-12-03T12:01:00Z", groups: { user: 5 } },
  ];
  const bars = new Bars(buckets, at("2025-12-03T11:00:00Z"), at("2025-12-03T13:00:00Z"));
  assert.ok(bars.bars.length <= MOST);
  assert.ok(bars.start <= at("2025-12-03T11:00:00Z") && bars.end > at("2025-12-03T13:00:00Z") - 1);
  assert.equal(sums(bars).reduce((one, other) => one + other), 8);
  assert.equal(bars.shareOf(bars.timeAt(0.25)), 0.25);
  const place = Math.floor((at("2025-12-03T12:00:00Z") - bars.start) / bars.length);
  assert.deepEqual(Object.fromEntries(bars.bars[place]), bars.length === 60 ? { user: 2, raid: 1 } : { user: 7, raid: 1 });
});

test("without a range the messages are the bounds", () => {
  const bars = new Bars([{ start: "2025-12-03T12:00:00Z", groups: { user: 1 } }, { start: "2025-12-03T12:00:30Z", groups: { dm: 1 } }]);
  assert.equal(bars.start, at("2025-12-03T12:00:00Z"));
  assert.deepEqual([bars.bars.length, bars.length], [31, 1]);
  assert.deepEqual(sums(new Bars()), []);
});

test("live messages make stretches longer, never more than the most, and none is lost", () => {
  const bars = new Bars();
  let now = 1_764_763_200;
  let state = 7;
  for (let many = 1; many <= 3000; many += 1) {
    state = (state * 48_271) % 2_147_483_647;
    now += state % 400;
    bars.add(many % 50 ? now : now - 90, "user");
    if (many % 100 === 0) {
      assert.ok(bars.bars.length <= MOST, String(bars.bars.length));
      assert.equal(sums(bars).reduce((one, other) => one + other), many);
      assert.ok(bars.end > now);
    }
  }
});
