/* The stretch of the log that is loaded: an array of messages, oldest first, without holes.
 *
 * The rule: the stretch may end before the newest message (then `complete` is false) and begin
 * after the oldest, but what lies between its ends is everything that matches, or a line that says
 * what is missing. So memory has a bound in every direction, and what was dropped is loaded again
 * when somebody scrolls there. While it is held (paused, or scrolled up) nothing is added: new
 * messages wait, and when too many wait they are forgotten and later loaded from the archive.
 *
 * `first` is the number of the first line; it changes when lines are added or dropped before it,
 * so whoever shows the lines can keep its place. No DOM here: it runs anywhere.
 */
import { filtersOf } from "./view.js";

export const CAPACITY = 20_000;
const SLACK = 1000; // dropped at once, so that it happens rarely
const MAX_WAITING = 5000;
const PAGE = 500;
const RETRY_MS = 5000;
/** More than this is not read after a pause, but left to whoever scrolls there. */
const MAX_READ = 10_000;

export class Timeline {
  lines = [];
  first = 0;
  complete = false;
  older = 0; // how many matches lie before the first line, as far as is known
  unseen = 0; // how many lie behind the last line
  held = false;
  loading = "";
  failure = null;
  generation = 0; // changes when something else is looked at

  #live;
  #archive;
  #changed;
  #counted;
  #view = null;
  #following = null;
  #waiting = [];
  #abort = new AbortController();

  /** `changed()` is called after every change, `counted(message)` for each that arrives live. */
  constructor(live, archive, changed, counted = () => undefined) {
    this.#live = live;
    this.#archive = archive;
    this.#changed = changed;
    this.#counted = counted;
    live.on("gap", (gap) => this.#gap(gap));
  }

  /** Look at something: load the page it begins with, and follow from there on without a hole. */
  async open(view) {
    this.#reset(view);
    const place = view.at === null ? {} : { around: view.at };
    await this.#load("opening", async (signal) => {
      // The head is asked for first: what comes after it is either on the page or delivered.
      const head = await this.#archive.head(signal);
      const page = await this.#archive.page(view, place, PAGE, signal);
      this.#begin(page, head);
    });
  }

  #reset(view) {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#following?.stop();
    this.#following = null;
    this.#view = view;
    this.lines = [];
    this.#waiting = [];
    this.first = 0;
    this.complete = false;
    this.older = 0;
    this.unseen = 0;
    this.loading = "";
    this.generation += 1;
  }

  #begin({ messages, newer, older }, head) {
    this.lines = messages;
    this.older = older;
    this.unseen = newer;
    this.complete = newer === 0;
    const since = Math.max(head, this.#last());
    const what = { types: this.#view.types, filters: filtersOf(this.#view), since };
    this.#following = this.#live.listen(what, (message) => this.#arrived(message));
  }

  // Live.

  #arrived(message) {
    this.#counted(message);
    if (message.seq <= this.#last()) return; // the page had it already
    this.unseen += 1;
    if (this.complete || this.loading === "newer") this.#waiting.push(message);
    if (this.#waiting.length > MAX_WAITING) this.#forget();
    if (this.complete && !this.held) this.#release();
    this.#changed();
  }

  #gap({ from, to }) {
    if (!this.complete || !this.lines.length || to === null || to <= this.#last()) return;
    this.#waiting.push({ type: "gap", seq: to, from, to });
    if (!this.held) this.#release();
    this.#changed();
  }

  #forget() {
    this.#waiting = [];
    this.complete = false;
  }

  #release() {
    for (const message of this.#waiting) if (message.seq > this.#last()) this.lines.push(message);
    this.#waiting = [];
    this.unseen = 0;
    this.#dropOldest();
  }

  /** Keep what is shown as it is, or go on. */
  hold(held) {
    this.held = held;
    if (!held && this.complete && this.#waiting.length) {
      this.#release();
      this.#changed();
    }
  }

  /** After a pause: read what was missed if that is not too much; tells whether it was read. */
  async catchUp() {
    while (!this.complete && !this.failure && this.unseen <= MAX_READ) {
      if (!(await this.loadNewer())) return false;
    }
    return this.complete;
  }

  // Scrolling.

  async loadOlder() {
    if (!this.older || this.loading || !this.lines.length) return;
    const place = { before: this.lines[0].seq };
    await this.#load("older", async (signal) => {
      const { messages, older } = await this.#archive.page(this.#view, place, PAGE, signal);
      this.lines.unshift(...messages);
      this.first -= messages.length;
      this.older = messages.length ? older : 0;
      this.#dropNewest();
    });
  }

  async loadNewer() {
    if (this.complete || this.loading || !this.#view) return false;
    const place = { after: this.#last() };
    return this.#load("newer", async (signal) => {
      // From now on what arrives is kept again: it joins on to the last page.
      this.#waiting = [];
      const { messages, newer } = await this.#archive.page(this.#view, place, PAGE, signal);
      this.lines.push(...messages);
      this.unseen = newer;
      this.complete = newer === 0;
      if (this.complete && !this.held) this.#release();
      else if (this.complete) this.#keepWaiting();
      else this.#waiting = [];
      this.#dropOldest();
    });
  }

  /** What can still be had of what a gap line stands for, put in its place; returns how many. */
  async fill(gap) {
    let found = [];
    await this.#load("gap", async (signal) => {
      for (let after = gap.from, newer = 1; newer && found.length < CAPACITY / 2; ) {
        const page = await this.#archive.page(this.#view, { after }, PAGE, signal);
        const inside = page.messages.filter(({ seq }) => seq <= gap.to);
        found = found.concat(inside);
        newer = inside.length < page.messages.length ? 0 : page.newer;
        after = page.messages.at(-1)?.seq;
      }
      const known = new Set(this.lines.map(({ seq, type }) => (type === "gap" ? 0 : seq)));
      found = found.filter(({ seq }) => !known.has(seq));
      const place = this.lines.indexOf(gap);
      if (place >= 0) this.lines.splice(place, 1, ...found);
      this.#dropOldest();
    });
    return found.length;
  }

  /** Let what has failed be asked for again. */
  retry() {
    this.failure = null;
    this.#changed();
  }

  #keepWaiting() {
    this.#waiting = this.#waiting.filter(({ seq }) => seq > this.#last());
    this.unseen = this.#waiting.length;
  }

  async #load(what, work) {
    const { signal } = this.#abort;
    this.loading = what;
    this.failure = null;
    this.#changed();
    try {
      await work(signal);
    } catch (error) {
      if (!signal.aborted) this.#failed(what, error);
    }
    if (signal.aborted) return false;
    this.loading = "";
    this.#changed();
    return this.failure === null;
  }

  /** Scrolling asks again after a while; what does not even open has to be changed. */
  #failed(what, error) {
    this.failure = error;
    const retry = () => this.failure === error && this.retry();
    if (what !== "opening") setTimeout(retry, RETRY_MS);
  }

  // Bounds.

  #dropOldest() {
    if (this.lines.length <= CAPACITY + SLACK) return;
    const many = this.lines.length - CAPACITY;
    this.lines.splice(0, many);
    this.first += many;
    this.older += many;
  }

  #dropNewest() {
    if (this.lines.length <= CAPACITY + SLACK) return;
    this.unseen += this.lines.length - CAPACITY;
    this.lines.length = CAPACITY;
    this.#forget();
  }

  #last() {
    return this.lines.at(-1)?.seq ?? 0;
  }
}
