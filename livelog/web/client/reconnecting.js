/* A connection that is kept up: connects, watches, reconnects on a schedule, or stops for good. With
 * several addresses each attempt is made at the next of them. */
import { Backoff, requestedAbsence } from "./backoff.js";
import { Connection } from "./connection.js";
import { ABNORMAL, FINAL_CODES, GOING_AWAY, RATE_LIMITED } from "./errors.js";
import { Heartbeat } from "./heartbeat.js";

export class ReconnectingConnection {
  #addresses;
  #options;
  #on;
  #backoff;
  #heartbeat;
  #state = { name: "connecting", attempt: 0 };

  // True for one connection only.
  #current = null;
  #openedAt = 0;
  #disconnected = null; // the server's last event, which says when to come back
  #freeAt = 0; // when the last rate limit ends

  #timer = 0; // until the connection has to be open, or until the next attempt

  /** `addresses`: those of the servers. `on`: handlers for event (of the server, and its text),
   * opened, closed (the close code), stopped, state (the new one), ping (send one), and final
   * (return whether a close code ends it for good). */
  constructor(addresses, options, on) {
    this.#addresses = addresses;
    this.#options = options;
    this.#on = on;
    this.#backoff = new Backoff(options.random, addresses.length);
    this.#heartbeat = new Heartbeat(options, {
      ping: on.ping,
      dead: () => this.lost(ABNORMAL, "the server does not answer"),
    });
  }

  get state() {
    return this.#state;
  }

  /** The `Connection` of now; null while there is none. */
  get current() {
    return this.#current;
  }

  /** Send the text of a command. */
  send(text) {
    this.#current.send(text);
  }

  connect() {
    const { clock, timeoutMs } = this.#options;
    clock.clearTimeout(this.#timer);
    this.#setState({ name: "connecting", attempt: this.#backoff.attempt });
    this.#disconnected = null;
    this.#freeAt = 0;
    const giveUp = () => this.lost(ABNORMAL, "the server did not answer in time");
    this.#timer = clock.setTimeout(giveUp, timeoutMs);
    this.#open();
  }

  /** Open a connection. An address that this browser does not connect to, such as `ws:` from a page
   * of `https:`, throws, but one among several is passed over. */
  #open() {
    const { WebSocket, clock } = this.#options;
    try {
      this.#current = new Connection(WebSocket, this.#addresses.current, clock, {
        frame: (event, text) => this.#receive(event, text),
        closed: (code, reason) => this.lost(code, reason),
      });
    } catch (error) {
      if (!this.#addresses.several) throw error;
      this.lost(ABNORMAL, error.message);
    }
  }

  /** Connect now instead of waiting for the next attempt. */
  retry() {
    if (this.#state.name === "waiting") this.connect();
  }

  /** The server has accepted this client: requests may be sent. */
  accepted() {
    if (this.#state.name !== "connecting") return;
    const { clock } = this.#options;
    clock.clearTimeout(this.#timer);
    this.#openedAt = clock.now();
    this.#state = { name: "connected", attempt: this.#backoff.attempt };
    this.#heartbeat.start();
    this.#on.opened();
    this.#on.state(this.#state);
  }

  /** Note a rate limit: a connection that ends over it is not replaced earlier. */
  limited(ms) {
    this.#freeAt = Math.max(this.#freeAt, this.#options.clock.now() + ms);
  }

  /** Ping now, to learn whether the connection has survived a sleep. */
  check() {
    if (this.#state.name === "connected") this.#heartbeat.check();
  }

  /** The connection has ended, or is given up: wait for the next attempt, or stop. */
  lost(code, reason) {
    const disconnected = this.#disconnected;
    if (this.#wasStable()) this.#backoff.reset();
    this.#drop(code);
    if (this.#on.final(code)) return this.stop(code, FINAL_CODES[code]);
    if (disconnected?.reconnect === false) {
      return this.stop(code, reason || "the server does not let this client come back");
    }
    this.#addresses.leave();
    const elsewhere = this.#addresses.several && code === GOING_AWAY; // which is up
    // A server that names a short time again and again is not obeyed: the schedule goes on.
    const limited = code === RATE_LIMITED;
    const asked = elsewhere ? 0 : requestedAbsence(disconnected) ?? 0;
    const held = limited ? this.#freeAt - this.#options.clock.now() : 0;
    const wait = Math.max(this.#backoff.next(limited, elsewhere), asked, held);
    return this.#wait(wait, code, reason || String(disconnected?.reason ?? ""));
  }

  /** Close the connection for good. */
  stop(code, reason) {
    if (this.#state.name === "stopped") return;
    this.#drop(code);
    this.#setState({ name: "stopped", attempt: 0, code, reason });
    this.#on.stopped();
  }

  #receive(event, text) {
    this.#heartbeat.heard();
    if (event?.action === "disconnected") this.#disconnected = event;
    else if (event) this.#on.event(event, text);
  }

  #wasStable() {
    const { clock, stableMs } = this.#options;
    return this.#state.name === "connected" && clock.now() - this.#openedAt >= stableMs;
  }

  #drop(code) {
    const connection = this.#current;
    this.#options.clock.clearTimeout(this.#timer);
    this.#current = null;
    this.#heartbeat.stop();
    this.#on.closed(code);
    connection?.close();
  }

  #wait(wait, code, reason) {
    const { clock } = this.#options;
    const attempt = Math.max(1, this.#backoff.attempt);
    this.#timer = clock.setTimeout(() => this.connect(), wait);
    this.#setState({ name: "waiting", attempt, retryAt: clock.now() + wait, code, reason });
  }

  #setState(state) {
    this.#state = state;
    this.#on.state(state);
  }
}
