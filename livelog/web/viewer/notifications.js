/* Notifications: one for each burst of messages, whichever views of the page they belong to. */
import { count } from "./format.js";

const GATHERED_MS = 300; // views tell of the same messages a little one after the other
const EVERY_MS = 5000;
const LONGEST = 80; // characters of a message beside those of other views

export class Notifications {
  #show;
  #timer = 0;
  #news = new Map(); // view → what has come since the last notification, the newest one last

  /** `show(view, { title, body })` shows one; the view is that of the newest message. */
  constructor(show) {
    this.#show = show;
  }

  /** `many` messages have come to a view, which has a `label` if there are several; `title` and `body`
   * tell of the newest one. */
  add(view, { title, body, many }) {
    const before = this.#news.get(view)?.many ?? 0;
    this.#news.delete(view);
    this.#news.set(view, { title, body, many: before + many });
    this.#timer ||= setTimeout(() => this.#tell(), GATHERED_MS);
  }

  /** Tell of all that has come, and after a while of what comes meanwhile. */
  #tell() {
    this.#timer = 0;
    if (!this.#news.size) return;
    const news = [...this.#news];
    this.#news.clear();
    this.#timer = setTimeout(() => this.#tell(), EVERY_MS);
    if (document.hidden) this.#show(news.at(-1)[0], worded(news));
  }
}

function worded(news) {
  const [{ label }, { title, body, many }] = news.at(-1);
  if (news.length === 1) {
    const more = many > 1 ? `\nand ${count(many - 1, "more message")}` : "";
    return { title: label ? `${label}: ${title}` : title, body: body + more };
  }
  const sum = news.reduce((all, [, one]) => all + one.many, 0);
  const lines = news.map(([view, one]) => `${view.label} (${one.many}): ${one.body.slice(0, LONGEST)}`);
  return { title: count(sum, "new message"), body: lines.join("\n") };
}
