/* A Node process that uses livelog.js and is told what to do by a test, a JSON object a line.
 * It writes a line for everything that happens. With `clock: "test"` time only passes when the
 * test says so.
 */
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [module, nodeModules, settings] = process.argv.slice(2);
const { clock: kind, random, url, tokens, ...options } = JSON.parse(settings);
const { LiveLog } = await import(module);
const WebSocket = globalThis.WebSocket ?? createRequire(`${nodeModules}/`)("ws");

const say = (event, detail) => console.log(JSON.stringify({ event, ...detail }));

class TestClock {
  time = 0;
  timers = new Map();
  ids = 0;

  now = () => this.time;

  setTimeout = (call, ms) => {
    this.ids += 1;
    this.timers.set(this.ids, { call, due: this.time + ms });
    return this.ids;
  };

  clearTimeout = (id) => this.timers.delete(id);

  /** Let `ms` pass; `late` more pass before a timer that is due gets its turn. */
  advance(ms, late = 0) {
    this.time += ms + late;
    for (const [id, { call, due }] of [...this.timers]) {
      if (due <= this.time && this.timers.delete(id)) call();
    }
  }
}

if (kind === "test") options.clock = new TestClock();
if (tokens) options.token = async () => tokens.shift();
if (random !== undefined) options.random = () => random;

const live = new LiveLog(url, { WebSocket, ...options });
for (const name of ["state", "gap", "resumed", "throttled", "authenticated", "online_changed", "error"]) {
  live.on(name, (detail) => say(name, name === "error" ? failure(detail) : detail));
}
say("state", live.state);

const followed = new Map();
const failure = ({ code, field, message, details }) => ({ code, field, message, details });

const actions = {
  listen({ name, ...what }) {
    const following = live.listen(what, (message) => say("message", { name, message }));
    followed.set(name, following);
    return following.ready.then(() => undefined);
  },
  watch({ name, ...what }) {
    const watching = live.watch(
      what,
      (counts) => say("counts", { name, counts, values: Object.entries(counts.counts) }),
      (gap) => say("uncounted", { name, gap }),
    );
    followed.set(name, watching);
    return watching.ready.then(() => undefined);
  },
  watchPresence({ name, ...page }) {
    const watching = live.watchPresence(page, (change) => say("presence", { name, change }));
    followed.set(name, watching);
    return watching.ready.then(() => undefined);
  },
  stop: ({ name }) => followed.get(name).stop(),
  history: (page) => live.history(page),
  search: ({ query, ...page }) => live.search(query, page),
  analyze: (question) => live.analyze(question),
  presence: (page) => live.presence(page),
  publish: ({ message }) => live.publish(message),
  nest({ depth }) {
    let metadata = {};
    for (let level = 0; level < depth; level += 1) metadata = { metadata };
    return live.publish({ type: "user", user_id: "u1", username: "Ann", content: "x", metadata });
  },
  ping: () => live.ping(),
  reconnect: () => live.reconnect(),
  close: () => live.close(),
  seq: () => ({ seq: live.seq }),
  advance: ({ ms, late }) => options.clock.advance(ms, late),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { act, call, ...details } = JSON.parse(line);
  try {
    Promise.resolve(actions[act](details)).then(
      (answer) => say("done", { call, answer: answer ?? null }),
      (error) => say("failed", { call, error: failure(error) }),
    );
  } catch (error) {
    say("failed", { call, error: failure(error) });
  }
}
process.exit(0);
