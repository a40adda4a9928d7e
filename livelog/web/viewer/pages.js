/* Pages of the past, over HTTP, where they do not count against the connection's command limit.
 * A page comes oldest first here, in the order of the rows.
 */
import { authorization } from "./login.js";
import { LiveLogError } from "../client/livelog.js";
import { filtersOf } from "./view.js";

export class Pages {
  /** Fetch `{ messages, newer, older }`: a page, and how many matches lie on either side of it.
   * `place` has at most one of before, after, around. */
  async fetch(view, place = {}, limit = 500, signal = undefined) {
    const type = view.types.join();
    const asked = new URLSearchParams({ type, ...filtersOf(view), ...place, limit });
    const { messages, total_count: total, offset } = await get(`./api/history?${asked}`, signal);
    return {
      messages: messages.reverse(),
      newer: offset,
      older: Math.max(0, total - offset - messages.length),
    };
  }

  /** The seq of the newest message; with authentication, of the newest one that may be read. */
  async head(signal) {
    const { head_seq: head } = await get("./healthz", signal);
    if (head !== undefined) return head;
    const { messages } = await get("./api/history?limit=1", signal);
    return messages.length ? messages[0].seq : 0;
  }
}

async function get(url, signal) {
  const response = await fetch(url, { signal, cache: "no-store", headers: authorization() });
  const answer = await response.json();
  if (response.ok) return answer;
  const { field, issue } = answer.details ?? {};
  const words = [field, issue ?? answer.error_message].filter(Boolean).join(": ");
  throw new LiveLogError(answer.error_code, words, answer.details);
}
