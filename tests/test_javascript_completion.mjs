/* Tests of the completion of expressions. */
import assert from "node:assert/strict";
import test from "node:test";
import { fieldsFor, valuesFor, wordAt } from "../livelog/web/viewer/completion.js";

for (const [typed, field, prefix] of [
  ["cha", "", "cha"],
  ["red -cha", "", "cha"],
  ["(cha", "", "cha"],
  ["channel:", "channel", ""],
  ["-channel:ge", "channel", "ge"],
  ['channel:"the p', "channel", "the p"],
  ["channel:a,b", "channel", "b"],
  ['channel:"a, b",c', "channel", "c"],
  ['metadata."my level":4', 'metadata."my level"', "4"],
  ["metadata.le", "", "metadata.le"],
]) {
  test(`in ${typed} the last word is completed`, () => {
    const word = wordAt(`${typed} more`, typed.length);
    assert.deepEqual([word.field, word.prefix], [field, prefix]);
    assert.equal(word.end, typed.length);
    assert.equal(typed.slice(word.start).replace(/^"/, ""), prefix);
  });
}

for (const typed of ["", "red ", '"red dra', "10:30", "red)"]) {
  test(`in ${typed || "nothing"} no word is completed`, () => assert.equal(wordAt(typed, typed.length), null));
}

test("names are completed from the second letter on, with the paths that messages have", () => {
  assert.deepEqual(fieldsFor("c"), []);
  assert.deepEqual(fieldsFor("cha"), ["channel:"]);
  assert.deepEqual(fieldsFor("META", ["metadata.level", "channel"]), ["metadata.level:", "metadata."]);
  assert.deepEqual(fieldsFor("metadata.l", ["metadata.level"]), ["metadata.level:"]);
  assert.deepEqual(fieldsFor("xyz"), []);
});

test("values are completed as they have to be written", () => {
  const known = ["general", "the pit", "Guild", 40, true];
  assert.deepEqual(valuesFor("channel", "", known), ["general", '"the pit"', "Guild", "40", "true"]);
  assert.deepEqual(valuesFor("channel", "g", known), ["general", "Guild"]);
  assert.deepEqual(valuesFor("channel", "the p", known), ['"the pit"']);
});
