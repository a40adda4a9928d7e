/* The subscriptions of all listeners together, brought into force on one connection.
 *
 * The rule: a listener gets each message once, in the order of `seq`, and a message is left out
 * only with a `gap` event that says so. All of it rests on one number, the cursor: everything asked
 * for up to this seq has been delivered. A new connection subscribes with `since: cursor`; until
 * the server has confirmed that, messages are dropped, because they are sent again, in order.
 */
import { retryDelay } from "./backoff.js";
import { subscriptionCommands } from "./commands.js";
import { Deadlines } from "./deadlines.js";
import { RATE_LIMITED, SERVER_ERROR } from "./errors.js";
import { encode, isSeq, refused } from "./frames.js";
import { Listener } from "./listener.js";
import { ResumeReport } from "./resumereport.js";

/** Types that nobody wants any more are unsubscribed after so long without another change: what
 * replaces one listener by another costs one command, not two. */
const UNWANTED_MS = 2000;
/** Shortest time before a command is repeated that met an internal error of the server. */
const TROUBLE_MS = 5000;

export class Subscriptions {
  #clock;
  #limit;
  #nextId;
  #batch;
  #on;
  #report;

  #listeners = new Set();
  #cursor = null; // everything asked for up to here has been delivered
  #changeDue = false; // a change is queued as a microtask

  // True for one connection only.
  #open = false;
  #batches = false; // the server knows them
  #inForce = new Map(); // type → its filters as JSON, as the server has confirmed them
  #resumeFrom = null; // `since` to be confirmed; until it is, messages are dropped
  #pending = null; // request id → command, for the commands without an answer
  #deadlines;
  #timer = 0; // until commands may go again after a rate limit
  #unwanted = 0; // timer, until types that nobody wants are unsubscribed

  /** `limit` is a `SizeLimit`; `batch`: whether several messages may come in a frame; `on`: handlers for send (a command's text), ping (returns a
   * promise), emit (an event's name and detail). */
  constructor(clock, limit, nextId, batch, on) {
    this.#clock = clock;
    this.#limit = limit;
    this.#nextId = nextId;
    this.#batch = batch;
    this.#on = on;
    this.#report = new ResumeReport(clock, on);
    this.#deadlines = new Deadlines(clock, (id, error) => this.refuse(id, error));
  }

  /** Everything asked for up to this seq has been delivered; null before the first subscription. */
  get cursor() {
    return this.#cursor;
  }

  // Listeners.

