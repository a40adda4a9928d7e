/* Pings that wait for their pong. */
import { Deadlines } from "./deadlines.js";
import { notConnected } from "./errors.js";
import { encode } from "./frames.js";

export class Pings {
  #clock;
  #nextId;
  #send;
  #pending = new Map(); // request id → { sentAt, resolve, reject }
  #deadlines;
  #open = false;

  constructor(clock, nextId, send) {
    this.#clock = clock;
    this.#nextId = nextId;
    this.#send = send;
    this.#deadlines = new Deadlines(clock, (id, error) => this.refuse(id, error));
  }

  open() {
    this.#open = true;
  }

  /** Commands without an answer that can be given up: none. */
  underWay() {
    return [];
  }

  shut() {
    this.#open = false;
    for (const ping of this.#pending.values()) ping.reject(notConnected());
    this.#pending.clear();
    this.#deadlines.clear();
  }

  /** The action of the command with this id; undefined if it is not under way here. */
  asked(id) {
    return this.#pending.has(id) ? "ping" : undefined;
  }

  /** Send a ping; resolve to `{ latencyMs, seq }`. */
  ping() {
    if (!this.#open) return Promise.reject(notConnected());
    const id = this.#nextId();
    const sentAt = this.#clock.now();
    const pong = new Promise((resolve, reject) => {
      this.#pending.set(id, { sentAt, resolve, reject });
    });
    this.#send(encode({ action: "ping", request_id: id }));
    this.#deadlines.begin(id, "ping");
    return pong;
  }

  /** Resolve the ping of a pong and return its latency; undefined if it was not sent here. */
  settle({ request_id: id, seq }) {
    const ping = this.#take(id);
    if (!ping) return undefined;
    const latency = { latencyMs: this.#clock.now() - ping.sentAt, seq };
    ping.resolve(latency);
    return latency;
  }

  /** Reject the ping with this id; return whether there is one. */
  refuse(id, error) {
    const ping = this.#take(id);
    ping?.reject(error);
    return ping !== undefined;
  }

  #take(id) {
    const ping = this.#pending.get(id);
    this.#pending.delete(id);
    this.#deadlines.end(id);
    return ping;
  }
}
