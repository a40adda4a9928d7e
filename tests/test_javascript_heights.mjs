/* Tests of the heights of lines: those that wrap are measured, the others are all alike. */
import assert from "node:assert/strict";
import test from "node:test";
import { Heights } from "../livelog/web/viewer/heights.js";

const linesOf = (count) => Array.from({ length: count }, (_, seq) => ({ seq }));

test("lines that do not wrap stand at multiples of one height", () => {
  const heights = new Heights();
  heights.reset(20, false);
  heights.follow(linesOf(1000));
  assert.deepEqual([heights.total, heights.topOf(7), heights.placeAt(159)], [20_000, 140, 7]);
  assert.ok(heights.isKnown(999));
});

test("measured lines move those below them, and the others are taken for one row", () => {
  const heights = new Heights();
  heights.reset(20, true);
  const lines = linesOf(100);
  heights.follow(lines);
  assert.equal(heights.total, 2000);
  heights.note([[2, 60], [3, 40]]);
  assert.deepEqual([2, 3, 4, 5, 100].map((place) => heights.topOf(place)), [40, 100, 140, 160, 2060]);
  assert.deepEqual([39, 40, 99, 100, 139, 140].map((top) => heights.placeAt(top)), [1, 2, 2, 3, 3, 4]);
  assert.deepEqual([heights.isKnown(2), heights.isKnown(4)], [true, false]);
  lines.push({ seq: 100 });
  heights.follow(lines);
  assert.equal(heights.total, 2080);
});

test("a line keeps its height wherever it is moved to", () => {
  const heights = new Heights();
  heights.reset(20, true);
  const lines = linesOf(50);
  heights.follow(lines);
  heights.note([[10, 80]]);
  heights.follow([...linesOf(5), ...lines]);
  assert.deepEqual([heights.topOf(15), heights.topOf(16)], [300, 380]);
  heights.follow(lines.slice(8));
  assert.deepEqual([heights.topOf(2), heights.topOf(3)], [40, 120]);
  assert.equal(heights.find(lines[10], 0, 5), 2);
  assert.equal(heights.find(lines[20], 0, 5), -1);
});

test("whatever is measured, places and tops agree", () => {
  const heights = new Heights();
  heights.reset(10, true);
  heights.follow(linesOf(300));
  let seed = 1;
  const random = (below) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  for (let round = 0; round < 50; round += 1) {
    const from = random(290);
    heights.note([0, 1, 2].map((step) => [from + step, 10 * (1 + random(5))]));
    for (const place of [0, from, from + 2, 299]) {
      assert.equal(heights.placeAt(heights.topOf(place)), place);
      assert.equal(heights.placeAt(heights.topOf(place + 1) - 1), place);
    }
  }
});
