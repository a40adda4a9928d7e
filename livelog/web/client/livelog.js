/* The client: one connection to a livelog server, kept up, for browsers and for Node.
 *
 * The rule: what a listener is handed, it is handed once, in the order of `seq`, and nothing is
 * left out without a `gap` event that says so. All of it rests on one number, the cursor: all that
 * was asked for up to this seq has been delivered. A connection that comes back subscribes with
 * `since: cursor`; until the server has confirmed that, what arrives is put aside, because it is
 * sent again, in order. Answers that a lost connection still owed are asked for again; a message
 * to be published carries an `id`, so that publishing it again cannot double it.
 *
 * Who we are is said in band, before anything else, so that no token stands in an address.
 *
 * Time and chance come from outside (`clock`, `random`), so the schedule can be tested.
 */

export const TYPES = ["user", "system", "dm", "raid", "party", "guild"];

/** Milliseconds before each attempt to reconnect; all but the first are drawn from 0 up to it. */
export const BACKOFF_MS = [0, 1000, 2000, 4000, 8000, 60_000];

/** Close codes after which trying again would end the same way, and what they say. */
export const FINAL_CODES = {
  1002: "the server says that this client breaks the protocol",
  1003: "the server does not take this kind of data",
  1007: "the server could not read what this client sent",
  1010: "the server lacks an extension that this client wants",
  4000: "authentication failed",
  4001: "the token is not valid",
  4002: "the token has expired",
};

const ABNORMAL = 1006;
const TOKEN_EXPIRED = 4002;
const RATE_LIMITED = 4003;

/** How many requests may be on their way at once. After a refusal for haste they go one by one. */
const WINDOW = 20;

/** How long a server may send a client away. */
const LONGEST_ABSENCE_MS = 300_000;

/** A timer that comes this much too late was held back (a hidden tab, a sleeping machine). */
const LATE_MS = 1000;

/** Why something was not done: the code of the API, the field it is about, the server's words. */
export class LiveLogError extends Error {
  constructor(code, issue, details = {}) {
    super(issue);
    this.name = "LiveLogError";
    this.code = code;
    this.field = details.field ?? "";
    this.details = details;
  }
}

export class LiveLog {
  #url;
  #options;
  #events = new Map();

  #socket = null;
  #state = { name: "connecting", attempt: 0 };
  #backoff;
  #timer = 0;
  #openedAt = 0;
  #goodbye = null; // the last words of the server: `disconnected`

  #listeners = new Set();
  #inForce = new Map(); // type → its filters, as the server has confirmed them
  #cursor = null; // everything asked for up to here has been delivered
  #resumeFrom = null; // where the server is to be moved; until it is, messages are put aside
  #resumed = null; // the report on a resume that is under way
  #changing = null; // the commands that change the subscription, in flight
  #changesHeld = 0;
  #changeDue = false;

  #ids = 0;
  #pings = new Map();
  #lanes;
  #heartbeat;
  #forget = [];

