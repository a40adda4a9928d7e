/* Tests of moderation and presence that need no page: identities, sentences, expressions. */
import assert from "node:assert/strict";
import test from "node:test";
import { Emitter } from "../livelog/web/client/emitter.js";
import { LiveLogError, TYPES } from "../livelog/web/client/livelog.js";
import { retryAfter, whyNot } from "../livelog/web/viewer/admin.js";
import { sentenceOf } from "../livelog/web/viewer/auditlog.js";
import { AuditTrail } from "../livelog/web/viewer/audittrail.js";
import { Identity } from "../livelog/web/viewer/identity.js";
import { userOf } from "../livelog/web/viewer/moderation.js";
import { expressionOf } from "../livelog/web/viewer/redacting.js";
import { tellTroubles } from "../livelog/web/viewer/troubles.js";
import { EVERYTHING } from "../livelog/web/viewer/view.js";

let kept = null;
globalThis.sessionStorage = { getItem: () => kept };
const settled = () => new Promise((resolve) => setTimeout(resolve));

function identityOf(health) {
  const live = new Emitter();
  const asked = [];
  const pages = { health: async () => (asked.push("health"), health) };
  return { live, asked, identity: new Identity(live, pages) };
}

test("an identity follows each token of each connection", () => {
  kept = "a token";
  const { live, identity, asked } = identityOf({});
  const told = [];
  identity.on(() => told.push([identity.id, identity.may("moderate"), identity.may("presence")]));
  live.emit("state", { name: "connected" });
  assert.deepEqual([identity.id, identity.may("moderate")], [null, false]);
  live.emit("authenticated", { id: "mod", scopes: ["read", "moderate"] });
  live.emit("authenticated", { id: "mod", scopes: ["read"] });
  live.emit("authenticated", { id: "mod", scopes: ["admin"] });
  assert.deepEqual(told, [["mod", true, false], ["mod", false, false], ["mod", true, true]]);
  assert.deepEqual(asked, []);
});

test("an open server gives no scope, with a token and without one", async () => {
  kept = "a token";
  const given = identityOf({});
  given.live.emit("authenticated", { id: "", scopes: ["admin"] });
  kept = null;
  const none = identityOf({ head_seq: 0 });
  none.live.emit("state", { name: "connected" });
  await settled();
  for (const { identity } of [given, none]) {
    assert.deepEqual([identity.isOpen, identity.may("moderate"), identity.may("admin")], [true, false, false]);
  }
});

test("a server that wants a token is not taken for an open one", async () => {
  kept = null;
  const { live, identity } = identityOf({ status: "ok" });
  live.emit("state", { name: "connected" });
  await settled();
  assert.deepEqual([identity.id, identity.isOpen], [null, false]);
});

test("a number of users that comes later is no trouble to tell", () => {
  const live = new Emitter();
  const told = [];
  tellTroubles(live, { show: (words) => told.push(words) }, () => undefined);
  live.emit("throttled", { seconds: 2, action: "presence" });
  assert.deepEqual(told, []);
  live.emit("throttled", { seconds: 2, action: "subscribe" });
  assert.equal(told.length, 1);
});

test("the user of a value is the one it names, else the author of the message", () => {
  const message = { type: "dm", from_user_id: "a", from_username: "Ann", to_user_id: "z" };
  assert.deepEqual(userOf(message), { id: "a", name: "Ann" });
  assert.deepEqual(userOf(message, { field: "content", json: '"x"' }), { id: "a", name: "Ann" });
  for (const field of ["to_user_id", "participants.user_id", "data.user_id", "leader_id"]) {
    assert.deepEqual(userOf(message, { field, json: '"z"' }), { id: "z", name: "" });
  }
  for (const json of ["null", "7", '""']) assert.equal(userOf(null, { field: "data.user_id", json }), null);
  assert.equal(userOf({ type: "raid", raid_id: "r" }), null);
  assert.equal(userOf({ type: "user", redacted: true }), null);
});

test("a view is one expression", () => {
  const fields = { channel: "the pit", raid_id: "50" };
  const view = { ...EVERYTHING, types: ["user", "dm"], text: "red OR gate", fields, from: "2025-12-01T00:00:00.000Z" };
  assert.equal(
    expressionOf(view),
    '(red OR gate) type:user,dm channel:"the pit" raid_id:"50" timestamp:>=2025-12-01T00:00:00.000Z',
  );
  assert.equal(expressionOf({ ...EVERYTHING, types: TYPES }), "");
});

