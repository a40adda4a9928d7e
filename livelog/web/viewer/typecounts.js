/* How many messages of each type match the view, also of the types that it leaves out; live.
 *
 * They are counted once when the view has been loaded. From then on those that are shown count themselves,
 * which costs nothing; the server watches the others, as soon as the view has settled.
 */
import { TYPES } from "../client/livelog.js";
import { filtersOf } from "./view.js";

const SETTLED_MS = 1500;
const SHOW_MS = 1000;

export class TypeCounts {
  #live;
  #pages;
  #show;
  #view = null;
  #filters = "";
  #counts = null; // type → number; null until they are known
  #isWanted = false; // they are not known, and the view is being loaded
  #watch = null;
  #abort = new AbortController();
  #settling = 0;
  #timer = 0;

  /** `show(counts)` gets an object, type → number; null while they are unknown. */
  constructor(live, pages, show) {
    this.#live = live;
    this.#pages = pages;
    this.#show = show;
    live.on("gap", () => this.#view && this.#count());
  }

  open(view) {
    const filters = JSON.stringify(filtersOf(view));
    const isOther = filters !== this.#filters || !this.#counts;
    this.#watch?.stop();
    this.#watch = null;
    this.#view = view;
    this.#filters = filters;
    clearTimeout(this.#settling);
    if (isOther) {
      this.#counts = null;
      this.#isWanted = true;
    }
    this.#settling = setTimeout(() => this.#settled(isOther), SETTLED_MS);
  }

  /** The view is loaded, or has failed to be. */
  loaded(failure) {
    if (!this.#isWanted) return;
    this.#isWanted = failure !== null;
    if (failure) this.#show(null); // the list tells why
    else this.#count();
  }

  /** A message of the view has arrived. */
  count({ type }) {
    this.#add(type, 1);
  }

  /** Watch the types that are left out; what came until then is counted by asking once more. */
  async #settled(isCounted) {
    const others = TYPES.filter((type) => !this.#view.types.includes(type));
    if (!this.#counts || this.#live.state.name === "stopped") return;
    if (!others.length) return isCounted || this.#count();
    const filters = { ...filtersOf(this.#view), type: others };
    const watched = ({ counts }) => {
      for (const [type, many] of Object.entries(counts)) this.#add(type, many);
    };
    const watch = this.#live.watch({ group_by: "type", filters }, watched, () => this.#count());
    this.#watch = watch;
    await watch.ready.catch(() => undefined);
    if (this.#watch === watch) this.#count();
  }

  async #count() {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const view = { ...this.#view, types: TYPES };
    try {
      const { groups } = await this.#pages.analyze(view, { group_by: "type" }, signal);
      this.#counts = Object.fromEntries(TYPES.map((type) => [type, 0]));
      for (const { value, count } of groups) this.#add(value, count);
    } catch {
      if (signal.aborted) return;
      this.#counts = null;
    }
    this.#show(this.#counts);
  }

  #add(type, many) {
    if (!this.#counts || !many) return;
    this.#counts[type] = (this.#counts[type] ?? 0) + many;
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.#show(this.#counts);
    }, SHOW_MS);
  }
}
