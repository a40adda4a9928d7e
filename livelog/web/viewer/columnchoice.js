/* The dialog in which fields are chosen as columns. */
import { element } from "./element.js";
import { NAMES } from "./expression.js";
import { columnsIn } from "./view.js";

/** Return the columns with a field, at the end, or without it if it is one of them. */
export function toggled(columns, field) {
  if (columns.includes(field)) return columns.filter((one) => one !== field);
  return columnsIn([...columns, field]);
}

export class ColumnChoice {
  #parts;
  #on;

  /** `parts`: dialog, form, name, list, known, none, close; `on`: handlers for current (returns the columns), known
   * (returns the fields that messages have), and changed (the columns). */
  constructor(parts, on) {
    this.#parts = parts;
    this.#on = on;
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const field = parts.name.value.trim();
      if (!on.current().includes(field)) this.#change(toggled(on.current(), field));
      parts.name.value = "";
    });
    parts.none.addEventListener("click", () => this.#change([]));
    parts.close.addEventListener("click", () => parts.dialog.close());
  }

  open() {
    const known = [...new Set([...NAMES, ...this.#on.known()])].sort();
    this.#parts.known.replaceChildren(...known.map((field) => new Option(field)));
    this.#draw();
    this.#parts.dialog.showModal();
  }

  #change(columns) {
    this.#on.changed(columns);
    this.#draw();
  }

  #draw() {
    const columns = this.#on.current();
    this.#parts.list.replaceChildren(...columns.map((field, place) => this.#row(field, place)));
  }

  #row(field, place) {
    const row = element("li");
    const up = element("button", "", "↑");
    up.disabled = place === 0;
    up.setAttribute("aria-label", `Move ${field} to the left`);
    up.addEventListener("click", () => {
      const others = this.#on.current().filter((one) => one !== field);
      this.#change([...others.slice(0, place - 1), field, ...others.slice(place - 1)]);
      this.#parts.list.children[place - 1].querySelector("button").focus();
    });
    const remove = element("button", "", "✕");
    remove.setAttribute("aria-label", `Remove ${field}`);
    remove.addEventListener("click", () => {
      this.#change(toggled(this.#on.current(), field));
      this.#parts.name.focus();
    });
    for (const button of [up, remove]) button.type = "button";
    row.append(element("bdi", "name", field), up, remove);
    return row;
  }
}