test("acts are told in sentences, also those of a kind that is new", () => {
  const told = (act) => Object.values(sentenceOf(act));
  assert.deepEqual(told({ act: "redact", messages: 2, scrubbed: false }), ["redacted", "2 messages · files not yet clean"]);
  assert.deepEqual(told({ act: "redact", messages: 1, scrubbed: true }), ["redacted", "1 message"]);
  assert.deepEqual(told({ act: "block", user_id: "u" }), ["blocked", "for ever"]);
  assert.match(told({ act: "block", user_id: "u", until: "2025-12-04T12:00:00.000Z" })[1], /^until Dec 4, 2025/);
  assert.deepEqual(told({ act: "disconnect", back_in: 1 }), ["disconnected", ""]);
  assert.deepEqual(told({ act: "disconnect" }), ["disconnected", "not to come back by itself"]);
  assert.deepEqual(told({ act: "operate", command: "log-level", node: "a", detail: "debug" }), ["", "log-level · on a · debug"]);
  const fresh = { seq: 1, act: "send_home", by: "m", at: "x", user_id: "u", hours: 2 };
  assert.deepEqual(told(fresh), ["send home", "hours 2"]);
});

test("a failure is one sentence, and is tried again only where that helps", () => {
  const missing = new LiveLogError(1008, "command: the scope moderate is missing", { scope: "moderate" });
  const limited = new LiveLogError(4003, "messages", { issue: "over the limit", retry_after_seconds: 2.4 });
  assert.equal(whyNot(missing), "your token lacks the scope moderate");
  assert.equal(whyNot(limited), "over the limit; try again in 3 s");
  assert.equal(whyNot(new TypeError("Failed to fetch")), "the server cannot be reached");
  assert.equal(retryAfter(missing), null);
  assert.equal(retryAfter(limited), 2400);
  assert.ok(retryAfter(new TypeError("Failed to fetch")) > 0);
});

/** An audit log of which more may be read later; it notes what it is asked for. */
function trailOf(many) {
  const log = { seqs: Array.from({ length: many }, (_, place) => place + 1), asked: [] };
  const trail = new AuditTrail(async (command, { limit, before = Infinity }) => {
    log.asked.push(before);
    const seqs = log.seqs.filter((seq) => seq < before).reverse().slice(0, limit);
    return { result: { acts: seqs.map((seq) => ({ seq, act: seq === 1 ? "redact" : "block" })) } };
  });
  const seqsOf = () => trail.acts.map(({ seq }) => seq).reverse();
  return { log, trail, seqsOf };
}

const upTo = (first, last) => Array.from({ length: last - first + 1 }, (_, place) => first + place);

for (const many of [0, 1, 99, 100, 101, 250]) {
  test(`pages of ${many} acts leave nothing out and double nothing`, async () => {
    const { trail, seqsOf } = trailOf(many);
    await trail.refresh();
    for (let page = 0; page < 5 && !trail.isEnd; page += 1) await trail.older();
    assert.deepEqual(seqsOf(), upTo(1, many));
    assert.ok(trail.isEnd);
  });
}

test("what is new joins what is loaded, unless there may be more in between", async () => {
  const { log, trail, seqsOf } = trailOf(150);
  await trail.refresh();
  await trail.older();
  log.seqs.push(151, 152);
  await trail.refresh();
  assert.deepEqual([seqsOf(), trail.isEnd], [upTo(1, 152), true]);
  log.seqs.push(...upTo(153, 252));
  await trail.refresh();
  assert.deepEqual([seqsOf(), trail.isEnd], [upTo(153, 252), false]);
  await trail.older();
  await trail.older();
  assert.deepEqual([seqsOf(), trail.isEnd], [upTo(1, 252), true]);
});

test("acts of a kind are looked for in older pages", async () => {
  const { log, trail, seqsOf } = trailOf(350);
  await trail.refresh();
  trail.kind = "redact";
  assert.equal(trail.summary, "0 of 100 acts loaded");
  assert.deepEqual([...trail.kinds], ["block"]);
  await trail.older();
  assert.deepEqual([seqsOf(), trail.summary], [[1], "1 of 350 acts loaded"]);
  assert.equal(log.asked.length, 4);
});

test("a search for acts of a kind is bounded, and so is what is kept", async () => {
  const { log, trail } = trailOf(20_000);
  trail.kind = "announce";
  await trail.refresh();
  await trail.older();
  assert.equal(log.asked.length, 11);
  for (let page = 0; page < 20; page += 1) await trail.older();
  assert.deepEqual([trail.summary, trail.isEnd], ["0 of 5,000 acts loaded", true]);
});
