/* Those who follow who is on line. The server forgets it with the connection, so each connection
 * asks again, and begins with the whole state.
 */
import { retryDelay } from "./backoff.js";
import { callGuarded } from "./emitter.js";
import { SERVER_ERROR } from "./errors.js";

/** Shortest time before a question is repeated that met an internal error of the server. */
const TROUBLE_MS = 5000;

export class PresenceWatches {
  #clock;
  #nextId;
  #ask;
  #emit;
  #watches = new Set();
  #open = false;

  /** `ask(fields, id)` sends a `presence` with this request id and resolves to its answer, on this
   * connection or a later one; `emit` takes an event's name and detail. */
  constructor(clock, nextId, ask, emit) {
    this.#clock = clock;
    this.#nextId = nextId;
    this.#ask = ask;
    this.#emit = emit;
  }

  /** Follow; return the `ready` of it and a function that ends it. */
  add({ limit }, onChange) {
    const watch = { limit, onChange, inForce: false, request: null, timer: 0 };
    watch.ready = new Promise((resolve, reject) => Object.assign(watch, { resolve, reject }));
    watch.ready.catch(() => {}); // an application that ignores it gets the `error` event
    this.#watches.add(watch);
    if (this.#open) this.#follow(watch);
    return { ready: watch.ready, stop: () => this.#stop(watch) };
  }

  #stop(watch) {
    this.#clock.clearTimeout(watch.timer);
    if (!this.#watches.delete(watch) || this.#watches.size || !this.#open) return;
    this.#ask({ limit: 1, follow: false }, this.#nextId()).catch(() => {}); // its answer is not waited for
  }

  /** Reject and remove all of them. */
  fail(error) {
    for (const watch of this.#watches) watch.reject(error);
    this.#watches.clear();
  }

  // The connection.

  open() {
    this.#open = true;
    for (const watch of this.#watches) this.#follow(watch);
  }

  shut() {
    this.#open = false;
    for (const watch of this.#watches) {
      watch.inForce = false;
      this.#clock.clearTimeout(watch.timer);
    }
  }

  /** `online_changed`: of the last second. */
  deliver(change) {
    for (const { inForce, onChange } of [...this.#watches]) {
      if (inForce) callGuarded(onChange, change);
    }
  }

  /** `online`: the answer to a question. At once, as changes may come right behind it. */
  answered({ action, request_id: request, ...online }) {
    const watch = [...this.#watches].find((one) => one.request === request);
    if (!watch) return;
    watch.inForce = true;
    callGuarded(watch.onChange, online);
  }

  /** A question that a lost connection left without an answer is asked again by itself. */
  async #follow(watch) {
    if (watch.request !== null) return;
    watch.request = this.#nextId();
    try {
      await this.#ask({ limit: watch.limit, follow: true }, watch.request);
      watch.resolve();
    } catch (error) {
      this.#refused(watch, error);
    } finally {
      watch.request = null;
    }
  }

  #refused(watch, error) {
    if (!this.#watches.has(watch)) return;
    if (error.code === SERVER_ERROR) {
      const delay = Math.max(retryDelay(error), TROUBLE_MS);
      watch.timer = this.#clock.setTimeout(() => this.#open && this.#follow(watch), delay);
    } else {
      this.#watches.delete(watch);
      watch.reject(error);
    }
    this.#emit("error", error);
  }
}
