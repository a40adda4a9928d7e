/* The loaded part of the audit log, the newest act first, without holes. No DOM here.
 *
 * Acts are loaded by pages, and the newest page again for what is new. The server does not filter;
 * a filter selects acts of one kind among those that are loaded.
 */
import { count } from "./format.js";

const PAGE = 100;
const MOST_PAGES = 10; // that are loaded at once to find acts of a kind
const MOST = 5000; // acts that are kept

export class AuditTrail {
  kind = ""; // that is selected; "" for all

  #give;
  #acts = [];
  #isWhole = false; // the oldest act is loaded

  /** `give(command, fields)` gives an admin command. */
  constructor(give) {
    this.#give = give;
  }

  /** The acts that are selected. */
  get acts() {
    return this.kind ? this.#acts.filter(({ act }) => act === this.kind) : this.#acts;
  }

  /** The kinds of the acts that are loaded. */
  get kinds() {
    return new Set(this.#acts.map(({ act }) => act));
  }

  /** Whether there are no older acts to load. */
  get isEnd() {
    return this.#isWhole || this.#acts.length >= MOST;
  }

  /** How many acts there are here, in words. */
  get summary() {
    const loaded = `${count(this.#acts.length, "act")} loaded`;
    return this.kind ? `${this.acts.length.toLocaleString("en")} of ${loaded}` : loaded;
  }

  /** Load what is new. If that is more than a page, the others are loaded again when asked for. */
  async refresh() {
    const acts = await this.#page();
    const oldest = acts.at(-1)?.seq ?? 0;
    const isFull = acts.length === PAGE;
    const joins = isFull && this.#acts.some(({ seq }) => seq >= oldest);
    if (!joins) this.#isWhole = !isFull;
    this.#acts = joins ? [...acts, ...this.#acts.filter(({ seq }) => seq < oldest)] : acts;
  }

  /** Load older acts, until some of them are selected. */
  async older() {
    const before = this.acts.length;
    for (let page = 0; page < MOST_PAGES && !this.isEnd && this.acts.length === before; page += 1) {
      const acts = await this.#page({ before: this.#acts.at(-1).seq });
      this.#acts = [...this.#acts, ...acts];
      this.#isWhole = acts.length < PAGE;
    }
  }

  async #page(place = {}) {
    const { result } = await this.#give("audit", { limit: PAGE, ...place });
    return result.acts;
  }
}
