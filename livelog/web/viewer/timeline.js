/* The loaded part of the log: an array of messages, oldest first, without holes.
 *
 * The rule: it may end before the newest message (then `complete` is false) and begin after the
 * oldest, but between its ends stand all messages that match, or a gap row for those that are
 * missing. So memory has a bound in every direction, and dropped messages are loaded again when the
 * reader scrolls there. While it is held (paused, or scrolled up) no row is added: new messages
 * wait, and when too many wait they are dropped and later loaded as pages.
 *
 * `first` is the number of the first row; it changes when rows are added or dropped before it, so
 * that the list can keep its place. No DOM here: it runs anywhere.
 */
import { retryDelay } from "../client/backoff.js";
import { filtersOf, toAddress } from "./view.js";

export const CAPACITY = 20_000;
const SLACK = 1000; // dropped at once, so that it happens rarely
const MAX_WAITING = 5000;
const PAGE = 500;
const FIRST_PAGE = 60; // about a screen
const RETRY_MS = 5000;
/** Codes of errors that pass: a server that is shutting down or overloaded, a rate limit, and no
 * answer at all. */
const PASSING = new Set([1001, 1011, 4003, undefined]);
/** More than this is not loaded after a pause, but when the reader scrolls there. */
const MAX_READ = 10_000;

export class Timeline {
  rows = []; // the same array as long as rows are only added or dropped at its ends
  first = 0;
  complete = false;
  older = 0; // matches before the first row, as far as is known
  unseen = 0; // matches after the last row
  held = false;
  loading = "";
  failure = null;
  generation = 0; // changes with the view

  #live;
  #pages;
  #changed;
  #counted;
  #view = null;
  #subscription = null;
  #waiting = [];
  #abort = new AbortController();
  #redacted = new Map(); // seq → reason: pages under way may still have the messages

  /** `changed()` is called after every change, `counted(message)` for each that arrives live. */
  constructor(live, pages, changed, counted = () => undefined) {
    this.#live = live;
    this.#pages = pages;
    this.#changed = changed;
    this.#counted = counted;
    live.on("gap", (gap) => this.#gap(gap));
    live.on("redacted", (event) => this.#redact(event));
  }

  /** Show a view: load its first page, and follow from there on without a hole. */
  async open(view) {
    this.#reset(view);
    await this.#load("opening", async (signal) => {
      this.#begin(...((await this.#newest(view, signal)) ?? (await this.#page(view, signal))));
    });
  }

