/* Tests of expressions as text, of the values of a message, and of the chips that show a view. */
import assert from "node:assert/strict";
import test from "node:test";
import { chipsOf } from "../livelog/web/viewer/chips.js";
import { condition, conditionsOf, excluding, fieldOf, including, isCounted, negation, opposing } from "../livelog/web/viewer/expression.js";
import { splitAt } from "../livelog/web/viewer/fault.js";
import { linksIn, shownOf, valuesOf } from "../livelog/web/viewer/values.js";
import { EVERYTHING, narrowed } from "../livelog/web/viewer/view.js";
import { keepText } from "../livelog/web/client/raw.js";

for (const [field, json, expected] of [
  ["channel", '"general"', "channel:general"],
  ["channel", '"the pit"', 'channel:"the pit"'],
  ["username", '"say \\"hi\\" \\\\o/"', 'username:"say \\"hi\\" \\\\o/"'],
  ["username", '"„low“"', 'username:"\\„low\\“"'],
  ["metadata.level", "50", "metadata.level:50"],
  ["metadata.level", '"50"', 'metadata.level:"50"'],
  ["metadata.level", "9007199254740993", "metadata.level:9007199254740993"],
  ["read", "false", "read:false"],
  ["content", '"true"', 'content:"true"'],
  ["metadata.x", "null", "-metadata.x:*"],
  ["username", '"OR"', "username:OR"],
  ["username", '"a*"', 'username:"a*"'],
  ["username", '""', 'username:""'],
  ["content", JSON.stringify("x".repeat(501)), null],
  ["metadata", "{}", null],
]) {
  test(`${field} with ${json.slice(0, 40)} is a condition`, () => {
    if (json === "{}") assert.equal(fieldOf(["metadata"]), null);
    else assert.equal(condition(field, json), expected);
  });
}

test("a path is a field if expressions have a name for it", () => {
  assert.equal(fieldOf(["channel"]), "channel");
  assert.equal(fieldOf(["seq"]), null);
  assert.equal(fieldOf(["unheard", "of"]), null);
  assert.equal(fieldOf(["metadata", "level"]), "metadata.level");
  assert.equal(fieldOf(["metadata", "my level", 'a"b']), 'metadata."my level"."a\\"b"');
  assert.equal(fieldOf(["participants", 0, "user_id"]), "participants.user_id");
});

test("messages are counted by fields that exist and do not differ in each message", () => {
  const counted = ["channel", "Channel", "metadata.level", 'metadata."my level".x', "participants.user_id"];
  const uncounted = ["chanel", "content", "id", "timestamp", "metadata", "meta.x", "metadata.", "metadata..x", "channel.x"];
  assert.deepEqual(counted.filter((field) => !isCounted(field)), []);
  assert.deepEqual(uncounted.filter(isCounted), []);
});

for (const [text, conditions] of [
  ["", []],
  ["red  dragon", ["red", "dragon"]],
  ['"red dragon" AND -channel:"the pit"', ['"red dragon"', '-channel:"the pit"']],
  ["red NOT dragon", ["red", "-dragon"]],
  ["NOT NOT red", ["red"]],
  ["DO NOT PANIC", ["DO", "NOT", "PANIC"]],
  ["red OR gate", ["(red OR gate)"]],
  ["(red OR gate) x", ["(red OR gate)", "x"]],
  ["channel:(a OR b) x:>=4", ["channel:(a OR b)", "x:>=4"]],
  ['say:"a \\" b" c', ['say:"a \\" b"', "c"]],
  ['"still typing', ['"still typing"']],
]) {
  test(`${text || "an empty text"} is taken apart into its conditions`, () => {
    assert.deepEqual(conditionsOf(text), conditions);
  });
}

