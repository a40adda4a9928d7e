/* A Node process that uses livelog.js and is told what to do by tests, each over a connection of its
 * own, a JSON object a line; the first line has the settings. It writes a line for everything that
 * happens. With `clock: "test"` time only passes when the test says so.
 */
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

const [module, nodeModules] = process.argv.slice(2);
const { LiveLog } = await import(module);
const WebSocket = globalThis.WebSocket ?? createRequire(`${nodeModules}/`)("ws");
const EVENTS = ["state", "gap", "resumed", "throttled", "authenticated", "online_changed", "error"];

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

const failure = ({ code, field, message, details }) => ({ code, field, message, details });

function connect({ url, clock, random, tokens, ...options }, say) {
  if (clock) options.clock = clock;
  if (tokens) options.token = async () => tokens.shift();
  if (random !== undefined) options.random = () => random;
  const live = new LiveLog(url, { WebSocket, ...options });
  for (const name of EVENTS) {
    live.on(name, (detail) => say(name, name === "error" ? failure(detail) : detail));
  }
  say("state", live.state);
  return live;
}

function makeActions(live, clock, say) {
  const followed = new Map();
  return {
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
    advance: ({ ms, late }) => clock.advance(ms, late),
  };
}

function act(actions, { act: name, call, ...details }, say) {
  const failed = (error) => say("failed", { call, error: failure(error) });
  try {
    Promise.resolve(actions[name](details)).then(
      (answer) => say("done", { call, answer: answer ?? null }),
      failed,
    );
  } catch (error) {
    failed(error);
  }
}

async function serve(connection) {
  const say = (event, detail) => connection.write(`${JSON.stringify({ event, ...detail })}\n`);
  const lines = createInterface({ input: connection })[Symbol.asyncIterator]();
  const settings = JSON.parse((await lines.next()).value);
  const clock = settings.clock === "test" ? new TestClock() : undefined;
  const live = connect({ ...settings, clock }, say);
  const actions = makeActions(live, clock, say);
  for await (const line of lines) act(actions, JSON.parse(line), say);
  live.close();
  connection.end();
}

const server = createServer({ allowHalfOpen: true }, serve);
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit()).resume();
