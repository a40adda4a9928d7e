/* One listener: the messages it asked for, and the seq up to which it has got them. */
import { callGuarded } from "./emitter.js";
import { encode, isSeq, refused } from "./frames.js";

export const TYPES = ["user", "system", "dm", "raid", "party", "guild"];

export class Listener {
  started = false;

  constructor({ types = TYPES, filters = {}, since = null }, onMessage) {
    checkTypes(types);
    checkSince(since);
    this.types = [...types];
    this.filters = encode(sorted(filters)); // equal filters are equal texts
    this.since = since;
    this.position = since; // seq of the last message delivered
    this.onMessage = onMessage;
    this.ready = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.ready.catch(() => {}); // an application that ignores it gets the `error` event
  }

  start(cursor) {
    this.position ??= cursor;
    this.started = true;
    this.resolve();
  }

  /** Whether it gets messages of this type, as far as the subscription in force has them: a map of
   * types to filters. */
  wants(type, inForce) {
    return this.types.includes(type) && inForce.get(type) === this.filters;
  }

  /** Whether all that it wants is in force. */
  isServed(inForce) {
    return this.types.every((type) => this.wants(type, inForce));
  }

  /** Forget the position: the log has been replaced by another one. */
  reset() {
    this.position = null;
    this.since = null;
    this.started = false;
  }

  /** Deliver a message, unless it came before; a connection may read a part of the log again. */
  deliver(message) {
    if (!this.started || message.seq <= this.position) return;
    this.position = message.seq;
    callGuarded(this.onMessage, message);
  }

  fail(error) {
    this.reject(error);
  }
}

function checkTypes(types) {
  const unknown = types.find((type) => !TYPES.includes(type));
  if (unknown === undefined) return;
  throw refused("types", `${unknown} is no message type; there are ${TYPES.join(", ")}`);
}

function checkSince(since) {
  if (since === null || isSeq(since)) return;
  throw refused("since", `must be the seq of a message, not ${String(since)}`);
}

function sorted(object) {
  const entries = Object.entries(object).sort(([one], [other]) => (one < other ? -1 : 1));
  return Object.fromEntries(entries);
}
