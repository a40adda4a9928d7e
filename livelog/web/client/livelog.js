/* The client: one connection to a livelog server, kept up, for browsers and for Node; with an array
 * of addresses, to one of the servers of a log, and to the next whenever that fails.
 *
 * A listener gets each message once, in the order of `seq`, whatever happens to the connection
 * (`subscriptions.js`). Requests without an answer are sent again on the next connection
 * (`requestqueue.js`); a message to be published carries an `id`, so that publishing it again
 * cannot double it. Clock and random numbers are options, so that the schedule can be tested.
 */
import { Addresses } from "./addresses.js";
import { wrongAnswer } from "./answers.js";
import { Authentication } from "./authentication.js";
import { retryDelay } from "./backoff.js";
import { Emitter } from "./emitter.js";
import { defaultUrl, systemClock, watchBrowser } from "./environment.js";
import {
  ABNORMAL,
  FINAL_CODES,
  LiveLogError,
  RATE_LIMITED,
  TOKEN_EXPIRED,
  TOO_BIG,
  errorOf,
} from "./errors.js";
import { SizeLimit, byteLength, refused, tooBig } from "./frames.js";
import { messageId, requestIds } from "./ids.js";
import { Pings } from "./pings.js";
import { PresenceWatches } from "./presence.js";
import { keepBatch, keepPage, keepText } from "./raw.js";
import { ReconnectingConnection } from "./reconnecting.js";
import { RequestQueue } from "./requestqueue.js";
import { Subscriptions } from "./subscriptions.js";
import { Watches } from "./watches.js";

export { BACKOFF_MS } from "./backoff.js";
export { FINAL_CODES, LiveLogError } from "./errors.js";
export { TYPES } from "./listener.js";
export { rawOf } from "./raw.js";

const NO_WEBSOCKET =
  "no WebSocket here; start Node.js 20 with --experimental-websocket, or pass { WebSocket }";

const DEFAULTS = {
  clock: systemClock,
  random: Math.random,
  heartbeatMs: 20_000,
  timeoutMs: 10_000,
  stableMs: 10_000,
  token: null,
  batch: true,
};

export class LiveLog {
  #emitter = new Emitter();
  #nextId = requestIds();
  #connection;
  #authentication;
  #limit = new SizeLimit();
  #subscriptions;
  #watches;
  #presence;
  #commands;
  #publishes;
  #pings;
  #unwatch;

