/* Tests of messages as text: nothing of what was delivered is lost on the way to the reader. */
import assert from "node:assert/strict";
import test from "node:test";
import { elementsOf, tokensOf } from "../livelog/web/client/jsontext.js";
import { LiveLog, rawOf } from "../livelog/web/client/livelog.js";
import { exactly, indented, textOf, unsendable } from "../livelog/web/viewer/exact.js";
import { ndjson } from "../livelog/web/viewer/export.js";
import { describe } from "../livelog/web/viewer/format.js";
import { TestClock, TestSocket } from "./support/js/doubles.mjs";

const NUMBERS = ["9007199254740993", "-9007199254740993", "1e400", "-0", "0.1000000000000000055"];
const message = (metadata, seq = 1) =>
  `{"type":"user","id":"a","username":"Ann","content":"x","metadata":${metadata},"seq":${seq}}`;

const TEXTS = [
  "{}",
  "[]",
  '{"a":[],"b":{},"c":[1,{}],"d":"x,{}:[\\"\\\\"}',
  '[[],[[]],["]","}\\\\","\\\\\\""],-1.5e-7,true,null,""]',
  JSON.stringify({ "": { a: [{ b: [1, 2] }, "🐉"] } }),
];

for (const text of TEXTS) {
  test(`${text} is taken apart and put together`, () => {
    assert.equal(tokensOf(text).join(""), text);
    assert.equal(indented(text), JSON.stringify(JSON.parse(text), null, 2));
    assert.equal(tokensOf(indented(text)).join(""), text);
    assert.deepEqual(elementsOf(`{"x":"messages","messages":[${text} , ${text}\n],"z":1}`, "messages"), [text, text]);
  });
}

test("elements are found by the name on the outside only", () => {
  const text = '{"a":{"messages":[1]},"b":"\\"messages\\":[2]","messages":[3,[4]],"c":[5]}';
  assert.deepEqual(elementsOf(text, "messages"), ["3", "[4]"]);
  assert.deepEqual(elementsOf(text, "results"), []);
  assert.deepEqual(elementsOf('{"m":[1],"m":[2]}', "m"), ["2"]);
  assert.deepEqual(elementsOf("{}", "m"), []);
});

test("the client hands over the text of each message", async () => {
  const live = new LiveLog("ws://localhost/", { WebSocket: TestSocket, clock: new TestClock() });
  const socket = TestSocket.last;
  const answer = (action, rest) => {
    const { request_id } = socket.sent.at(-1);
    socket.onmessage({ data: `{"action":"${action}","request_id":"${request_id}",${rest}}` });
  };
  socket.receive({ action: "connected" });
  const heard = [];
  live.listen({ types: ["user"] }, (each) => heard.push(each));
  await Promise.resolve();
  answer("subscribed", '"message_types":["user"],"seq":0');
  const texts = NUMBERS.map((number, place) => message(`{"n":${number}}`, place + 1));
  for (const data of texts) socket.onmessage({ data });
  assert.deepEqual(heard.map(rawOf), texts);
  const page = live.history();
  answer("history", `"messages":[${texts}]`);
  assert.deepEqual((await page).messages.map(rawOf), texts);
  const found = live.search("x");
  answer("search_results", `"results":[${texts.join(" ,\n")}]`);
  assert.deepEqual((await found).results.reverse().map(rawOf), texts.toReversed());
  assert.equal(rawOf({}), undefined);
});

test("what is copied and downloaded is what was delivered", async () => {
  const texts = NUMBERS.map((number) => message(`{"2":1,"1":${number}}`));
  const page = await asPage(texts);
  assert.equal(ndjson([...page, { type: "gap" }]), texts.map((text) => `${text}\n`).join(""));
  const [spread] = await asPage([texts[0].replaceAll(",", ",\n  ")]);
  assert.equal(textOf(spread), texts[0]);
});

for (const number of NUMBERS) {
  test(`${number} is shown as it was delivered`, async () => {
    const data = `{"type":"system","event":"error","severity":"info","data":{"n":${number}},"seq":1}`;
    const [event] = await asPage([data]);
    assert.match(describe(exactly(event)).summary, new RegExp(`· n ${number}$`));
    assert.ok(indented(textOf(event)).includes(`"n": ${number}\n`));
  });
}

test("what a number would lose on its way from the page is found before", () => {
  for (const number of ["9007199254740993", "1e400", "-123456789012345678901"]) {
    assert.equal(unsendable(`{"a":[${number}]}`), number);
  }
  for (const text of ['{"a":1.50,"b":1e3,"c":-7,"d":"9007199254740993"}', "9007199254740991"]) {
    assert.equal(unsendable(text), undefined);
  }
});

test("messages of a type that is new are shown, too", () => {
  for (const type of ["shout", "constructor", "__proto__", undefined]) {
    const { subject, summary } = describe({ type, seq: 1, text: "new" });
    assert.equal(subject, type ?? "");
    assert.match(summary, /· text new/);
  }
  assert.match(describe({ type: "system", event: "error", data: null, note: "odd" }).summary, /odd/);
});

/** Messages as the client hands them over in a page. */
async function asPage(texts) {
  const live = new LiveLog("ws://localhost/", { WebSocket: TestSocket, clock: new TestClock() });
  TestSocket.last.receive({ action: "connected" });
  const page = live.history();
  const { request_id } = TestSocket.last.sent.at(-1);
  const data = `{"action":"history","request_id":"${request_id}","messages":[${texts}]}`;
  TestSocket.last.onmessage({ data });
  return (await page).messages;
}
