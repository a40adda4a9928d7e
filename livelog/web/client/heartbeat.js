/* Detection of a server that does not answer any more.
 *
 * After a silence it pings, and waits for any event. A timer that fires late proves no silence (the
 * answer may be queued behind it), so it pings once more before it gives up.
 */

/** A timer that fires this much too late was held back (a hidden tab, a sleeping machine). */
const LATE_MS = 1000;

export class Heartbeat {
  #options;
  #on;
  #timer = 0;
  #due = 0;
  #pinged = false;
  #heard = false; // since the last ping
  #doubted = false; // the timer fired late, and a second ping is on its way

  /** `on`: handlers for ping (send one), dead (the server did not answer). */
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

  /** Note that an event came. */
  heard() {
    this.#heard = true;
  }

  /** Ping now, without waiting for the silence. */
  check() {
    if (!this.#pinged) this.#ping();
  }

  #rest() {
    this.#pinged = false;
    this.#doubted = false;
    this.#arm(this.#options.heartbeatMs);
  }

  #ping() {
    this.#pinged = true;
    this.#heard = false;
    this.#arm(this.#options.timeoutMs);
    this.#on.ping();
  }

  #expired() {
    const late = this.#options.clock.now() - this.#due > LATE_MS;
    if (!this.#pinged) return this.#ping();
    if (this.#heard) return this.#rest();
    if (!late || this.#doubted) return this.#on.dead();
    this.#doubted = true;
    return this.#ping();
  }

  #arm(ms) {
    const { clock } = this.#options;
    clock.clearTimeout(this.#timer);
    this.#due = clock.now() + ms;
    this.#timer = clock.setTimeout(() => this.#expired(), ms);
  }
}