  /** The newest page of all messages, which says by itself where the log ends: that saves a round
   * trip, and a short page much of its time on a slow line. Null for another view, or an empty page. */
  async #newest(view, signal) {
    if (toAddress(view) !== "") return null;
    const page = await this.#pages.fetch(view, {}, FIRST_PAGE, signal);
    return page.messages.length ? [page, 0] : null;
  }

  async #page(view, signal) {
    const place = view.at === null ? {} : { around: view.at };
    // The head is asked for first: later messages are either on the page or delivered.
    const head = await this.#pages.head(signal);
    return [await this.#pages.fetch(view, place, PAGE, signal), head];
  }

  #reset(view) {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#subscription?.stop();
    this.#subscription = null;
    this.#view = view;
    this.rows = [];
    this.#waiting = [];
    this.first = 0;
    this.complete = false;
    this.older = 0;
    this.unseen = 0;
    this.loading = "";
    this.generation += 1;
  }

  #begin({ messages, newer, older }, head) {
    this.rows = this.#clean(messages);
    this.older = older;
    this.unseen = newer;
    this.complete = newer === 0;
    const since = Math.max(head, this.#last());
    const wanted = { types: this.#view.types, filters: filtersOf(this.#view), since };
    this.#subscription = this.#live.listen(wanted, (message) => this.#arrived(message));
  }

  // Live.

  #arrived(message) {
    this.#counted(message);
    if (message.seq <= this.#last()) return; // the page had it already
    this.unseen += 1;
    if (this.complete || this.loading === "newer") this.#waiting.push(message);
    if (this.#waiting.length > MAX_WAITING) this.#dropWaiting();
    if (this.complete && !this.held) this.#release();
    this.#changed();
  }

  #gap({ from, to }) {
    if (!this.complete || !this.rows.length || to === null || to <= this.#last()) return;
    this.#waiting.push({ type: "gap", seq: to, from, to });
    if (!this.held) this.#release();
    this.#changed();
  }

  #redact({ seqs, reason }) {
    for (const seq of seqs) this.#redacted.set(seq, reason);
    this.rows = this.#clean(this.rows);
    this.#waiting = this.#clean(this.#waiting);
    this.#changed();
  }

  /** Messages, with a stub in the place of each that was redacted; the same array without any. */
  #clean(messages) {
    const reasons = this.#redacted;
    const gone = ({ type, seq, redacted }) => type !== "gap" && !redacted && reasons.has(seq);
    return messages.some(gone)
      ? messages.map((message) => (gone(message) ? stubOf(message, reasons.get(message.seq)) : message))
      : messages;
  }

  #dropWaiting() {
    this.#waiting = [];
    this.complete = false;
  }

  #release() {
    for (const message of this.#waiting) if (message.seq > this.#last()) this.rows.push(message);
    this.#waiting = [];
    this.unseen = 0;
    this.#dropOldest();
  }

  /** Keep the rows as they are, or go on. */
  hold(held) {
    this.held = held;
    if (!held && this.complete && this.#waiting.length) {
      this.#release();
      this.#changed();
    }
  }

  /** After a pause, load the missed messages if they are not too many; return whether it did. */
  async catchUp() {
    while (!this.complete && !this.failure && this.unseen <= MAX_READ) {
      if (!(await this.loadNewer())) return false;
    }
    return this.complete;
  }

  // Scrolling.

  async loadOlder() {
    if (!this.older || this.loading || !this.rows.length) return;
    const place = { before: this.rows[0].seq };
    await this.#load("older", async (signal) => {
      const { messages, older } = await this.#pages.fetch(this.#view, place, PAGE, signal);
      this.rows.unshift(...this.#clean(messages));
      this.first -= messages.length;
      this.older = messages.length ? older : 0;
      this.#dropNewest();
    });
  }

  async loadNewer() {
    if (this.complete || this.loading || !this.#view) return false;
    const place = { after: this.#last() };
    return this.#load("newer", async (signal) => {
      // From now on live messages wait again: they follow the last page.
      this.#waiting = [];
      const { messages, newer } = await this.#pages.fetch(this.#view, place, PAGE, signal);
      this.rows.push(...this.#clean(messages));
      this.unseen = newer;
      this.complete = newer === 0;
      if (this.complete && !this.held) this.#release();
      else if (this.complete) this.#keepWaiting();
      else this.#waiting = [];
      this.#dropOldest();
    });
  }

  /** Replace a gap row by those of its messages that the server still has; return how many. */
  async fill(gap) {
    let found = [];
    await this.#load("gap", async (signal) => {
      for (let after = gap.from, newer = 1; newer && found.length < CAPACITY / 2; ) {
        const page = await this.#pages.fetch(this.#view, { after }, PAGE, signal);
        const inside = page.messages.filter(({ seq }) => seq <= gap.to);
        found = found.concat(inside);
        newer = inside.length < page.messages.length ? 0 : page.newer;
        after = page.messages.at(-1)?.seq;
      }
      const known = new Set(this.rows.map(({ seq, type }) => (type === "gap" ? 0 : seq)));
      found = this.#clean(found.filter(({ seq }) => !known.has(seq)));
      const place = this.rows.indexOf(gap);
      if (place >= 0) this.rows = this.rows.slice(0, place).concat(found, this.rows.slice(place + 1));
      this.#dropOldest();
    });
    return found.length;
  }

  /** Allow another attempt after a failure. */
  retry() {
    this.failure = null;
    this.#changed();
  }

  #keepWaiting() {
    this.#waiting = this.#waiting.filter(({ seq }) => seq > this.#last());
    this.unseen = this.#waiting.length;
  }

  async #load(part, work) {
    const { signal } = this.#abort;
    this.loading = part;
    this.failure = null;
    this.#changed();
    try {
      await work(signal);
    } catch (error) {
      if (!signal.aborted) this.#failed(part, error);
    }
    if (signal.aborted) return false;
    this.loading = "";
    this.#changed();
    return this.failure === null;
  }

  /** It is tried again after a while; but a view that is refused has to be changed. */
  #failed(part, error) {
    this.failure = error;
    const opening = part === "opening";
    if (opening && !PASSING.has(error.code)) return;
    const again = () => (opening ? this.open(this.#view) : this.retry());
    setTimeout(() => this.failure === error && again(), Math.max(RETRY_MS, retryDelay(error)));
  }

  // Bounds.

  #dropOldest() {
    if (this.rows.length <= CAPACITY + SLACK) return;
    const many = this.rows.length - CAPACITY;
    this.rows.splice(0, many);
    this.first += many;
    this.older += many;
  }

  #dropNewest() {
    if (this.rows.length <= CAPACITY + SLACK) return;
    this.unseen += this.rows.length - CAPACITY;
    this.rows.length = CAPACITY;
    this.#dropWaiting();
  }

  #last() {
    return this.rows.at(-1)?.seq ?? 0;
  }
}

function stubOf({ type, id, timestamp, seq }, reason) {
  return { redacted: true, type, id, timestamp, seq, ...(reason && { reason }) };
}