test("a condition is added, taken out and made its opposite", () => {
  assert.equal(including("red OR gate", "channel:x"), "(red OR gate) channel:x");
  assert.equal(including("red -channel:x", "channel:x"), "red channel:x");
  assert.equal(including("channel:x", "channel:x"), "channel:x");
  assert.equal(excluding("red channel:x -y", "channel:x"), "red -y");
  assert.equal(opposing("red channel:x -y", "channel:x"), "red -channel:x -y");
  assert.equal(negation("-y"), "y");
  assert.equal(negation("10:30"), "-(10:30)");
  assert.equal(negation('"red gate"'), '-"red gate"');
});

test("a type alone is chosen among the types", () => {
  assert.deepEqual(narrowed({ ...EVERYTHING, at: 5 }, "type:raid"), { ...EVERYTHING, types: ["raid"] });
  const others = EVERYTHING.types.filter((type) => type !== "raid");
  assert.deepEqual(narrowed(EVERYTHING, "-type:raid").types, others);
  assert.deepEqual(narrowed({ ...EVERYTHING, types: ["raid"] }, "-type:raid").types, EVERYTHING.types);
  assert.equal(narrowed({ ...EVERYTHING, text: "red" }, "-channel:x").text, "red -channel:x");
});

test("each condition in force is a chip", () => {
  assert.deepEqual(chipsOf({ ...EVERYTHING, text: "red dragon" }), []);
  const view = {
    types: ["user", "raid"],
    text: "red -channel:x",
    fields: { server: "eu 1" },
    from: "2025-12-03T12:00:00.000Z",
    to: "",
    at: 7,
  };
  const chips = chipsOf(view);
  assert.deepEqual(chips.map(({ words, negated }) => (negated ? `not ${words}` : words)).slice(0, 4), [
    "type: user, raid",
    "red",
    "not channel:x",
    "server: eu 1",
  ]);
  assert.equal(chips.length, 6);
  assert.deepEqual(chips[0].opposite.types, ["system", "dm", "party", "guild"].sort((a, b) => EVERYTHING.types.indexOf(a) - EVERYTHING.types.indexOf(b)));
  assert.equal(chips[2].opposite.text, "red channel:x");
  assert.equal(chips[2].without.text, "red");
  assert.deepEqual(chips[3].opposite, { ...view, fields: {}, text: 'red -channel:x -server:"eu 1"' });
  assert.deepEqual([chips[4].without.from, chips[5].without.at], ["", null]);
});

test("the values of a message are those that were delivered", () => {
  const text = '{"type":"raid","seq":9007199254740993,"data":{"a b":[1.0,{"x":"\\n"}],"e":{},"l":[]},"participants":[{"user_id":"u"}]}';
  const message = JSON.parse(text);
  keepText(message, text);
  assert.deepEqual(valuesOf(message), [
    { label: "type", field: "type", json: '"raid"' },
    { label: "seq", field: null, json: "9007199254740993" },
    { label: "data.a b[0]", field: 'data."a b"', json: "1.0" },
    { label: "data.a b[1].x", field: 'data."a b".x', json: '"\\n"' },
    { label: "data.e", field: null, json: "{}" },
    { label: "data.l", field: null, json: "[]" },
    { label: "participants[0].user_id", field: "participants.user_id", json: '"u"' },
  ]);
  assert.equal(shownOf('"a\\nb"'), "a\nb");
  assert.equal(shownOf("1.0"), "1.0");
});

for (const [text, links] of [
  ["no link", []],
  ["see https://a.test/x?y=1. Or (http://b.test/)!", ["https://a.test/x?y=1", "http://b.test/"]],
  ["javascript:alert(1) ftp://a.test data:text/html,x", []],
  ['<a href="https://a.test/">', ["https://a.test/"]],
]) {
  test(`links in ${text}`, () => {
    const parts = linksIn(text);
    assert.equal(parts.map((part) => part.text).join(""), text);
    assert.deepEqual(parts.filter(({ href }) => href).map(({ href }) => href), links);
  });
}

test("a fault is at its column, in code points", () => {
  assert.deepEqual(splitAt("🐉 chanel:x y", 3), ["🐉 ", "chanel:x", " y"]);
  assert.deepEqual(splitAt("red OR", 7), ["red OR", " ", ""]);
});
