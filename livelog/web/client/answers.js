/* The answers of the server: which event answers which command. */
import { isSeq, refused } from "./frames.js";

/** Command → the event that answers it, and whether such an event has what counts. */
const ANSWERS = {
  publish: ["published", ({ id, seq }) => typeof id === "string" && isSeq(seq)],
  get_history: ["history", ({ messages }) => Array.isArray(messages)],
  search: ["search_results", ({ results }) => Array.isArray(results)],
  analyze: ["analysis", ({ total_count }) => Number.isInteger(total_count)],
  watch: ["watching", ({ seq }) => isSeq(seq)],
  unwatch: ["unwatched", () => true],
  subscribe: ["subscribed", ({ seq }) => isSeq(seq)],
  unsubscribe: ["unsubscribed", ({ seq }) => isSeq(seq)],
  presence: ["online", ({ count }) => Number.isInteger(count)],
  ping: ["pong", () => true],
};
/** All events that answer commands; others tell of the connection, even with a request's id. */
const EVENTS = new Set(["authenticated", ...Object.values(ANSWERS).map(([event]) => event)]);

/** Return the error of a command whose answer is that of another one or cannot be read; null if
 * the event is its answer, or none at all. */
export function wrongAnswer(command, event) {
  if (!EVENTS.has(event.action)) return null;
  const [expected, isReadable] = ANSWERS[command];
  if (event.action !== expected) return refused("", `${command} was answered with ${event.action}`);
  return isReadable(event) ? null : refused("", `the answer to ${command} cannot be read`);
}
