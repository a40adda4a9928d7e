/* The columns: fields that stand below each other in all rows, their names over the rows, and their
 * widths, which the browser keeps.
 */
import { cellsOf } from "./cells.js";
import { element } from "./element.js";
import { store, stored } from "./stored.js";

const LEAST = 4; // characters that a column is wide
const MOST = 80;
const MOST_FITTED = 32;
const SAMPLE = 100; // newest rows that a column is fitted to
const FIT_MS = 1000; // between two attempts
const GAP = 10; // pixels, as in the style

export class Columns {
  fields = [];

  #head;
  #log;
  #resized;
  #widths; // field → characters, as its reader has set them
  #fitted = new Map(); // field → characters, as its values need
  #fittedAt = -Infinity;

  /** `head`: the place of the names; `log`: the element around it and the rows; `resized()` is called
   * when rows may need another height. */
  constructor(head, log, resized) {
    this.#head = head;
    this.#log = log;
    this.#resized = resized;
    this.#widths = widthsIn(stored("widths"));
    log.querySelector("#rows").addEventListener("scroll", ({ target }) => {
      head.scrollLeft = target.scrollLeft;
    }, { passive: true });
  }

  /** Pixels that the columns and what stands before them take; 0 without any. */
  get pixels() {
    return this.fields.length ? this.#head.scrollWidth - this.#head.lastElementChild.offsetWidth : 0;
  }

  /** The widths, as far as their reader has set them, of the columns that are shown. */
  get widths() {
    const set = this.fields.filter((field) => this.#widths.has(field));
    return Object.fromEntries(set.map((field) => [field, this.#widths.get(field)]));
  }

  /** Let these columns have these widths; the others are fitted. */
  restore(fields, widths) {
    const known = widthsIn(widths);
    for (const field of fields) {
      if (known.has(field)) this.#widths.set(field, known.get(field));
      else this.#forget(field);
    }
    this.#apply();
    this.#keep();
  }

  show(fields) {
    if (JSON.stringify(fields) === JSON.stringify(this.fields)) return;
    this.fields = fields;
    this.#fittedAt = -Infinity;
    document.documentElement.toggleAttribute("data-columns", fields.length > 0);
    this.#head.hidden = !fields.length;
    const names = ["time", "type"].map((name) => element("span", name, name));
    const cells = fields.map((field, place) => this.#name(field, place));
    this.#head.replaceChildren(...names, ...cells, element("span", "summary", "message"));
    this.#apply();
  }

  /** Make columns as wide as the values of these rows need, where that is not known yet. */
  fit(rows) {
    const open = this.fields.filter((field) => !this.#widths.has(field) && !this.#fitted.has(field));
    if (!open.length || performance.now() - this.#fittedAt < FIT_MS) return;
    const messages = rows.slice(-SAMPLE).filter(({ type }) => type !== "gap");
    if (!messages.length) return;
    this.#fittedAt = performance.now();
    const all = messages.map((message) => cellsOf(message, open));
    const many = this.#fitted.size;
    open.forEach((field, place) => {
      const usual = usualOf(all.map((cells) => cells[place].text.length).filter(Boolean));
      const width = Math.max(LEAST, field.length + 2, usual + 1);
      if (usual) this.#fitted.set(field, Math.min(MOST_FITTED, width));
    });
    if (this.#fitted.size === many) return;
    this.#apply();
    this.#resized();
  }

  #widthOf(field) {
    const unknown = Math.min(MOST_FITTED, Math.max(8, field.length + 2));
    return this.#widths.get(field) ?? this.#fitted.get(field) ?? unknown;
  }

  #apply() {
    const { style } = this.#log;
    let sum = 0;
    this.fields.forEach((field, place) => {
      const width = this.#widthOf(field);
      style.setProperty(`--column-${place}`, `${width}ch`);
      sum += width;
    });
    style.setProperty("--columns", `calc(${sum}ch + ${this.fields.length * GAP}px)`);
    for (const edge of this.#head.querySelectorAll("[role=separator]")) {
      edge.setAttribute("aria-valuenow", String(this.#widthOf(edge.dataset.field)));
    }
  }

  #name(field, place) {
    const cell = element("span", "cell");
    cell.style.width = `var(--column-${place})`;
    cell.title = field;
    const edge = element("span", "edge");
    const attributes = { role: "separator", tabindex: 0, "aria-orientation": "vertical" };
    const range = { "aria-label": `Width of ${field}`, "aria-valuemin": LEAST, "aria-valuemax": MOST };
    for (const [name, value] of Object.entries({ ...attributes, ...range })) edge.setAttribute(name, value);
    edge.dataset.field = field;
    edge.title = "Drag, or press ← and →; twice for the width of its values";
    edge.addEventListener("pointerdown", (event) => this.#drag(event, field, cell));
    edge.addEventListener("dblclick", () => this.#release(field));
    edge.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.#resize(field, this.#widthOf(field) + step);
      this.#keep();
    });
    cell.append(element("bdi", "", field), edge);
    return cell;
  }

  #drag(down, field, cell) {
    if (down.button !== 0) return;
    const edge = down.target;
    const begin = this.#widthOf(field);
    const character = cell.offsetWidth / begin;
    edge.setPointerCapture(down.pointerId);
    edge.onpointermove = ({ clientX }) => {
      this.#resize(field, begin + Math.round((clientX - down.clientX) / character));
    };
    edge.onlostpointercapture = () => {
      edge.onpointermove = null;
      if (this.#widthOf(field) !== begin) this.#keep();
    };
  }

  #resize(field, width) {
    this.#widths.set(field, Math.min(MOST, Math.max(LEAST, width)));
    this.#apply();
  }

  #keep() {
    store("widths", Object.fromEntries(this.#widths));
    this.#resized();
  }

  /** Forget a width; the column is fitted again. */
  #release(field) {
    this.#forget(field);
    this.#keep();
  }

  #forget(field) {
    this.#widths.delete(field);
    this.#fitted.delete(field);
    this.#fittedAt = -Infinity;
  }
}

/** The length that nineteen of twenty do not exceed, 0 without any: a few long ones are cut. */
function usualOf(lengths) {
  const ordered = lengths.sort((one, other) => one - other);
  return ordered[Math.ceil((ordered.length - 1) * 0.95)] ?? 0;
}

/** Return the widths in what was kept, and no other. */
export function widthsIn(kept) {
  const pairs = kept instanceof Object ? Object.entries(kept) : [];
  return new Map(pairs.filter(([, width]) => width >= LEAST && width <= MOST));
}
