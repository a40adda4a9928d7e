/* The time that the server has to answer a command. A server that answers pings, or sends messages,
 * is alive for the heartbeat; a command that it never answers would be waited for without end. */
import { LiveLogError, SERVER_ERROR } from "./errors.js";

/** Milliseconds for an answer; the server itself gives up on a question after a sixth of that. */
export const ANSWER_MS = 60_000;
/** A timer that fires this much too late was held back, and the answer may be queued behind it. */
const LATE_MS = 1000;

export class Deadlines {
  #clock;
  #passed;
  #timers = new Map(); // request id → timer

  /** `passed(id, error)` is called when a command has not been answered in time. */
  constructor(clock, passed) {
    this.#clock = clock;
    this.#passed = passed;
  }

  /** The command with this id has been sent. */
  begin(id, action) {
    const due = this.#clock.now() + ANSWER_MS;
    const expired = () => {
      if (this.#clock.now() - due > LATE_MS) this.begin(id, action);
      else this.#passed(id, unanswered(action));
    };
    this.#timers.set(id, this.#clock.setTimeout(expired, ANSWER_MS));
  }

  /** The command is not waited for any more. */
  end(id) {
    this.#clock.clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
  }

  /** None is waited for any more. */
  clear() {
    for (const id of [...this.#timers.keys()]) this.end(id);
  }
}

function unanswered(action) {
  const issue = `${action} was not answered within ${ANSWER_MS / 1000} s; it may have been carried out`;
  return new LiveLogError(SERVER_ERROR, issue, { issue });
}
