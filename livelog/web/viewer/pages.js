/* The past, a page at a time, over HTTP: pages cost none of the few commands of the connection.
 * A page comes oldest first here, because that is how it is read.
 */
import { proof } from "./login.js";
import { LiveLogError } from "../client/livelog.js";
import { filtersOf } from "./view.js";

export class Archive {
  /** `place`: at most one of before, after, around. Tells whether the page reaches either end. */
  async page(view, place = {}, limit = 500, signal = undefined) {
    const type = view.types.join();
    const asked = new URLSearchParams({ type, ...filtersOf(view), ...place, limit });
    const { messages, total_count: total, offset } = await get(`./api/history?${asked}`, signal);
    return {
      messages: messages.reverse(),
      newer: offset,
      older: Math.max(0, total - offset - messages.length),
    };
  }

  /** The seq of the newest message, of whatever kind. */
  async head(signal) {
    return (await get("./healthz", signal)).head_seq;
  }
}

async function get(address, signal) {
  const response = await fetch(address, { signal, cache: "no-store", headers: proof() });
  const answer = await response.json();
  if (response.ok) return answer;
  const { field, issue } = answer.details ?? {};
  const words = [field, issue ?? answer.error_message].filter(Boolean).join(": ");
  throw new LiveLogError(answer.error_code, words, answer.details);
}
