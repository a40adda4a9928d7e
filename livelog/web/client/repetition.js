/* The time for which a message is published again that was lost with its connection. Servers that
 * share a log know its id for a quarter of an hour: behind that it would be delivered twice. */
import { ABNORMAL, LiveLogError } from "./errors.js";

const MINUTES = 10;

export class Repetition {
  #clock;
  #wall;
  #expired;
  #timers = new Map(); // request → timer

  /** `expired(request, error)` is called when a request must not be sent again any more. */
  constructor(clock, expired) {
    this.#clock = clock;
    this.#wall = () => clock.wall?.() ?? clock.now();
    this.#expired = expired;
  }

  /** The request is sent: a server may take it from now on. */
  sent(request) {
    this.ended(request);
    if (request.action === "publish") request.due ??= this.#wall() + MINUTES * 60_000;
  }

  /** The connection was lost before the answer. */
  lost(request) {
    if (!request.due) return;
    const expired = () => this.#expired(request, unknown());
    this.#timers.set(request, this.#clock.setTimeout(expired, request.due - this.#wall()));
  }

  /** The error of a request that is too old to be sent again, as after the machine has slept, when
   * timers stand still; null otherwise. */
  refusal({ due }) {
    return this.#wall() >= due ? unknown() : null;
  }

  /** The request is not waited for any more. */
  ended(request) {
    this.#clock.clearTimeout(this.#timers.get(request));
    this.#timers.delete(request);
  }
}

function unknown() {
  const issue = `the connection ended before the answer to publish, ${MINUTES} minutes ago`;
  return new LiveLogError(ABNORMAL, `${issue}; it may have been carried out`);
}
