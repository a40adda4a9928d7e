/* Admin commands, over HTTP: they work while the WebSocket is away, too. */
import { retryDelay } from "../client/backoff.js";
import { ask } from "./pages.js";

/** Give a command; return its `result`, and as `silent` the names of servers that have not answered.
 * Throws as `ask` does. */
export async function give(command, fields = {}) {
  const headers = { "Content-Type": "application/json" };
  const options = { method: "POST", headers, body: JSON.stringify(fields) };
  const [{ result, nodes }] = await ask(`./api/admin/${command}`, options);
  const silent = Object.keys(nodes).filter((node) => nodes[node] !== "ok");
  return { result, silent };
}

/** Codes of errors that pass: a server that is shutting down or overloaded, a rate limit, and no
 * answer at all. */
const PASSING = new Set([1001, 1011, 4003, undefined]);

/** Milliseconds after which asking again may help; null if it would not. */
export function retryAfter(error) {
  return PASSING.has(error.code) ? retryDelay(error) : null;
}

/** Say in one sentence why a command failed. */
export function whyNot(error) {
  const { scope, issue, retry_after_seconds: seconds } = error.details ?? {};
  if (scope) return `your token lacks the scope ${scope}`;
  if (seconds) return `${issue ?? error.message}; try again in ${Math.ceil(seconds)} s`;
  if (error instanceof TypeError) return "the server cannot be reached";
  return issue ?? error.message;
}
