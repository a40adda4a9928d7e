/* Tests of the viewer's credential and of its OAuth2 requests, with a clock and an issuer led by the
 * test. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import test from "node:test";
import { Credential } from "../livelog/web/viewer/credential.js";
import { begun, codeIn, endOf, exchanged, renewed, SignInError } from "../livelog/web/viewer/oauth.js";

const service = {
  issuer: "https://id.test/realm",
  client_id: "viewer",
  scopes: "openid read",
  authorization_endpoint: "https://id.test/authorize?tenant=1",
  token_endpoint: "https://id.test/token",
};
const REDIRECT = "https://log.test/logs/viewer/sign-in.html";
globalThis.location = { origin: "https://log.test" };

// The credential.

/** A tab: its storage, its time, and its issuer. */
function tab() {
  const list = { slept: [], told: [], asked: [], answers: [] };
  return { ...list, now: 1_000_000, kept: new Map(), last: Promise.resolve() };
}

/** The credential of a page in a tab, by default a new one. */
function made(world = tab()) {
  const { kept } = world;
  const storage = {
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, value) => kept.set(name, value),
    removeItem: (name) => kept.delete(name),
  };
  const credential = new Credential({
    storage: () => storage,
    now: () => world.now,
    sleep: async (ms) => {
      world.slept.push(ms);
      await new Promise((resolve) => setTimeout(resolve));
      world.now += ms;
    },
    alone: (work) => (world.last = world.last.then(work, work)),
    renew: async (_, refreshToken) => {
      world.asked.push(refreshToken);
      const answer = world.answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  credential.listen({
    ended: (words) => world.told.push(["ended", words]),
    failed: (words) => world.told.push(["failed", words]),
  });
  return { credential, world, kept };
}

const answer = (name, lifetime = 300) => ({
  access_token: name,
  refresh_token: `refresh ${name}`,
  expires_in: lifetime,
});

test("a token by hand is given to the client as it is", async () => {
  const { credential, kept } = made();
  assert.equal(credential.source(), null);
  assert.deepEqual(credential.headers, {});
  credential.give("by hand");
  assert.equal(credential.source(), "by hand");
  assert.equal(await credential.current(), "by hand");
  assert.deepEqual(credential.headers, { Authorization: "Bearer by hand" });
  assert.deepEqual([credential.warn(60), credential.isTooYoungToExpire()], [false, false]);
  credential.forget();
  assert.equal(kept.size, 0);
});

test("a token by hand takes the place of a session", () => {
  const { credential } = made();
  credential.keep(answer("a"), service);
  credential.give("by hand");
  assert.deepEqual([credential.session, credential.isRenewable], [null, false]);
});

test("a token without a refresh token is not renewed", async () => {
  const { credential, world } = made();
  credential.keep({ access_token: "a", expires_in: 10 }, service);
  assert.equal(credential.source(), "a");
  world.now += 60_000;
  assert.equal(await credential.current(), "a");
  assert.deepEqual(world.asked, []);
});

test("a token is used until 75 s before its end, and the next refresh token is the new one", async () => {
  const { credential, world } = made();
  credential.keep(answer("a"), service);
  const next = credential.source();
  world.now += 224_000;
  assert.equal(await next(), "a");
  assert.deepEqual(world.asked, []);
  world.answers = [answer("b"), { access_token: "c", expires_in: 300 }, answer("d")];
  world.now += 1000;
  assert.equal(await next(), "a"); // it lasts; the new one is fetched beside
  assert.equal(await next(), "b");
  world.now += 299_000;
  assert.equal(await next(), "c"); // one second is too short for a request
  world.now += 301_000;
  assert.equal(await next(), "d");
  assert.deepEqual(world.asked, ["refresh a", "refresh b", "refresh b"]); // c came without one
  assert.deepEqual(world.told, []);
});

test("those who ask at once share a renewal", async () => {
  const { credential, world } = made();
  credential.keep(answer("a"), service);
  world.now += 300_000;
  world.answers = [answer("b")];
  const all = await Promise.all([credential.current(), credential.current(), credential.current()]);
  assert.deepEqual(all, ["b", "b", "b"]);
  assert.equal(world.asked.length, 1);
});

test("of the pages of a tab one renews the token for all", async () => {
  const { credential, world } = made();
  const others = [made(world).credential, made(world).credential];
  credential.keep(answer("a", 20), service);
  world.answers = [answer("b", 20), answer("c", 20)];
  const pages = [credential, ...others];
  const warned = () => Promise.all(pages.map((page) => page.warn(20) && page.source()()));
  assert.deepEqual(await warned(), ["b", "b", "b"]);
  world.now += 20_000;
  assert.deepEqual(await Promise.all(pages.map((page) => page.current())), ["c", "c", "c"]);
  assert.deepEqual(world.asked, ["refresh a", "refresh b"]);
  others[0].forget();
  assert.equal(await credential.current(), null);
});

test("after a warning another token is fetched, for a short one not before half of the time left", async () => {
  const { credential, world } = made();
  credential.keep(answer("a"), service);
  world.now += 240_000;
  world.answers = [answer("b", 20), answer("c", 20)];
  assert.equal(credential.warn(60), true);
  assert.equal(await credential.source()(), "b");
  assert.deepEqual(world.slept, []); // it was time by this clock, too
  assert.equal(credential.warn(20), true);
  assert.equal(await credential.source()(), "c");
  assert.deepEqual(world.slept, [10_000]);
});

test("an issuer that is away costs nothing while the token lasts", async () => {
  const { credential, world } = made();
  credential.keep(answer("a"), service);
  world.now += 230_000;
  world.answers = [new SignInError("away"), new SignInError("away"), answer("b")];
  assert.equal(await credential.current(), "a");
  await new Promise((resolve) => setTimeout(resolve));
  world.now += 70_000;
  await assert.rejects(credential.current(), /away/);
  assert.equal(await credential.current(), "b");
  assert.deepEqual(world.told, Array(2).fill(["failed", "The token could not be renewed: away"]));
});

test("a session that is over is told once, and not asked for again", async () => {
  const { credential, world } = made();
  credential.keep(answer("a"), service);
  world.now += 300_000;
  world.answers = [new SignInError("it is over", true)];
  await assert.rejects(credential.current());
  assert.deepEqual(world.told, [["ended", "it is over"]]);
  assert.equal(credential.isRenewable, false);
  assert.equal(await credential.current(), "a");
  assert.equal(world.asked.length, 1);
});

test("a renewal that takes long is not waited for longer than the server does", async () => {
  const { credential, world } = made();
  credential.keep(answer("a"), service);
  world.now += 300_000;
  let arrive;
  world.answers = [new Promise((resolve) => (arrive = resolve))];
  await assert.rejects(credential.current(), /not come yet/);
  arrive(answer("b"));
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(await credential.current(), "b");
  assert.equal(world.asked.length, 1);
});

test("a token that the server calls expired is renewed, unless it has just come", async () => {
  for (const lifetime of [300, undefined]) {
    const { credential, world } = made();
    credential.keep({ ...answer("a"), expires_in: lifetime }, service);
    world.now += 9000;
    assert.equal(credential.isTooYoungToExpire(), true);
    assert.equal(await credential.current(), "a");
    world.now += 2000;
    assert.equal(credential.isTooYoungToExpire(), false);
    world.answers = [answer("b")];
    assert.equal(await credential.current(), "b");
  }
});

// The requests.

test("the way to the issuer has a challenge, and no secret", async () => {
  const { address, pending } = await begun(service, REDIRECT);
  const asked = Object.fromEntries(new URL(address).searchParams);
  assert.match(pending.verifier, /^[\w-]{43}$/);
  assert.match(pending.state, /^[\w-]{43}$/);
  assert.notEqual(pending.state, pending.verifier);
  assert.deepEqual(asked, {
    tenant: "1",
    response_type: "code",
    client_id: "viewer",
    redirect_uri: REDIRECT,
    scope: "openid read",
    state: pending.state,
    code_challenge: createHash("sha256").update(pending.verifier).digest("base64url"),
    code_challenge_method: "S256",
  });
  assert.notEqual((await begun(service, REDIRECT)).pending.state, pending.state);
});

test("what the token is for goes with each request", async () => {
  const target = { audience: "https://log.test/api", resource: "urn:log" };
  const aimed = { ...service, target };
  const { address } = await begun(aimed, REDIRECT);
  const body = { access_token: "a", token_type: "bearer" };
  const asked = issuer({ body }, { body });
  await exchanged("c", { ...PENDING, service: aimed });
  await renewed(aimed, "r");
  for (const parameters of [new URL(address).searchParams, ...asked.map(({ body }) => body)]) {
    const { audience, resource } = Object.fromEntries(parameters);
    assert.deepEqual({ audience, resource }, target);
  }
});

test("only the answer to the pending sign-in has a code", () => {
  const pending = { service, state: "s" };
  const code = (text, more = {}) => codeIn(new URLSearchParams(text), { ...pending, ...more });
  assert.equal(code("code=c&state=s"), "c");
  assert.equal(code("code=c&state=s&iss=https://id.test/realm"), "c");
  assert.throws(() => code("code=c&state=S"), /another sign-in/);
  assert.throws(() => code("code=c"), /another sign-in/);
  assert.throws(() => code("code=c&state=s&iss=https://id.test"), /not from id\.test/);
  assert.throws(() => code("code=c&state=s", { service: { ...service, names_issuer: true } }), /not from/);
  assert.throws(() => code("code=&state=s"), /without a code/);
  assert.throws(() => code("code=c&state=s&error=access_denied"), /did not allow/);
  assert.throws(() => codeIn(new URLSearchParams("code=c&state=s"), null), /used already/);
  const long = "x".repeat(5000);
  const told = (text) => {
    try {
      return code(text);
    } catch ({ message }) {
      return message;
    }
  };
  assert.ok(told(`state=s&error=${long}&error_description=${long}`).length < 600);
});

const PENDING = { service, redirect: REDIRECT, verifier: "v" };

/** Let the issuer answer so, and return what it is asked. */
function issuer(...answers) {
  const asked = [];
  globalThis.fetch = async (address, { mode = "cors", ...request }) => {
    asked.push({ address, mode, ...request });
    const next = answers.shift();
    if (next === undefined) throw new TypeError("Failed to fetch");
    const { status = 200, body } = next;
    const json = async () => (body === undefined ? JSON.parse("<") : body);
    return { ok: status < 300, status, json };
  };
  return asked;
}

test("a code is exchanged with the verifier, without cookies", async () => {
  const [body, token] = [{ access_token: "a", token_type: "bearer" }, "r"];
  const asked = issuer({ body }, { body });
  assert.deepEqual(await exchanged("c", PENDING), body);
  assert.deepEqual(await renewed(service, token), body);
  const forms = asked.map((request) => Object.fromEntries(request.body));
  assert.deepEqual(forms, [
    {
      client_id: "viewer",
      grant_type: "authorization_code",
      code: "c",
      redirect_uri: REDIRECT,
      code_verifier: "v",
    },
    { client_id: "viewer", grant_type: "refresh_token", refresh_token: "r" },
  ]);
  for (const { address, credentials } of asked) {
    assert.deepEqual([address, credentials], [service.token_endpoint, "omit"]);
  }
});

const REFUSALS = {
  "no longer takes this sign-in": [true, { status: 400, body: { error: "invalid_grant" } }],
  "has to be a public one": [true, { status: 401, body: { error: "invalid_client" } }],
  "(--viewer-resource, --viewer-audience)": [true, { status: 400, body: { error: "invalid_target" } }],
  "has refused (constructor)": [true, { status: 400, body: { error: "constructor" } }],
  "HTTP status 503": [false, { status: 503, body: { error: "invalid_grant" } }],
  "HTTP status 502": [false, { status: 502 }],
  "HTTP status 200": [false, { body: { access_token: "a", token_type: "mac" } }],
  "HTTP status 404": [false, { status: 404, body: null }],
  "does not allow the origin https://log.test (CORS)": [false, undefined, { status: 405 }],
  "cannot be reached": [false, undefined, undefined],
};

for (const [words, [isFinal, ...answers]] of Object.entries(REFUSALS)) {
  test(`an answer is told as: ${words}`, async () => {
    issuer(...answers);
    const error = await exchanged("c", PENDING).catch((refused) => refused);
    assert.ok(error instanceof SignInError, String(error));
    assert.ok(error.message.includes(words), error.message);
    assert.ok(error.message.startsWith("id.test "), error.message);
    assert.equal(error.isFinal, isFinal);
  });
}

test("the way out names the session, if there is one to name", () => {
  const back = "https://log.test/logs/";
  assert.equal(endOf({ service, id_token: "i" }, back), null);
  const ending = { ...service, end_session_endpoint: "https://id.test/end" };
  const parameters = (session) => Object.fromEntries(new URL(endOf(session, back)).searchParams);
  const usual = { client_id: "viewer", post_logout_redirect_uri: back };
  assert.deepEqual(parameters({ service: ending }), usual);
  assert.deepEqual(parameters({ service: ending, id_token: "i" }), { ...usual, id_token_hint: "i" });
});
