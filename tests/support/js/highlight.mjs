/* The highlighter of the viewer on the table of cases; `node --test` runs it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { marksOf, matches } from "../../../livelog/web/viewer/highlight.js";

const cases = JSON.parse(readFileSync(new URL("../../text-cases.json", import.meta.url)));

for (const { script, text, found, missed } of cases) {
  test(script, () => {
    for (const query of [...found, ...missed]) {
      const marked = marksOf(query).map((phrase) => matches(text, [phrase]));
      assert.equal(marked.every((each) => each.length > 0), found.includes(query), query);
    }
  });
}

const marked = (text, query) => matches(text, marksOf(query)).map(([from, to]) => text.slice(from, to));

test("what is marked is the original text", () => {
  assert.deepEqual(marked("at İSTANBUL'da", "istanbul"), ["İSTANBUL"]);
  assert.deepEqual(marked("a dra\u00adgon.", "dragon"), ["dra\u00adgon"]);
  assert.deepEqual(marked("von مُحَمَّد dort", "محمد"), ["مُحَمَّد"]);
  assert.deepEqual(marked("Die Straße", "ss"), ["ß"]);
  assert.deepEqual(marked("gg🐉🔥 :)", "🐉 :)"), ["🐉", ":)"]);
  assert.deepEqual(marked("ﾄﾞﾗｺﾞﾝ", "ドラ"), ["ﾄﾞﾗ"]);
  assert.deepEqual(marked("red - dragons", '"red dragon"'), ["red - dragon"]);
  assert.deepEqual(marked("<b>red</b> dragon", "dragon <b>"), ["b", "b", "dragon"]);
  assert.deepEqual(marked("red red", "re red"), ["red", "red"]);
  assert.deepEqual(marked("a . - . b", '"a . b"'), ["a . - . b"]);
  assert.deepEqual(marked("a\0b a b", '"a\0b"'), ["a b"]);
  assert.deepEqual(marked("dra\ufeffgon dra", "dra\ufeffgon"), ["dra\ufeffgon"]);
});

test("the time is linear in the text, and what grows is bounded", () => {
  const before = process.cpuUsage().user;
  assert.deepEqual(marked(". ".repeat(32_000), '". b"'), []);
  assert.ok(process.cpuUsage().user - before < 1_000_000);
  assert.equal(marked("\ufdfa ".repeat(2000), "صلى").length, 1000);
});

test("a query without words marks nothing", () => {
  assert.equal(marksOf(' "" \u200b '), null);
});