  constructor(url = addressHere(), options = {}) {
    this.#url = String(url);
    this.#options = {
      WebSocket: globalThis.WebSocket,
      clock: systemClock,
      random: Math.random,
      heartbeatMs: 20_000,
      patienceMs: 10_000,
      lastingMs: 10_000,
      token: null,
      ...options,
    };
    if (!this.#options.WebSocket) throw new TypeError("no WebSocket here, pass one: { WebSocket }");
    this.#backoff = new Backoff(this.#options.random);
    const send = (command) => this.#send(command);
    const throttled = (seconds, action) => this.#emit("throttled", { seconds, action });
    this.#lanes = {
      commands: new Lane(this.#options.clock, send, throttled),
      messages: new Lane(this.#options.clock, send, throttled),
    };
    this.#heartbeat = new Heartbeat(this.#options, {
      ping: () => this.#ping().catch(ignore),
      dead: () => this.#lost(ABNORMAL, "the server does not answer"),
    });
    this.#wakeWithTheBrowser();
    this.#connect();
  }

  // What can be asked of it.

  /** `{ name, attempt, retryAt, code, reason }`; the name is one of `connecting`, `connected`,
   * `waiting` (for the next attempt) and `stopped` (for good). */
  get state() {
    return this.#state;
  }

  /** Everything asked for up to this seq has been delivered; null before the first subscription. */
  get seq() {
    return this.#cursor;
  }

  /** Call `handler` on each event of this name; returns a function that ends it. */
  on(name, handler) {
    const handlers = this.#events.get(name) ?? new Set();
    this.#events.set(name, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /** Follow messages, from now on or from after `since`. */
  listen({ types = TYPES, filters = {}, since = null } = {}, onMessage) {
    if (this.#state.name === "stopped") throw this.#stoppedError();
    const unknown = types.find((type) => !TYPES.includes(type));
    if (unknown !== undefined) {
      const issue = `${unknown} is no message type; there are ${TYPES.join(", ")}`;
      throw new LiveLogError(1002, issue, { field: "types" });
    }
    const listener = new Listener(types, filters, since, onMessage);
    this.#refuseConflict(listener);
    this.#listeners.add(listener);
    this.#changeSoon();
    return {
      ready: listener.ready,
      stop: () => {
        if (this.#listeners.delete(listener)) this.#changeSoon();
      },
    };
  }

  /** A page of the past, newest first. `page`: limit, offset or one of before, after, around. */
  history({ signal, ...page } = {}) {
    return this.#lanes.commands.ask({ action: "get_history", ...page }, this.#nextId(), signal);
  }

  /** A page of the past messages in which words occur, newest first. */
  search(query, { signal, ...page } = {}) {
    return this.#lanes.commands.ask({ action: "search", query, ...page }, this.#nextId(), signal);
  }

  /** Append a message; resolves to its `id` and `seq` once it is safe. */
  publish(message, { signal } = {}) {
    const named = message.id === undefined ? { ...message, id: newId() } : message;
    return this.#lanes.messages.ask({ action: "publish", message: named }, this.#nextId(), signal);
  }

  /** Ask for a sign of life; resolves to `{ latencyMs, seq }`. */
  ping() {
    return this.#ping();
  }

  /** Try now instead of waiting for the next attempt. */
  reconnect() {
    if (this.#state.name === "waiting") this.#connect();
  }

  /** Leave for good. */
  close() {
    this.#stop(1000, "closed by this client");
  }

  // The connection.

  #connect() {
    const { WebSocket, clock, patienceMs } = this.#options;
    clock.clearTimeout(this.#timer);
    this.#setState({ name: "connecting", attempt: this.#backoff.attempt });
    const socket = new WebSocket(this.#url);
    const current = (handler) => (event) => this.#socket === socket && handler(event);
    this.#socket = socket;
    this.#goodbye = null;
    socket.onmessage = current(({ data }) => this.#receive(JSON.parse(data)));
    socket.onclose = current(({ code, reason }) => this.#lost(code, reason));
    socket.onerror = ignore; // `close` follows and says more
    const giveUp = () => this.#lost(ABNORMAL, "the server did not answer in time");
    this.#timer = clock.setTimeout(giveUp, patienceMs);
  }

  #connected() {
    const { clock } = this.#options;
    clock.clearTimeout(this.#timer);
    this.#openedAt = clock.now();
    this.#setState({ name: "connected", attempt: this.#backoff.attempt });
    this.#heartbeat.start();
    this.#resumeAll();
    this.#change();
    for (const lane of Object.values(this.#lanes)) lane.open();
  }

  // Who we are.

  #introduce() {
    if (this.#options.token === null) return this.#connected();
    const failed = (error) => this.#lost(ABNORMAL, `no token: ${error.message}`);
    return this.#authenticate(failed);
  }

  #authenticated({ id, scopes, expires }) {
    if (this.#state.name === "connecting") this.#connected();
    this.#emit("authenticated", { id, scopes, expires });
  }

  #expiring({ expires, expires_in_seconds: seconds }) {
    this.#emit("token_expiring", { expires, seconds });
    if (typeof this.#options.token !== "function") return undefined;
    const failed = ({ message }) => new LiveLogError(TOKEN_EXPIRED, `not renewed: ${message}`);
    return this.#authenticate((error) => this.#emit("error", failed(error)));
  }

  /** A function may fetch a token from elsewhere; meanwhile the connection can be another one. */
  async #authenticate(failed) {
    const { token: given } = this.#options;
    const socket = this.#socket;
    try {
      const token = typeof given === "function" ? await given() : given;
      if (this.#socket !== socket) return;
      this.#send({ action: "authenticate", token: String(token), request_id: this.#nextId() });
    } catch (error) {
      if (this.#socket === socket) failed(error);
    }
  }

  #lost(code, reason) {
    const { clock, lastingMs } = this.#options;
    const lasted = this.#state.name === "connected" && clock.now() - this.#openedAt >= lastingMs;
    const goodbye = this.#goodbye;
    this.#drop();
    const renewable = code === TOKEN_EXPIRED && typeof this.#options.token === "function";
    if (code in FINAL_CODES && !renewable) return this.#stop(code, FINAL_CODES[code]);
    if (lasted) this.#backoff.reset();
    const asked = absence(goodbye);
    const wait = asked ?? this.#backoff.wait(code === RATE_LIMITED);
    if (asked === undefined) this.#backoff.attempt += 1; // being sent away is no failure
    this.#timer = clock.setTimeout(() => this.#connect(), wait);
    this.#setState({
      name: "waiting",
      attempt: Math.max(1, this.#backoff.attempt),
      retryAt: clock.now() + wait,
      code,
      reason: reason || (goodbye?.reason ?? ""),
    });
    return undefined;
  }

  /** Let go of the socket, and of all that was only true while it was open. */
  #drop() {
    const { clock } = this.#options;
    const socket = this.#socket;
    clock.clearTimeout(this.#timer);
    clock.clearTimeout(this.#changesHeld);
    this.#socket = null;
    this.#heartbeat.stop();
    this.#inForce.clear();
    this.#changing = null;
    this.#changesHeld = 0;
    this.#resumed = null;
    for (const lane of Object.values(this.#lanes)) lane.shut();
    for (const ping of this.#pings.values()) ping.reject(lostError());
    this.#pings.clear();
    socket?.close();
  }

  #stop(code, reason) {
    if (this.#state.name === "stopped") return;
    this.#drop();
    for (const end of this.#forget) end();
    this.#setState({ name: "stopped", attempt: 0, code, reason });
    for (const lane of Object.values(this.#lanes)) lane.fail(this.#stoppedError());
    for (const listener of this.#listeners) listener.fail(this.#stoppedError());
    this.#listeners.clear();
  }

  #stoppedError() {
    return new LiveLogError(this.#state.code, `stopped: ${this.#state.reason}`);
  }

  #setState(state) {
    this.#state = state;
    this.#emit("state", state);
  }

  /** A browser knows when the network is back and when somebody looks: then do not wait. */
  #wakeWithTheBrowser() {
    const look = () => this.#state.name === "connected" && this.#heartbeat.look();
    this.#hearFrom(globalThis, "online", () => this.reconnect());
    this.#hearFrom(globalThis.document, "visibilitychange", look);
  }

  #hearFrom(target, name, handler) {
    if (typeof target?.addEventListener !== "function") return;
    target.addEventListener(name, handler);
    this.#forget.push(() => target.removeEventListener(name, handler));
  }

  #send(command) {
    this.#socket.send(JSON.stringify(command));
  }

  #nextId() {
    this.#ids += 1;
    return `js-${this.#ids}`;
  }

  #emit(name, detail) {
    for (const handler of [...(this.#events.get(name) ?? [])]) guarded(handler, detail);
  }

  // What arrives.

  #receive(event) {
    this.#heartbeat.heard();
    if (event.action === undefined) return this.#deliver(event);
    const handler = this.#handlers[event.action];
    return handler ? handler(event) : this.#reply(event);
  }

  #handlers = {
    connected: () => this.#introduce(),
    authenticated: (event) => this.#authenticated(event),
    token_expiring: (event) => this.#expiring(event),
    disconnected: (event) => {
      this.#goodbye = event;
    },
    gap: ({ from, to }) => this.#gap({ from, to }),
    rate_limit: (event) => this.#emit("rate_limit", event),
    pong: (event) => this.#pong(event),
    subscribed: (event) => this.#changed(event),
    unsubscribed: (event) => this.#changed(event),
    error: (event) => this.#error(event),
  };

  #reply(event) {
    for (const lane of Object.values(this.#lanes)) lane.settle(event);
  }

  #error(event) {
    const error = errorOf(event);
    const ping = this.#pings.get(event.request_id);
    if (ping) {
      this.#pings.delete(event.request_id);
      ping.reject(error);
    } else if (this.#changing?.has(event.request_id)) {
      this.#changeRefused(event.request_id, error);
    } else if (!Object.values(this.#lanes).some((lane) => lane.refuse(event, error))) {
      this.#emit("error", error);
    }
  }

  #deliver(message) {
    if (this.#resumeFrom !== null) return; // it comes again, in order
    this.#cursor = message.seq;
    for (const listener of [...this.#listeners]) {
      if (this.#inForce.get(message.type) === listener.signature) listener.deliver(message);
    }
  }

  #gap(gap) {
    if (this.#resumeFrom !== null) return;
    this.#cursor = Math.max(this.#cursor ?? 0, gap.to);
    this.#resumed?.gaps.push(gap);
    this.#emit("gap", gap);
  }

  // Ping.

  #ping() {
    if (this.#state.name !== "connected") return Promise.reject(lostError());
    const id = this.#nextId();
    const sentAt = this.#options.clock.now();
    const answer = new Promise((resolve, reject) => {
      this.#pings.set(id, { sentAt, resolve, reject });
    });
    this.#send({ action: "ping", request_id: id });
    return answer;
  }

  #pong({ request_id: id, seq }) {
    if (this.#resumeFrom === null && this.#inForce.size) {
      this.#cursor = Math.max(this.#cursor ?? 0, seq);
    }
    const ping = this.#pings.get(id);
    if (!ping) return;
    this.#pings.delete(id);
    const latency = { latencyMs: this.#options.clock.now() - ping.sentAt, seq };
    ping.resolve(latency);
    this.#emit("latency", latency);
  }

  // The subscription: what all listeners want together, brought into force.

  #refuseConflict({ types, signature }) {
    for (const other of this.#listeners) {
      const shared = other.types.find((type) => types.includes(type));
      if (shared && other.signature !== signature) {
        const issue = `${shared} is followed with other filters already; use another LiveLog`;
        throw new LiveLogError(1002, issue, { field: "filters" });
      }
    }
  }

  /** Several calls in one turn become one change: commands are few. */
  #changeSoon() {
    if (this.#changeDue) return;
    this.#changeDue = true;
    queueMicrotask(() => {
      this.#changeDue = false;
      this.#change();
    });
  }

  #resumeAll() {
    if (![...this.#listeners].some((listener) => listener.started)) this.#cursor = null;
    this.#resumeFrom = this.#cursor;
    if (this.#cursor !== null) this.#resumed = { from: this.#cursor, gaps: [] };
  }

  #change() {
    if (this.#state.name !== "connected" || this.#changing || this.#changesHeld) return;
    this.#goBackForNewListeners();
    const commands = changes(this.#wanted(), this.#inForce, this.#resumeFrom);
    if (!commands.length) return this.#startListeners();
    this.#changing = new Map();
    for (const command of commands) {
      const id = this.#nextId();
      this.#changing.set(id, command);
      this.#send({ ...command, request_id: id });
    }
    return undefined;
  }

  #wanted() {
    const wanted = new Map();
    for (const { types, signature } of this.#listeners) {
      for (const type of types) wanted.set(type, signature);
    }
    return wanted;
  }

  /** Who wants older messages moves the connection back; the others skip what they had. */
  #goBackForNewListeners() {
    // Where nobody has been served yet, there is nobody to whom the way to the cursor matters.
    const served = [...this.#listeners].some(({ started }) => started) ? this.#cursor : null;
    for (const listener of this.#listeners) {
      const { started, since } = listener;
      if (started || since === null) continue;
      if (served !== null && since >= served && this.#isInForce(listener)) continue;
      this.#resumeFrom = Math.min(since, this.#resumeFrom ?? served ?? since);
    }
  }

  #isInForce({ types, signature }) {
    return types.every((type) => this.#inForce.get(type) === signature);
  }

  #changed({ request_id: id, seq }) {
    const command = this.#changing?.get(id);
    if (!command) return;
    this.#changing.delete(id);
    for (const type of command.message_types) {
      if (command.action === "unsubscribe") this.#inForce.delete(type);
      else this.#inForce.set(type, JSON.stringify(command.filters));
    }
    if (command.since !== undefined) this.#resumeFrom = null;
    if (this.#resumeFrom === null) this.#cursor = seq;
    this.#afterChanges();
  }

  #afterChanges() {
    if (this.#changing.size) return;
    this.#changing = null;
    this.#startListeners();
    if (this.#resumed && this.#resumeFrom === null) this.#confirmResume();
    this.#change();
  }

  #startListeners() {
    for (const listener of this.#listeners) {
      if (this.#resumeFrom === null && this.#isInForce(listener)) listener.start(this.#cursor);
    }
  }

  #changeRefused(id, error) {
    const command = this.#changing.get(id);
    this.#changing.delete(id);
    if (error.code === RATE_LIMITED) this.#holdChanges(error, command.action);
    else if (error.field === "since") this.#startAfresh(command.since);
    else this.#turnAway(command, error);
    this.#afterChanges();
  }

  #holdChanges(error, action) {
    const { clock } = this.#options;
    const seconds = error.details.retry_after_seconds ?? 1;
    clock.clearTimeout(this.#changesHeld);
    this.#changesHeld = clock.setTimeout(() => {
      this.#changesHeld = 0;
      this.#change();
    }, seconds * 1000);
    this.#emit("throttled", { seconds, action });
  }

  /** The log ends before the cursor: it is not the log that was followed. Say so and begin anew. */
  #startAfresh(since) {
    this.#resumeFrom = null;
    this.#cursor = null;
    for (const listener of this.#listeners) listener.reset();
    const gap = { from: since, to: null };
    this.#resumed?.gaps.push(gap);
    this.#emit("gap", gap);
  }

  #turnAway(command, error) {
    const signature = JSON.stringify(command.filters);
    for (const listener of [...this.#listeners]) {
      const concerned = listener.types.some((type) => command.message_types.includes(type));
      if (listener.signature !== signature || !concerned) continue;
      this.#listeners.delete(listener);
      listener.fail(error);
    }
    if (command.since !== undefined && !this.#listeners.size) this.#resumeFrom = null;
    this.#emit("error", error);
  }

  /** Two pings, because the first may overtake what the server is about to read from the log. */
  async #confirmResume() {
    const { clock } = this.#options;
    const report = this.#resumed;
    try {
      await this.#ping();
      if (this.#cursor === report.from) {
        await new Promise((resolve) => clock.setTimeout(resolve, 500));
        await this.#ping();
      }
    } catch {
      return; // the connection is lost again
    }
    if (this.#resumed !== report) return;
    this.#resumed = null;
    this.#emit("resumed", report);
  }
}

/** One who follows: knows how far it has been served, whatever the connection reads again. */
class Listener {
  constructor(types, filters, since, onMessage) {
    this.types = [...types];
    this.signature = JSON.stringify(sorted(filters));
    this.since = since;
    this.position = since;
    this.started = false;
    this.onMessage = onMessage;
    this.ready = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.ready.catch(ignore); // who does not look at it is told by the `error` event
  }

  start(cursor) {
    this.position ??= cursor;
    this.started = true;
    this.resolve();
  }

  reset() {
    this.position = null;
    this.since = null;
    this.started = false;
  }

  deliver(message) {
    if (!this.started || message.seq <= this.position) return;
    this.position = message.seq;
    guarded(this.onMessage, message);
  }

  fail(error) {
    this.reject(error);
  }
}

/** The commands that turn what is in force into what is wanted; the last moves to `since`. */
function changes(wanted, inForce, since) {
  const gone = [...inForce.keys()].filter((type) => !wanted.has(type));
  const differing = [...wanted].filter(([type, signature]) => inForce.get(type) !== signature);
  // To move, something has to be subscribed to, even if it is in force already.
  const named = differing.length || since === null ? differing : [...wanted];
  const groups = new Map();
  for (const [type, signature] of named) {
    groups.set(signature, [...(groups.get(signature) ?? []), type]);
  }
  const commands = gone.length ? [{ action: "unsubscribe", message_types: gone }] : [];
  for (const [signature, message_types] of groups) {
    commands.push({ action: "subscribe", message_types, filters: JSON.parse(signature) });
  }
  if (since !== null && groups.size) commands.at(-1).since = since;
  return commands;
}

/** Requests of one kind: sent in order, a few at a time, again after a lost connection. Once one
 * was refused for haste, the rest of the queue goes at the pace that the server has named. */
class Lane {
  #clock;
  #send;
  #throttled;
  #queue = [];
  #asked = 0;
  #sent = new Map();
  #pace = 0;
  #open = false;
  #held = 0;
  #failure = null;

  constructor(clock, send, throttled) {
    this.#clock = clock;
    this.#send = send;
    this.#throttled = throttled;
  }

  ask(command, id, signal) {
    return new Promise((resolve, reject) => {
      this.#asked += 1;
      const request = { id, command, place: this.#asked, resolve, reject };
      if (this.#failure) throw this.#failure;
      signal?.throwIfAborted();
      const abandon = () => this.#abandon(request, signal.reason);
      signal?.addEventListener("abort", abandon, { once: true });
      this.#queue.push(request);
      this.#pump();
    });
  }

  open() {
    this.#open = true;
    this.#pump();
  }

  shut() {
    this.#open = false;
    this.#clock.clearTimeout(this.#held);
    this.#held = 0;
    this.#again(...this.#sent.values());
    this.#sent.clear();
  }

  settle(event) {
    const request = this.#take(event.request_id);
    if (!request) return;
    const { action, request_id, ...answer } = event;
    request.resolve(answer);
    if (!this.#queue.length) this.#pace = 0;
    if (this.#pace) this.#hold(this.#pace);
    else this.#pump();
  }

  /** Whether the refusal was for one of ours. What was refused for haste waits and goes again. */
  refuse(event, error) {
    const request = this.#take(event.request_id);
    if (!request) return false;
    if (error.code === RATE_LIMITED) {
      this.#again(request);
      this.#pace = Math.max(this.#pace, error.details.retry_after_seconds ?? 1);
      this.#hold(this.#pace);
      this.#throttled(this.#pace, request.command.action);
    } else {
      request.reject(error);
      this.#pump();
    }
    return true;
  }

  /** Nothing will be sent any more. */
  fail(error) {
    this.#failure = error;
    for (const request of [...this.#queue, ...this.#sent.values()]) request.reject(error);
    this.#queue = [];
    this.#sent.clear();
  }

  #pump() {
    const window = this.#pace ? 1 : WINDOW;
    while (this.#open && !this.#held && this.#queue.length && this.#sent.size < window) {
      const request = this.#queue.shift();
      this.#sent.set(request.id, request);
      this.#send({ ...request.command, request_id: request.id });
    }
  }

  #hold(seconds) {
    this.#clock.clearTimeout(this.#held);
    this.#held = this.#clock.setTimeout(() => {
      this.#held = 0;
      this.#pump();
    }, seconds * 1000);
  }

  #again(...requests) {
    this.#queue = [...requests, ...this.#queue].sort((one, other) => one.place - other.place);
  }

  #take(id) {
    const request = this.#sent.get(id);
    this.#sent.delete(id);
    return request;
  }

  #abandon(request, reason) {
    this.#sent.delete(request.id);
    this.#queue = this.#queue.filter((other) => other !== request);
    request.reject(reason);
    this.#pump();
  }
}

/** When to try again. */
class Backoff {
  attempt = 0;

  constructor(random) {
    this.random = random;
  }

  /** Never at once for a client that was sent away for its haste. */
  wait(hasty) {
    const place = Math.min(Math.max(this.attempt, hasty ? 1 : 0), BACKOFF_MS.length - 1);
    return BACKOFF_MS[place] * this.random();
  }

  reset() {
    this.attempt = 0;
  }
}

/** Finds out whether the server is still there: asks after a while, and waits for any sign of it.
 * A timer that comes too late proves nothing (the sign may be waiting behind it), so it asks
 * once more before it gives up. */
class Heartbeat {
  #options;
  #on;
  #timer = 0;
  #due = 0;
  #asked = false;
  #sign = false;
  #doubted = false;

  constructor(options, on) {
    this.#options = options;
    this.#on = on;
  }

  start() {
    this.#rest();
  }

  stop() {
    this.#options.clock.clearTimeout(this.#timer);
  }

  heard() {
    this.#sign = true;
  }

  /** Ask now. */
  look() {
    if (!this.#asked) this.#ask();
  }

  #rest() {
    this.#asked = false;
    this.#doubted = false;
    this.#arm(this.#options.heartbeatMs);
  }

  #ask() {
    this.#asked = true;
    this.#sign = false;
    this.#arm(this.#options.patienceMs);
    this.#on.ping();
  }

  #check() {
    const late = this.#options.clock.now() - this.#due > LATE_MS;
    if (!this.#asked) return this.#ask();
    if (this.#sign) return this.#rest();
    if (!late || this.#doubted) return this.#on.dead();
    this.#doubted = true;
    return this.#ask();
  }

  #arm(ms) {
    const { clock } = this.#options;
    clock.clearTimeout(this.#timer);
    this.#due = clock.now() + ms;
    this.#timer = clock.setTimeout(() => this.#check(), ms);
  }
}

const systemClock = {
  now: () => performance.now(),
  setTimeout: (call, ms) => setTimeout(call, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

function addressHere() {
  const { protocol, host } = globalThis.location;
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}/ws/live-log`;
}

/** The milliseconds for which the server sends us away, if it does and they make sense. */
function absence(goodbye) {
  const asked = goodbye?.reconnect_after_ms;
  return Number.isFinite(asked) ? Math.min(Math.max(0, asked), LONGEST_ABSENCE_MS) : undefined;
}

function newId() {
  // `randomUUID` is missing on pages that did not come over HTTPS or from this machine.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `js_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function errorOf({ error_code, error_message, details = {} }) {
  const where = details.field ? `${details.field}: ` : "";
  return new LiveLogError(error_code, `${where}${details.issue ?? error_message}`, details);
}

function lostError() {
  return new LiveLogError(ABNORMAL, "not connected");
}

function sorted(object) {
  const entries = Object.entries(object).sort(([one], [other]) => (one < other ? -1 : 1));
  return Object.fromEntries(entries);
}

/** A handler that throws is its owner's fault and must not keep others from being called. */
function guarded(handler, detail) {
  try {
    handler?.(detail);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

function ignore() {}
