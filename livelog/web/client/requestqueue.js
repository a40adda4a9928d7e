/* Requests of one kind: sent in order, a few at a time, and again after a lost connection. After a
 * rate limit the rest of the queue goes one by one, at the interval that the server has named. */
import { retryDelay } from "./backoff.js";
import { Deadlines } from "./deadlines.js";
import { ABNORMAL, LiveLogError, RATE_LIMITED } from "./errors.js";
import { encode } from "./frames.js";
import { Repetition } from "./repetition.js";

/** Requests without an answer that may be under way at once. */
const MAX_IN_FLIGHT = 20;
/** Connections without any answer that may end while the same request is the first to wait for its
 * own: it may be what ends them. */
const MAX_CONNECTIONS = 8;

export class RequestQueue {
  #clock;
  #limit;
  #send;
  #throttled;
  #queue = [];
  #count = 0;
  #inFlight = new Map(); // request id → request
  #deadlines;
  #repetition;
  #interval = 0; // milliseconds between two requests after a rate limit, otherwise 0
  #timer = 0; // until the next request may go
  #open = false;
  #answered = false; // anything on this connection
  #failure = null;

  /** `limit` is a `SizeLimit`; `throttled(seconds, action)` is called when a rate limit holds a
   * request back. */
  constructor(clock, limit, send, throttled) {
    this.#clock = clock;
    this.#limit = limit;
    this.#send = send;
    this.#throttled = throttled;
    this.#deadlines = new Deadlines(clock, (id, error) => this.refuse(id, error));
    this.#repetition = new Repetition(clock, (request, error) => this.#giveUp(request, error));
  }

  /** Queue a command; resolve to the fields of its answer. What is queued is text: it cannot fail
   * later, and a message that is changed meanwhile is sent as it was. */
  ask(command, id, signal) {
    return new Promise((resolve, reject) => {
      if (this.#failure) throw this.#failure;
      signal?.throwIfAborted();
      const text = encode({ ...command, request_id: id });
      const refusal = this.#limit.refusal(text);
      if (refusal) throw refusal;
      this.#count += 1;
      const { action } = command;
      const request = { id, action, text, place: this.#count, lost: 0, resolve, reject, signal };
      request.abort = () => this.#giveUp(request, signal.reason);
      signal?.addEventListener("abort", request.abort, { once: true });
      this.#queue.push(request);
      this.#sendNext();
    });
  }

  open() {
    this.#open = true;
    this.#answered = false;
    this.#sendNext();
  }

  /** Requests without an answer: their texts, and a function that rejects each. */
  underWay() {
    return [...this.#inFlight.values()].map((request) => {
      return { text: request.text, reject: (error) => this.#giveUp(request, error) };
    });
  }

  /** The connection is lost: requests without an answer go back into the queue, but for one that has
   * lost too many. */
  shut() {
    this.#open = false;
    this.#clock.clearTimeout(this.#timer);
    this.#timer = 0;
    const waiting = [...this.#inFlight.values()];
    this.#inFlight.clear();
    this.#deadlines.clear();
    this.#requeue(...waiting);
    for (const request of waiting) this.#repetition.lost(request);
    const [first] = this.#queue;
    if (this.#answered || !waiting.includes(first)) return;
    first.lost += 1;
    if (first.lost >= MAX_CONNECTIONS) this.#giveUp(first, fatal(first));
  }

  /** Reject all requests, now and from now on. */
  fail(error) {
    this.#failure = error;
    const all = [...this.#queue, ...this.#inFlight.values()];
    this.#queue = [];
    this.#inFlight.clear();
    this.#deadlines.clear();
    for (const request of all) {
      this.#repetition.ended(request);
      reject(request, error);
    }
  }

  /** The action of the request with this id; undefined if it is not under way here. */
  asked(id) {
    return this.#inFlight.get(id)?.action;
  }

  /** Resolve the request with this id, if it is one of this queue. */
  settle({ action, request_id, ...answer }) {
    const request = this.#take(request_id);
    if (!request) return;
    release(request);
    request.resolve(answer);
    if (!this.#queue.length) this.#interval = 0;
    if (this.#interval) this.#hold(this.#interval);
    else this.#sendNext();
  }

  /** Reject the request with this id, or queue it again if a rate limit refused it; return whether
   * it is one of this queue. */
  refuse(id, error) {
    const request = this.#take(id);
    if (!request) return false;
    if (error.code === RATE_LIMITED) this.#slowDown(request, error);
    else {
      reject(request, error);
      this.#sendNext();
    }
    return true;
  }

  #slowDown(request, error) {
    this.#requeue(request);
    request.due = undefined; // it was not taken
    this.#interval = Math.max(this.#interval, retryDelay(error));
    this.#hold(this.#interval);
    this.#throttled(this.#interval / 1000, request.action);
  }

  #sendNext() {
    const most = this.#interval ? 1 : MAX_IN_FLIGHT;
    while (this.#open && !this.#timer && this.#queue.length && this.#inFlight.size < most) {
      const request = this.#queue.shift();
      // It may have been queued before the limit, or too long ago.
      const refusal = this.#limit.refusal(request.text) ?? this.#repetition.refusal(request);
      this.#repetition.sent(request);
      if (refusal) reject(request, refusal);
      else {
        this.#inFlight.set(request.id, request);
        this.#send(request.text);
        this.#deadlines.begin(request.id, request.action);
      }
    }
  }

  #hold(ms) {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = 0;
      this.#sendNext();
    }, ms);
  }

  #requeue(...requests) {
    this.#queue = [...requests, ...this.#queue].sort((one, other) => one.place - other.place);
  }

  #take(id) {
    const request = this.#inFlight.get(id);
    this.#inFlight.delete(id);
    this.#deadlines.end(id);
    this.#answered ||= request !== undefined;
    return request;
  }

  #giveUp(request, reason) {
    this.#inFlight.delete(request.id);
    this.#deadlines.end(request.id);
    this.#repetition.ended(request);
    this.#queue = this.#queue.filter((other) => other !== request);
    reject(request, reason);
    this.#sendNext();
  }
}

function fatal({ action }) {
  const issue = `${MAX_CONNECTIONS} connections ended before the answer to ${action}`;
  return new LiveLogError(ABNORMAL, `${issue}; it may have been carried out`);
}

function reject(request, error) {
  release(request);
  request.reject(error);
}

/** Let go of the signal, which may live longer than the request. */
function release({ signal, abort }) {
  signal?.removeEventListener("abort", abort);
}
