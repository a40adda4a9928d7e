/* The schedule of attempts to reconnect. */

/** Milliseconds before each attempt to reconnect; all but the first are drawn from 0 up to it. */
export const BACKOFF_MS = [0, 1000, 2000, 4000, 8000, 60_000];

/** The longest time that a server may ask its clients to stay away. */
const LONGEST_ABSENCE_MS = 300_000;

export class Backoff {
  attempt = 0;
  #random;

  constructor(random) {
    this.#random = random;
  }

  /** Count a failed attempt and return the milliseconds to wait before the next one. After a rate
   * limit it is never the first, immediate attempt of the schedule. */
  next(rateLimited) {
    const first = rateLimited ? 1 : 0;
    const place = Math.min(Math.max(this.attempt, first), BACKOFF_MS.length - 1);
    this.attempt += 1;
    return BACKOFF_MS[place] * this.#random();
  }

  reset() {
    this.attempt = 0;
  }
}

/** Milliseconds after which a `disconnected` event asks the client to come back, within limits;
 * undefined if it does not ask, or asks for no finite number. */
export function requestedAbsence(disconnected) {
  const asked = disconnected?.reconnect_after_ms;
  return Number.isFinite(asked) ? Math.min(Math.max(0, asked), LONGEST_ABSENCE_MS) : undefined;
}