  constructor(url = defaultUrl(), options = {}) {
    const all = { WebSocket: globalThis.WebSocket, ...DEFAULTS, ...options };
    if (!all.WebSocket) throw new TypeError(NO_WEBSOCKET);
    this.#connection = this.#makeConnection(new Addresses(url, all.random), all);
    this.#authentication = new Authentication(all.token, this.#nextId);
    this.#makeParts(all.clock, all.batch);
    this.#unwatch = watchBrowser({
      online: () => this.reconnect(),
      visible: () => this.#connection.check(),
    });
    this.#connection.connect();
  }

  /** `{ name, attempt, retryAt, code, reason }`; the name is one of `connecting`, `connected`,
   * `waiting` (for the next attempt) and `stopped` (for good). */
  get state() {
    return this.#connection.state;
  }

  /** Everything asked for up to this seq has been delivered; null before the first subscription. */
  get seq() {
    return this.#subscriptions.cursor;
  }

  /** Call `handler` on each event of this name; return a function that removes it. */
  on(name, handler) {
    return this.#emitter.on(name, handler);
  }

  /** Follow messages of these types and filters, from now on or from after `since`. */
  listen({ types, filters, since } = {}, onMessage) {
    if (this.state.name === "stopped") throw this.#stoppedError();
    return this.#subscriptions.add({ types, filters, since }, onMessage);
  }

  /** Follow the numbers of messages instead: `onCounts` gets a `counts` event in each interval,
   * `onGap` what was not counted while the connection was lost. */
  watch({ group_by, interval_seconds, filters } = {}, onCounts, onGap) {
    if (this.state.name === "stopped") throw this.#stoppedError();
    return this.#watches.add({ group_by, interval_seconds, filters }, onCounts, onGap);
  }

  /** Fetch a page of the past, newest first: `limit`, `filters`, and `offset` or one of `before`,
   * `after`, `around`. */
  async history({ signal, ...page } = {}) {
    return this.#commands.ask({ action: "get_history", ...page }, this.#nextId(), signal);
  }

  /** Fetch a page of the past messages in which words occur, newest first; with the filter `where`
   * the words may be null. */
  async search(query, { signal, ...page } = {}) {
    return this.#commands.ask({ action: "search", query: query ?? undefined, ...page }, this.#nextId(), signal);
  }

  /** Count past messages exactly, by the values of a field (`group_by`, of which `limit` are listed)
   * or over time (`interval_seconds`, `timezone`), or both; `distinct` names a field whose different
   * values are counted. */
  async analyze({ signal, ...question } = {}) {
    return this.#commands.ask({ action: "analyze", ...question }, this.#nextId(), signal);
  }

  /** Ask who is on line: resolve to the `count` and, with the scope `presence`, a page of `users`.
   * `follow: true` makes `online_changed` events until the connection is lost; `watchPresence` goes
   * on. */
  async presence({ signal, ...page } = {}) {
    return this.#commands.ask({ action: "presence", ...page }, this.#nextId(), signal);
  }

  /** Follow who is on line: `onChange` gets what `presence` resolves to, with up to `limit` users,
   * and then, at most once a second, the `count` and who has `joined` and `left`. After a lost
   * connection it gets the whole state again. */
  watchPresence({ limit } = {}, onChange) {
    if (this.state.name === "stopped") throw this.#stoppedError();
    return this.#presence.add({ limit }, onChange);
  }

  /** Append a message; resolve to its `id` and `seq` once it is stored. */
  async publish(message, { signal } = {}) {
    if (message === null || typeof message !== "object") throw refused("message", "must be an object");
    const { seq, ...unplaced } = message; // a message that was received can be sent on
    const fields = seq === undefined ? message : unplaced;
    const named = fields.id === undefined ? { ...fields, id: messageId() } : fields;
    return this.#publishes.ask({ action: "publish", message: named }, this.#nextId(), signal);
  }

  /** Measure the connection; resolve to `{ latencyMs, seq }`. */
  ping() {
    return this.#pings.ping();
  }

  /** Connect now instead of waiting for the next attempt. */
  reconnect() {
    this.#connection.retry();
  }

  /** Close the connection for good. */
  close() {
    this.#connection.stop(1000, "closed by this client");
  }

  // Parts.

  #makeConnection(addresses, options) {
    return new ReconnectingConnection(addresses, options, {
      event: (event, text) => this.#receive(event, text),
      opened: () => [...this.#parts(), this.#presence].forEach((part) => part.open()),
      closed: (code) => this.#closed(code),
      stopped: () => this.#stopped(),
      state: (state) => this.#emit("state", state),
      ping: () => this.#pings.ping().catch(() => {}),
      final: (code) => {
        return Object.hasOwn(FINAL_CODES, code) && !(code === TOKEN_EXPIRED && this.#renewable());
      },
    });
  }

  #makeParts(clock, batch) {
    const send = (text) => this.#connection.send(text);
    const throttled = (seconds, action) => this.#emit("throttled", { seconds, action });
    this.#pings = new Pings(clock, this.#nextId, send);
    this.#commands = new RequestQueue(clock, this.#limit, send, throttled);
    this.#publishes = new RequestQueue(clock, this.#limit, send, throttled);
    this.#watches = this.#makeWatches(clock, send);
    this.#presence = this.#makePresence(clock);
    this.#subscriptions = new Subscriptions(clock, this.#limit, this.#nextId, batch, {
      send,
      ping: () => this.#pings.ping(),
      emit: (name, detail) => this.#emit(name, detail),
    });
  }

  #makeWatches(clock, send) {
    return new Watches(clock, this.#limit, this.#nextId, {
      send,
      emit: (name, detail) => this.#emit(name, detail),
    });
  }

  #makePresence(clock) {
    const ask = (page, id) => this.#commands.ask({ action: "presence", ...page }, id);
    return new PresenceWatches(clock, this.#nextId, ask, (name, detail) => this.#emit(name, detail));
  }

  /** The parts that exchange commands and answers, in the order in which they use a connection. */
  #parts() {
    return [this.#pings, this.#subscriptions, this.#watches, this.#commands, this.#publishes];
  }

  /** The connection is lost: what waits for an answer is sent again on the next one, except for
   * the command that was too long. That is the longest, or the longest is too long as well. */
  #closed(code) {
    const sent = this.#parts().flatMap((part) => part.underWay());
    for (const part of [...this.#parts(), this.#presence]) part.shut();
    if (code !== TOO_BIG || !sent.length) return;
    const sized = sent.map(({ text, reject }) => ({ bytes: byteLength(text), reject }));
    const longest = sized.reduce((one, other) => (other.bytes > one.bytes ? other : one));
    longest.reject(tooBig(longest.bytes, "the server has closed the connection over its size"));
  }

  #stopped() {
    this.#unwatch();
    const error = this.#stoppedError();
    for (const part of [this.#presence, ...this.#parts().slice(1)]) part.fail(error);
  }

  #stoppedError() {
    return new LiveLogError(this.state.code, `stopped: ${this.state.reason}`);
  }

  #emit(name, detail) {
    this.#emitter.emit(name, detail);
  }

  // Events of the server.

  /** Take an event, a message or an array of messages; what is not known is passed over, for it is
   * new. */
  #receive(event, text) {
    if (Array.isArray(event)) return this.#receiveBatch(event, text);
    if (event.action === undefined) {
      keepText(event, text);
      return this.#subscriptions.deliver(event);
    }
    return this.#isRefused(event) || this.#handlers.get(event.action)?.(event, text);
  }

  #receiveBatch(messages, text) {
    keepBatch(messages, text);
    for (const message of messages) {
      if (message instanceof Object && message.action === undefined) this.#subscriptions.deliver(message);
    }
  }

  /** Reject the command that an event is a wrong answer to; return whether there is one. */
  #isRefused(event) {
    const { request_id: id } = event;
    const part = this.#parts().find((one) => one.asked(id));
    const error = part ? wrongAnswer(part.asked(id), event) : null;
    return error !== null && part.refuse(id, error);
  }

  /** Resolve the request that an event answers. */
  #settle(event) {
    this.#commands.settle(event);
    this.#publishes.settle(event);
  }

  #handlers = new Map(Object.entries({
    connected: (event) => this.#connected(event),
    authenticated: (event) => this.#authenticated(event),
    token_expiring: (event) => this.#expiring(event),
    subscribed: (event) => this.#subscriptions.confirm(event),
    unsubscribed: (event) => this.#subscriptions.confirm(event),
    gap: ({ from, to }) => this.#subscriptions.gap({ from, to }),
    redacted: ({ seqs, reason, at }) => this.#emit("redacted", { seqs, reason: reason ?? "", at }),
    watching: (event) => this.#watches.confirm(event),
    unwatched: (event) => this.#watches.ended(event),
    counts: (event) => this.#watches.deliver(event),
    rate_limit: (event) => this.#emit("rate_limit", event),
    pong: (event) => this.#pong(event),
    history: (event, text) => {
      keepPage(event.messages, "messages", text);
      this.#settle(event);
    },
    search_results: (event, text) => {
      keepPage(event.results, "results", text);
      this.#settle(event);
    },
    analysis: (event) => this.#settle(event),
    online: (event) => {
      this.#presence.answered(event);
      this.#settle(event);
    },
    online_changed: ({ action, ...change }) => {
      this.#presence.deliver(change);
      this.#emit("online_changed", change);
    },
    published: (event) => this.#settle(event),
    error: (event) => this.#error(event),
  }));

  #pong(event) {
    this.#subscriptions.reached(event.seq);
    const latency = this.#pings.settle(event);
    if (latency) this.#emit("latency", latency);
  }

  #error(event) {
    const error = errorOf(event);
    if (error.code === RATE_LIMITED) this.#connection.limited(retryDelay(error));
    const known = this.#parts().some((part) => part.refuse(event.request_id, error));
    if (!known) this.#emit("error", error);
  }

  // Authentication.

  #connected(event) {
    this.#limit.learn(event);
    this.#subscriptions.learn(event);
    if (!this.#authentication.needed) return this.#connection.accepted();
    const failed = ({ message }) => this.#connection.lost(ABNORMAL, `no token: ${message}`);
    return this.#authenticate(failed);
  }

  #authenticated({ id, scopes, expires }) {
    this.#connection.accepted();
    this.#emit("authenticated", { id, scopes, expires });
  }

  #expiring({ expires, expires_in_seconds: seconds }) {
    this.#emit("token_expiring", { expires, seconds });
    if (!this.#renewable()) return undefined;
    const failed = ({ message }) => new LiveLogError(TOKEN_EXPIRED, `not renewed: ${message}`);
    return this.#authenticate((error) => this.#emit("error", failed(error)));
  }

  #authenticate(failed) {
    return this.#authentication.send(() => this.#connection.current, failed);
  }

  #renewable() {
    return this.#authentication.renewable;
  }
}
