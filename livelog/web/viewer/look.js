/* The look of the page and of its times, as its reader has chosen them. */
import { applyLook } from "./appearance.js";
import { refreshTimes } from "./row.js";
import { Settings } from "./settings.js";
import { useUtc, zone } from "./time.js";

const MOST = 4000; // characters of a text that wraps as it needs
const TIMES_MS = 5000; // between two looks at how long ago the rows are

export class Look {
  #settings;
  #parts;

  /** `parts`: form, rows, and the buttons zone and histogram; `changed()` is called after each
   * change, `still()` says whether no row may change. */
  constructor(parts, changed, still) {
    this.#parts = parts;
    this.#settings = new Settings(parts.form, () => {
      this.#apply();
      changed();
    });
    this.#apply();
    setInterval(() => {
      if (this.isRelative && !document.hidden && !still()) refreshTimes(parts.rows);
    }, TIMES_MS);
  }

  get values() {
    return this.#settings.values;
  }

  /** Whether rows tell how long ago they are. */
  get isRelative() {
    return this.values.times === "ago";
  }

  /** Characters of a message's text in its row; undefined for as many as usual. */
  get most() {
    return this.values.lines === "all" ? MOST : undefined;
  }

  set(name, value) {
    this.#settings.set(name, value);
  }

  changeZone() {
    this.set("zone", this.values.zone === "utc" ? "local" : "utc");
  }

  #apply() {
    applyLook(this.values);
    const isUtc = this.values.zone === "utc";
    useUtc(isUtc);
    const { zone: button, histogram } = this.#parts;
    button.textContent = isUtc ? "UTC" : `local · ${zone(new Date())}`;
    button.title = `Times are ${isUtc ? "in UTC" : "local"}; click to change (z)`;
    histogram.setAttribute("aria-pressed", String(this.values.histogram));
  }
}
