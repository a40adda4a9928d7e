/* The controls of the view: types, words, filters, dates.
 *
 * They show a view and report the one they have been changed to, a moment after the last change:
 * a word typed letter by letter is one change.
 */
import { TYPES } from "../client/livelog.js";
import { atWallTime, wallTime } from "./time.js";
import { element } from "./element.js";
import { count } from "./format.js";
import { hidePanel, showPanel } from "./panels.js";
import { EVERYTHING, FIELDS, countFilters } from "./view.js";

const TYPING_MS = 350;
const FINE = matchMedia("(pointer: fine)");

const CHOICES = {
  severity: ["info", "warning", "error", "critical"],
  status: ["preparing", "in_progress", "wipe", "victory"],
};

export class Controls {
  #parts;
  #changed;
  #view = EVERYTHING;
  #timer = 0;
  #types = new Map();
  #fields = new Map();

  /** `parts`: form, search, types, filters, more, fields, from, to, clear. */
  constructor(parts, changed) {
    this.#parts = parts;
    this.#changed = changed;
    for (const type of TYPES) this.#addType(type);
    for (const name of FIELDS) this.#addField(name);
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#report();
    });
    parts.form.addEventListener("input", () => this.#reportSoon());
    parts.filters.addEventListener("click", () => this.toggleFilters());
    parts.clear.addEventListener("click", () => {
      this.#changed({ ...EVERYTHING, columns: this.#view.columns });
    });
  }

  show(view) {
    clearTimeout(this.#timer);
    this.#view = view;
    const { search, from, to, filters, clear } = this.#parts;
    if (search.value.trim() !== view.text) search.value = view.text;
    for (const [type, { box }] of this.#types) box.checked = view.types.includes(type);
    for (const [name, input] of this.#fields) input.value = view.fields[name] ?? "";
    from.value = localOf(view.from);
    to.value = localOf(view.to);
    const many = countFilters(view);
    filters.textContent = many ? `Filters (${many})` : "Filters";
    clear.hidden = !many && !view.text && view.types.length === TYPES.length && view.at === null;
  }

  toggleFilters() {
    const { filters, more } = this.#parts;
    if (more.hidden) showPanel(more, { close: () => this.toggleFilters(), home: filters });
    else hidePanel(more);
    filters.setAttribute("aria-expanded", String(!more.hidden));
    // On a phone that would bring its keyboard up, over the sheet.
    if (!more.hidden && FINE.matches) more.querySelector("input").focus();
  }

  /** Messages per second, for each type. */
  showRates(rates) {
    for (const [type, { rate }] of this.#types) {
      const number = rates[type];
      const words = number ? (number < 10 ? number.toFixed(1) : String(Math.round(number))) : "";
      if (rate.textContent !== words) rate.textContent = words;
    }
  }

  /** Messages of the view by type, whatever types it shows; null while they are unknown. */
  showCounts(counts) {
    for (const [type, { many }] of this.#types) {
      const words = counts ? shortened(counts[type]) : "";
      if (many.textContent !== words) many.textContent = words;
      many.title = counts ? count(counts[type], "message") : "";
    }
  }

  #addType(type) {
    const label = element("label", `toggle ${type}`);
    const box = element("input");
    box.type = "checkbox";
    const many = element("span", "many");
    const rate = element("span", "rate");
    rate.title = "messages per second";
    label.append(box, element("span", "name", type), many, rate);
    this.#types.set(type, { box, many, rate });
    const place = element("span", "type-box");
    place.append(label, this.#only(type));
    this.#parts.types.append(place);
  }

  /** The button that leaves one type, or all again if it is the only one. */
  #only(type) {
    const button = element("button", "only", "only");
    button.type = "button";
    button.setAttribute("aria-label", `Only ${type}`);
    button.addEventListener("click", () => {
      const isOnly = this.#view.types.length === 1 && this.#view.types[0] === type;
      this.#changed({ ...this.#view, types: isOnly ? TYPES : [type], at: null });
    });
    return button;
  }

  #addField(name) {
    const label = element("label", "", name);
    const input = element("input");
    input.autocomplete = "off";
    input.maxLength = 256;
    if (CHOICES[name]) {
      const list = element("datalist");
      list.id = `choices-${name}`;
      for (const choice of CHOICES[name]) list.append(new Option(choice));
      input.setAttribute("list", list.id);
      label.append(list);
    }
    label.append(input);
    this.#fields.set(name, input);
    this.#parts.fields.append(label);
  }

  #reportSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#report(), TYPING_MS);
  }

  #report() {
    clearTimeout(this.#timer);
    const view = this.#read();
    if (JSON.stringify(view) !== JSON.stringify({ ...this.#view, at: null })) this.#changed(view);
  }

  #read() {
    const { search, from, to } = this.#parts;
    const types = TYPES.filter((type) => this.#types.get(type).box.checked);
    const fields = [...this.#fields].map(([name, input]) => [name, input.value.trim()]);
    return {
      // An empty view is of no use: the last type switched off switches all on.
      types: types.length ? types : TYPES,
      text: search.value.trim(),
      fields: Object.fromEntries(fields.filter(([, value]) => value)),
      from: momentOf(from.value),
      to: momentOf(to.value),
      at: null,
      columns: this.#view.columns,
    };
  }
}

const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

function shortened(number) {
  return number < 10_000 ? number.toLocaleString("en") : COMPACT.format(number);
}

/** The value of a `datetime-local` field. */
function localOf(iso) {
  return iso ? wallTime(new Date(iso)).slice(0, 19) : "";
}

function momentOf(local) {
  return (local && atWallTime(local)?.toISOString()) || "";
}
