/* The reader's choices: how the page looks and how times are shown. They are kept by the browser. */
import { store, stored } from "./stored.js";

/** Choice → its values; the first one is the default. */
const CHOICES = {
  theme: ["system", "light", "dark"],
  density: ["normal", "compact", "roomy"],
  lines: ["one", "two", "three"],
  zone: ["local", "utc"],
  times: ["clock", "ago"],
  raw: [false, true],
  histogram: [false, true],
};

/** Return choices that are complete and known, from anything that was kept. */
export function chosen(kept) {
  const pairs = Object.entries(CHOICES).map(([name, values]) => {
    return [name, values.includes(kept?.[name]) ? kept[name] : values[0]];
  });
  return Object.fromEntries(pairs);
}

export class Settings {
  values = chosen(stored("settings"));

  #form;
  #changed;

  /** `form` has a field for each choice that it can change; `changed(values)` is called after each
   * change. */
  constructor(form, changed) {
    this.#form = form;
    this.#changed = changed;
    form.addEventListener("change", ({ target }) => this.set(target.name, target.value));
    this.#show();
  }

  set(name, value) {
    this.values = chosen({ ...this.values, [name]: value });
    store("settings", this.values);
    this.#show();
    this.#changed(this.values);
  }

  #show() {
    for (const [name, value] of Object.entries(this.values)) {
      const field = this.#form.elements[name];
      if (field) field.value = value;
    }
  }
}
