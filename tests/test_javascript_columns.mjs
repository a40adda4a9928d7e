/* Tests of what a row shows besides its text: columns, snippets; and of the addresses of views. */
import assert from "node:assert/strict";
import test from "node:test";
import { cellsOf } from "../livelog/web/viewer/cells.js";
import { toggled } from "../livelog/web/viewer/columnchoice.js";
import { marksOf } from "../livelog/web/viewer/highlight.js";
import { panesIn, toFragment } from "../livelog/web/viewer/panesaddress.js";
import { askedOf, inSight, slid, snippetsOf } from "../livelog/web/viewer/snippet.js";
import { EVERYTHING, fromAddress, nameOf, toAddress } from "../livelog/web/viewer/view.js";

const message = {
  type: "user",
  seq: 7,
  username: "Ann",
  content: "hello",
  metadata: { level: 42, channel: "general", note: `${"so far ".repeat(20)}a dragon sleeps`, "a b": true },
  participants: [{ username: "Bo" }, { username: "Cy" }],
};
const widthOf = (text) => text.length;

test("a cell has the values of its field, by any name that filters know", () => {
  const fields = ["metadata.level", "channel", "participants.username", "seq", "event", 'metadata."a b"'];
  assert.deepEqual(
    cellsOf(message, fields).map(({ text, field }) => [text, field]),
    [
      ["42", "metadata.level"],
      ["general", "metadata.channel"],
      ["Bo, Cy", null],
      ["7", null],
      ["", null],
      ["true", 'metadata."a b"'],
    ],
  );
  assert.equal(cellsOf({ ...message, redacted: true }, ["seq"])[0].text, "");
});

test("columns are part of the view's address, each once and not too many", () => {
  const columns = ["metadata.level", 'metadata."a b,c"'];
  const address = toAddress({ ...EVERYTHING, columns });
  assert.deepEqual(fromAddress(address), { ...EVERYTHING, columns });
  assert.deepEqual(fromAddress("?column=a&column=a&column=&column=b").columns, ["a", "b"]);
  const many = Array.from({ length: 99 }, (_, number) => `f${number}`);
  assert.equal(fromAddress(toAddress({ ...EVERYTHING, columns: many })).columns.length, 12);
  assert.deepEqual(toggled(["a", "b"], "a"), ["b"]);
  assert.deepEqual(toggled(["a", "b"], "c"), ["a", "b", "c"]);
});

test("a snippet shows what was found where the row does not show it", () => {
  const marks = marksOf("dragon hello");
  const found = snippetsOf(message, ["user", "Ann", "hello"], marks, new Map());
  assert.deepEqual(found, [{ label: "metadata.note", text: "…so far so far so far a dragon sleeps" }]);
  assert.deepEqual(snippetsOf(message, ["hello", "a dragon"], marks, new Map()), []);
  assert.deepEqual(snippetsOf(message, ["hello"], null, new Map()), []);
  // Where there is little room, the hit comes first of all.
  const [narrow] = snippetsOf(message, ["hello"], marks, new Map(), 120);
  assert.deepEqual(narrow, { label: "note", text: "…a dragon sleeps" });
});

test("a field that is compared is shown, unless its value is known or in sight", () => {
  const asked = (text) => snippetsOf(message, ["Ann", "#general"], null, askedOf(text));
  assert.deepEqual(asked("metadata.level:>=40"), [{ label: "metadata.level", text: "42" }]);
  assert.deepEqual(asked("(metadata.level:>40 OR username:A*)"), [{ label: "metadata.level", text: "42" }]);
  for (const known of ["metadata.level:42", "-metadata.level:1", "username:A*", "https://a.test", "hello"]) {
    assert.deepEqual(asked(known), [], known);
  }
});

test("a text whose hit is far to the right begins shortly before it", () => {
  const text = `${"word ".repeat(50)}dragon ${"word ".repeat(50)}`;
  const marks = marksOf("dragon");
  const moved = slid(text, marks, 240, widthOf);
  assert.ok(moved.startsWith("…word"));
  assert.ok(moved.indexOf("dragon") < 30);
  assert.equal(slid(text, marks, 300, widthOf), text);
  assert.equal(slid(text, null, 10, widthOf), text);
  assert.equal(slid(`${"😀".repeat(99)}dragon`, marks, 9, widthOf).codePointAt(1), 0x1f600);
  assert.equal(inSight("abcdefghij", 5, widthOf), "abcde");
});

test("the address of views side by side brings all of them back, and leads nowhere else", () => {
  const panes = [
    { address: "?q=red&channel=a%26b#lines=two", title: "Red & blue #1" },
    { address: "", title: "" },
  ];
  assert.deepEqual(panesIn(toFragment(panes)), panes);
  assert.deepEqual(panesIn(""), [{ address: "", title: "" }]);
  for (const bad of ["javascript:alert(1)", "//evil.test/", "https://evil.test/"]) {
    assert.equal(panesIn(toFragment([{ address: bad, title: "" }]))[0].address, "");
  }
  assert.equal(panesIn(toFragment(Array(9).fill(panes[0]))).length, 4);
});

test("a view is named by its conditions", () => {
  assert.equal(nameOf(EVERYTHING), "");
  const view = { ...EVERYTHING, text: "red", types: ["raid", "dm"], fields: { channel: "trade" } };
  assert.equal(nameOf(view), "red · raid, dm · trade");
});
