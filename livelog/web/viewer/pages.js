/* Pages of the past, over HTTP, where they do not count against the connection's command limit.
 * A page comes oldest first here, in the order of the rows.
 */
import { credential } from "./credential.js";
import { decode } from "../client/frames.js";
import { LiveLogError } from "../client/livelog.js";
import { keepPage } from "../client/raw.js";
import { filtersOf } from "./view.js";

export class Pages {
  /** Fetch `{ messages, newer, older }`: a page, and how many matches lie on either side of it.
   * `place` has at most one of before, after, around. */
  async fetch(view, place = {}, limit = 500, signal = undefined) {
    const type = view.types.join();
    const asked = new URLSearchParams({ type, ...filtersOf(view), ...place, limit });
    const [answer, text] = await get(`./api/history?${asked}`, signal);
    const { messages, total_count: total, offset, incomplete } = answer;
    keepPage(messages, "messages", text);
    // However short a page was cut, `offset` and its length say what is missing on either side. An
    // empty page has nothing beside it: to ask again would lead nowhere. On an incomplete page the
    // older ones are not counted, so there may be some.
    const empty = !messages.length;
    const least = incomplete ? 1 : 0;
    return {
      newer: empty ? 0 : offset,
      older: empty ? 0 : Math.max(least, total - offset - messages.length),
      messages: messages.reverse(),
    };
  }

  /** Count the messages of a view; `asked` are parameters of the analytics. */
  async analyze(view, asked, signal) {
    const parameters = new URLSearchParams({ type: view.types.join(), ...filtersOf(view), ...asked });
    const [answer] = await get(`./api/analytics?${parameters}`, signal);
    return answer;
  }

  /** The values of a field in all that may be read, those in the most messages first. */
  async values(field, limit) {
    const [{ groups }] = await get(`./api/analytics?${new URLSearchParams({ group_by: field, limit })}`);
    return groups.map(({ value }) => value);
  }

  /** The seq of the newest message of a view up to a moment; null without one. */
  async seqAt(view, moment, signal) {
    const found = await this.fetch({ ...view, to: moment, at: null }, {}, 1, signal);
    return found.messages[0]?.seq ?? null;
  }

  /** The seq of the newest message; with authentication, of the newest one that may be read. */
  async head(signal) {
    const { head_seq: head } = await this.health(signal);
    if (head !== undefined) return head;
    const [{ messages }] = await get("./api/history?limit=1", signal);
    return messages.length ? messages[0].seq : 0;
  }

  /** The server's health; `head_seq` is for everybody where there is no authentication. */
  async health(signal) {
    return (await get("./healthz", signal))[0];
  }
}

async function get(url, signal) {
  return ask(url, { signal });
}

/** Send a request with the credential; return the answer as an object and as its text. Throws a
 * `LiveLogError` for a refusal, and a `TypeError` if the server cannot be reached. */
export async function ask(url, { headers, ...options }) {
  await credential.current(); // is renewed first, if it is time
  const all = { ...headers, ...credential.headers };
  const response = await fetch(url, { ...options, cache: "no-store", headers: all });
  const text = await response.text();
  const answer = decode(text);
  if (!answer) throw new Error(`the answer is no JSON (HTTP status ${response.status})`);
  if (response.ok) return [answer, text];
  const { field, issue } = answer.details ?? {};
  const words = [field, issue ?? answer.error_message].filter(Boolean).join(": ");
  throw new LiveLogError(answer.error_code, words, answer.details);
}
