/* The schedule of attempts to reconnect. */

/** Milliseconds before each attempt to reconnect; all but the first are drawn from 0 up to it. */
export const BACKOFF_MS = [0, 1000, 2000, 4000, 8000, 60_000];

/** Bounds of the times that a server may ask its clients to wait. */
const SHORTEST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 3_600_000;
const RETRY_MS = 1000; // after a rate limit that names no time

export class Backoff {
  attempt = 0;
  #random;
  #moves;
  #movesLeft;

  constructor(random, servers) {
    this.#random = random;
    this.#moves = this.#movesLeft = servers > 1 ? servers : 0;
  }

  /** Count a failed attempt and return the milliseconds to wait before the next one. After a rate
   * limit it is never the first, immediate attempt of the schedule. A `planned` end, which another
   * server makes up for, is left out, as often as there are servers. */
  next(rateLimited, planned) {
    if (planned && this.#movesLeft) {
      this.#movesLeft -= 1;
      return 0;
    }
    const first = rateLimited ? 1 : 0;
    const place = Math.min(Math.max(this.attempt, first), BACKOFF_MS.length - 1);
    this.attempt += 1;
    return BACKOFF_MS[place] * this.#random();
  }

  reset() {
    this.attempt = 0;
    this.#movesLeft = this.#moves;
  }
}

/** Milliseconds after which a `disconnected` event asks the client to come back; undefined if it
 * does not ask, or asks for no number. */
export function requestedAbsence(disconnected) {
  return withinBounds(disconnected?.reconnect_after_ms);
}

/** Milliseconds after which a command may be sent again that a rate limit has refused. */
export function retryDelay({ details }) {
  const seconds = details?.retry_after_seconds;
  return (typeof seconds === "number" ? withinBounds(seconds * 1000) : undefined) ?? RETRY_MS;
}

/** Keep a server's wish to what neither floods it nor overflows a timer, which would fire at once. */
function withinBounds(ms) {
  if (typeof ms !== "number" || Number.isNaN(ms)) return undefined;
  return Math.min(Math.max(SHORTEST_WAIT_MS, ms), LONGEST_WAIT_MS);
}
