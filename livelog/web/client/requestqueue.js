/* Requests of one kind: sent in order, a few at a time, and again after a lost connection. After a
 * rate limit the rest of the queue goes one by one, at the interval that the server has named. */
import { RATE_LIMITED } from "./errors.js";

/** Requests without an answer that may be under way at once. */
const MAX_IN_FLIGHT = 20;

export class RequestQueue {
  #clock;
  #send;
  #throttled;
  #queue = [];
  #count = 0;
  #inFlight = new Map(); // request id → request
  #interval = 0; // seconds between two requests after a rate limit, otherwise 0
  #timer = 0; // until the next request may go
  #open = false;
  #failure = null;

  /** `throttled(seconds, action)` is called when a rate limit holds a request back. */
  constructor(clock, send, throttled) {
    this.#clock = clock;
    this.#send = send;
    this.#throttled = throttled;
  }

  /** Queue a command; resolve to the fields of its answer. */
  ask(command, id, signal) {
    return new Promise((resolve, reject) => {
      this.#count += 1;
      const request = { id, command, place: this.#count, resolve, reject };
      if (this.#failure) throw this.#failure;
      signal?.throwIfAborted();
      const abort = () => this.#abort(request, signal.reason);
      signal?.addEventListener("abort", abort, { once: true });
      this.#queue.push(request);
      this.#sendNext();
    });
  }

  open() {
    this.#open = true;
    this.#sendNext();
  }

  /** The connection is lost: requests without an answer go back into the queue. */
  shut() {
    this.#open = false;
    this.#clock.clearTimeout(this.#timer);
    this.#timer = 0;
    this.#requeue(...this.#inFlight.values());
    this.#inFlight.clear();
  }

  /** Reject all requests, now and from now on. */
  fail(error) {
    this.#failure = error;
    for (const request of [...this.#queue, ...this.#inFlight.values()]) request.reject(error);
    this.#queue = [];
    this.#inFlight.clear();
  }

  /** Resolve the request that an event answers, if it is one of this queue. */
  settle(event) {
    const request = this.#take(event.request_id);
    if (!request) return;
    const { action, request_id, ...answer } = event;
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
      request.reject(error);
      this.#sendNext();
    }
    return true;
  }

  #slowDown(request, error) {
    this.#requeue(request);
    this.#interval = Math.max(this.#interval, error.details.retry_after_seconds ?? 1);
    this.#hold(this.#interval);
    this.#throttled(this.#interval, request.command.action);
  }

  #sendNext() {
    const most = this.#interval ? 1 : MAX_IN_FLIGHT;
    while (this.#open && !this.#timer && this.#queue.length && this.#inFlight.size < most) {
      const request = this.#queue.shift();
      this.#inFlight.set(request.id, request);
      this.#send({ ...request.command, request_id: request.id });
    }
  }

  #hold(seconds) {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = 0;
      this.#sendNext();
    }, seconds * 1000);
  }

  #requeue(...requests) {
    this.#queue = [...requests, ...this.#queue].sort((one, other) => one.place - other.place);
  }

  #take(id) {
    const request = this.#inFlight.get(id);
    this.#inFlight.delete(id);
    return request;
  }

  #abort(request, reason) {
    this.#inFlight.delete(request.id);
    this.#queue = this.#queue.filter((other) => other !== request);
    request.reject(reason);
    this.#sendNext();
  }
}
