/* The watches: numbers of messages instead of the messages.
 *
 * The server counts from the moment at which it is asked, and forgets it with the connection. So each
 * connection asks again, and what came in between is reported as a gap.
 */
import { retryDelay } from "./backoff.js";
import { Deadlines } from "./deadlines.js";
import { callGuarded } from "./emitter.js";
import { LiveLogError, RATE_LIMITED, SERVER_ERROR } from "./errors.js";
import { encode, isSeq } from "./frames.js";

/** Shortest time before a command is repeated that met an internal error of the server. */
const TROUBLE_MS = 5000;
const NOT_ALLOWED = 1008;

export class Watches {
  #clock;
  #limit;
  #nextId;
  #on;
  #count = 0;
  #watches = new Map(); // id → watch

  // True for one connection only.
  #open = false;
  #unwanted = new Set(); // ids of watches that are in force and have been stopped
  #pending = new Map(); // request id → command, for the commands without an answer
  #deadlines;
  #timer = 0; // until commands may go again

  /** `limit` is a `SizeLimit`; `on`: handlers for send (a command's text), emit (an event's name and
   * detail). */
  constructor(clock, limit, nextId, on) {
    this.#clock = clock;
    this.#limit = limit;
    this.#nextId = nextId;
    this.#on = on;
    this.#deadlines = new Deadlines(clock, (id, error) => this.refuse(id, error));
  }

  /** Watch; return the watch's `ready` and a function that ends it. */
  add({ group_by, interval_seconds, filters }, onCounts, onGap) {
    this.#count += 1;
    const id = `w${this.#count}`;
    const text = encode({ action: "watch", id, group_by, interval_seconds, filters });
    const watch = { id, command: JSON.parse(text), onCounts, onGap, seq: null, inForce: false };
    watch.ready = new Promise((resolve, reject) => Object.assign(watch, { resolve, reject }));
    watch.ready.catch(() => {}); // an application that ignores it gets the `error` event
    this.#watches.set(id, watch);
    this.#ask();
    return { ready: watch.ready, stop: () => this.#stop(watch) };
  }

  #stop(watch) {
    if (this.#watches.get(watch.id) !== watch) return;
    this.#watches.delete(watch.id);
    if (watch.inForce) this.#end(watch.id);
  }

  /** Reject and remove all watches. */
  fail(error) {
    for (const watch of this.#watches.values()) watch.reject(error);
    this.#watches.clear();
  }

  // The connection.

  open() {
    this.#open = true;
    this.#ask();
  }

  /** Commands without an answer: their texts, and a function that rejects each. */
  underWay() {
    return [...this.#pending].map(([request, command]) => {
      return { text: encode(command), reject: (error) => this.#reject(command.id, error, request) };
    });
  }

  /** The action of the command with this id; undefined if it is not under way here. */
  asked(id) {
    return this.#pending.get(id)?.action;
  }

  /** The connection is lost, and all that was in force on it. */
  shut() {
    this.#open = false;
    this.#clock.clearTimeout(this.#timer);
    this.#timer = 0;
    this.#unwanted.clear();
    this.#pending.clear();
    this.#deadlines.clear();
    for (const watch of this.#watches.values()) watch.inForce = false;
  }

  #end(id) {
    this.#unwanted.add(id);
    this.#ask();
  }

  #ask() {
    if (!this.#open || this.#timer) return;
    for (const id of [...this.#unwanted]) {
      this.#unwanted.delete(id);
      this.#send({ action: "unwatch", id });
    }
    const asked = new Set([...this.#pending.values()].map(({ id }) => id));
    for (const { id, inForce, command } of [...this.#watches.values()]) {
      if (!inForce && !asked.has(id)) this.#send(command);
    }
  }

  #send(command) {
    const request = this.#nextId();
    const text = encode({ ...command, request_id: request });
    this.#pending.set(request, command);
    const refusal = this.#limit.refusal(text);
    if (refusal) {
      this.refuse(request, refusal);
      return;
    }
    this.#on.send(text);
    this.#deadlines.begin(request, command.action);
  }

  // Events of the server.

  /** `watching`: what comes after `seq` is counted. */
  confirm({ request_id: request, seq }) {
    const command = this.#take(request);
    if (!command) return;
    const watch = this.#watches.get(command.id);
    if (!watch) {
      this.#end(command.id); // it was stopped meanwhile
      return;
    }
    watch.inForce = true;
    if (watch.seq !== null && watch.seq !== seq) callGuarded(watch.onGap, { from: watch.seq, to: seq });
    watch.seq = seq;
    watch.resolve();
  }

  /** `unwatched`: the answer to a command, or a new token does not allow what it asks for. */
  ended({ id, request_id: request }) {
    if (this.#take(request)) return;
    const issue = "the new token does not allow this watch";
    this.#reject(id, new LiveLogError(NOT_ALLOWED, issue, { issue }));
  }

  /** `counts`: of one interval. */
  deliver({ action, id, ...counts }) {
    const watch = this.#watches.get(id);
    if (!watch?.inForce || !isSeq(counts.from_seq) || !isSeq(counts.to_seq)) return;
    watch.seq = counts.to_seq;
    callGuarded(watch.onCounts, counts);
  }

  /** Handle the refusal of a command; return whether it was sent here. */
  refuse(request, error) {
    const command = this.#take(request);
    if (!command) return false;
    if (error.code === RATE_LIMITED) {
      const delay = retryDelay(error);
      this.#askAfter(delay, command);
      this.#on.emit("throttled", { seconds: delay / 1000, action: command.action });
    } else if (error.code === SERVER_ERROR) {
      this.#askAfter(Math.max(retryDelay(error), TROUBLE_MS), command);
      this.#on.emit("error", error);
    } else if (command.action === "watch") this.#reject(command.id, error);
    return true;
  }

  #askAfter(ms, { action, id }) {
    if (action === "unwatch") this.#unwanted.add(id);
    this.#clock.clearTimeout(this.#timer);
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = 0;
      this.#ask();
    }, ms);
  }

  #take(request) {
    const command = this.#pending.get(request);
    this.#pending.delete(request);
    this.#deadlines.end(request);
    return command;
  }

  #reject(id, error, request) {
    if (request !== undefined) this.#take(request);
    const watch = this.#watches.get(id);
    if (!watch) return;
    this.#watches.delete(id);
    watch.reject(error);
    this.#on.emit("error", error);
  }
}