  /** Follow messages; return the listener's `ready` and a function that ends it. */
  add(wanted, onMessage) {
    const listener = new Listener(wanted, onMessage);
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

  /** Reject and remove all listeners. */
  fail(error) {
    for (const listener of this.#listeners) listener.fail(error);
    this.#listeners.clear();
  }

  #refuseConflict({ types, filters }) {
    for (const other of this.#listeners) {
      const shared = other.types.find((type) => types.includes(type));
      if (shared && other.filters !== filters) {
        const issue = `${shared} is followed with other filters already; use another LiveLog`;
        throw refused("filters", issue);
      }
    }
  }

  #anyStarted() {
    return [...this.#listeners].some(({ started }) => started);
  }

  // The connection.

  /** Note what a `connected` event says; an older server refuses commands that ask for batches. */
  learn({ batch_ms: batch }) {
    this.#batches = batch !== undefined;
  }

  /** Resume on a new connection. */
  open() {
    this.#open = true;
    if (!this.#anyStarted()) this.#cursor = null;
    this.#resumeFrom = this.#cursor;
    if (this.#cursor !== null) this.#report.begin(this.#cursor);
    this.#change();
  }

  /** Commands without an answer: their texts, and a function that rejects each. */
  underWay() {
    return [...(this.#pending ?? [])].map(([, command]) => {
      return { text: encode(command), reject: (error) => this.#reject(command, error) };
    });
  }

  /** The action of the command with this id; undefined if it is not under way here. */
  asked(id) {
    return this.#pending?.get(id)?.action;
  }

  /** The connection is lost, and all that was in force on it. */
  shut() {
    this.#open = false;
    this.#clock.clearTimeout(this.#timer);
    this.#clock.clearTimeout(this.#unwanted);
    this.#timer = 0;
    this.#inForce.clear();
    this.#pending = null;
    this.#deadlines.clear();
    this.#report.drop();
  }

  // Messages and positions.

  deliver(message) {
    if (this.#resumeFrom !== null) return; // it is sent again, in order
    if (!isSeq(message.seq)) return;
    this.#advance(message.seq);
    for (const listener of [...this.#listeners]) {
      if (listener.wants(message.type, this.#inForce)) listener.deliver(message);
    }
  }

  /** The server has no longer the messages after `from` and up to `to`. */
  gap(gap) {
    if (this.#resumeFrom !== null || !isSeq(gap.from) || !isSeq(gap.to)) return;
    if (gap.to <= this.#cursor) return; // all of that has been delivered
    this.#advance(gap.to);
    this.#report.gap(gap);
  }

  /** A pong: everything asked for up to `seq` has been sent. */
  reached(seq) {
    if (this.#resumeFrom === null && this.#inForce.size) this.#advance(seq);
  }

  #advance(seq) {
    if (isSeq(seq)) this.#cursor = Math.max(this.#cursor ?? 0, seq);
  }

  // Changes.

  /** Several calls in one task become one change: commands are limited. */
  #changeSoon() {
    if (this.#changeDue) return;
    this.#changeDue = true;
    queueMicrotask(() => {
      this.#changeDue = false;
      this.#change();
    });
  }

  #change() {
    if (!this.#open || this.#pending || this.#timer) return;
    this.#clock.clearTimeout(this.#unwanted);
    this.#moveBackForNewListeners();
    const commands = this.#commands();
    const urgent = commands.filter(({ action }) => action === "subscribe");
    if (urgent.length) this.#request(urgent);
    else {
      this.#startListeners();
      if (commands.length) this.#unsubscribeLater();
    }
  }

  #commands() {
    const batch = this.#batch && this.#batches;
    return subscriptionCommands(this.#wanted(), this.#inForce, this.#resumeFrom, batch);
  }

  #unsubscribeLater() {
    const unsubscribe = () => this.#pending || this.#timer || this.#request(this.#commands());
    this.#unwanted = this.#clock.setTimeout(unsubscribe, UNWANTED_MS);
  }

  #request(commands) {
    if (!commands.length) return;
    const texts = new Map();
    this.#pending = new Map();
    for (const command of commands) {
      const id = this.#nextId();
      this.#pending.set(id, command);
      texts.set(id, encode({ ...command, request_id: id }));
    }
    for (const [id, text] of texts) {
      const refusal = this.#limit.refusal(text);
      if (refusal) this.refuse(id, refusal);
      else {
        this.#on.send(text);
        this.#deadlines.begin(id, this.asked(id));
      }
    }
  }

  #wanted() {
    const wanted = new Map();
    for (const { types, filters } of this.#listeners) {
      for (const type of types) wanted.set(type, filters);
    }
    return wanted;
  }

  /** A listener that wants older messages moves the connection back; the others skip those that
   * they had. */
  #moveBackForNewListeners() {
    // Before any listener has started, none needs the messages on the way to the cursor.
    const served = this.#anyStarted() ? this.#cursor : null;
    for (const listener of this.#listeners) {
      const { started, since } = listener;
      if (started || since === null) continue;
      if (served !== null && since >= served && listener.isServed(this.#inForce)) continue;
      this.#resumeFrom = Math.min(since, this.#resumeFrom ?? served ?? since);
    }
  }

  #startListeners() {
    for (const listener of this.#listeners) {
      if (this.#resumeFrom === null && listener.isServed(this.#inForce)) {
        listener.start(this.#cursor);
      }
    }
  }

  // Answers.

  /** `subscribed` or `unsubscribed`: a command is in force from `seq` on. */
  confirm({ request_id: id, seq }) {
    const command = this.#take(id);
    if (!command) return;
    if (command.action === "unsubscribe") this.#forget(command.message_types);
    else this.#enforce(command);
    if (command.since !== undefined) this.#resumeFrom = null;
    if (this.#resumeFrom === null && isSeq(seq)) this.#cursor = seq;
    this.#answered();
  }

  #enforce({ message_types: types, filters }) {
    for (const type of types) this.#inForce.set(type, JSON.stringify(filters));
  }

  /** Handle the refusal of a command; return whether it was sent here. */
  refuse(id, error) {
    const command = this.#take(id);
    if (!command) return false;
    if (error.code === RATE_LIMITED) this.#hold(error, command.action);
    else if (error.code === SERVER_ERROR) this.#tryAgain(error);
    else if (error.field === "since" && command.since !== undefined) this.#startAnew(command.since);
    else this.#reject(command, error);
    this.#answered();
    return true;
  }

  #take(id) {
    const command = this.#pending?.get(id);
    this.#pending?.delete(id);
    this.#deadlines.end(id);
    return command;
  }

  #answered() {
    if (this.#pending.size) return;
    this.#pending = null;
    this.#startListeners();
    if (this.#resumeFrom === null) this.#report.confirm(() => this.#cursor);
    this.#change();
  }

  #hold(error, action) {
    const delay = retryDelay(error);
    this.#changeAfter(delay);
    this.#on.emit("throttled", { seconds: delay / 1000, action });
  }

  /** The server cannot do it now; a listener does not end for that. */
  #tryAgain(error) {
    this.#changeAfter(Math.max(retryDelay(error), TROUBLE_MS));
    this.#on.emit("error", error);
  }

  #changeAfter(ms) {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = 0;
      this.#change();
    }, ms);
  }

  /** The log ends before the cursor, so it is another log: report a gap and follow from now on. */
  #startAnew(since) {
    this.#resumeFrom = null;
    this.#cursor = null;
    for (const listener of this.#listeners) listener.reset();
    this.#report.gap({ from: since, to: null });
  }

  /** Remove the listeners that asked for a refused command, and do not repeat it. */
  #reject(command, error) {
    if (command.action === "unsubscribe") this.#forget(command.message_types);
    const filters = JSON.stringify(command.filters);
    for (const listener of [...this.#listeners]) {
      const concerned = listener.types.some((type) => command.message_types.includes(type));
      if (listener.filters !== filters || !concerned) continue;
      this.#listeners.delete(listener);
      listener.fail(error);
    }
    if (command.since !== undefined && !this.#listeners.size) this.#resumeFrom = null;
    this.#on.emit("error", error);
  }

  #forget(types) {
    for (const type of types) this.#inForce.delete(type);
  }
}
