/* The reader's choices: how the page looks and how times are shown. They are kept by the browser, and
 * those of a list, where several are side by side, by the address of each.
 */
import { changeFragment } from "./fragment.js";
import { isPane } from "./frame.js";
import { keptChoices, store, stored } from "./stored.js";

/** Choice → its values; the first one is the default. */
const CHOICES = {
  theme: ["system", "light", "dark"],
  density: ["normal", "compact", "roomy"],
  lines: ["one", "two", "three", "all"],
  zone: ["local", "utc"],
  times: ["clock", "ago"],
  raw: [false, true],
  histogram: [false, true],
};

/** Choices of one list; the others hold for all pages of the browser, and follow it. */
const OWN = ["density", "lines", "raw", "histogram"];

/** Return choices that are complete and known, from anything that was kept. */
export function chosen(kept) {
  const pairs = Object.entries(CHOICES).map(([name, values]) => {
    return [name, values.includes(kept?.[name]) ? kept[name] : values[0]];
  });
  return Object.fromEntries(pairs);
}

export class Settings {
  values = chosen(keptChoices());

  #form;
  #changed;

  /** `form` has a field for each choice that it can change; `changed(values)` is called after each
   * change. */
  constructor(form, changed) {
    this.#form = form;
    this.#changed = changed;
    form.addEventListener("change", ({ target }) => this.set(target.name, target.value));
    addEventListener("storage", ({ key }) => key?.endsWith("settings") && this.#follow());
    this.#show();
  }

  set(name, value) {
    this.values = chosen({ ...this.values, [name]: value });
    const isOwn = isPane && OWN.includes(name);
    if (!isOwn) store("settings", { ...chosen(stored("settings")), [name]: this.values[name] });
    this.#toAddress(name, isOwn);
    this.#show();
    this.#changed(this.values);
  }

  /** Write a choice into the fragment; or remove it, as it is kept now. */
  #toAddress(name, isOwn) {
    changeFragment({ [name]: isOwn ? this.values[name] : null });
  }

  /** Another page of this browser has changed what holds for all. */
  #follow() {
    const kept = Object.entries(chosen(stored("settings"))).filter(([name]) => !OWN.includes(name));
    const next = { ...this.values, ...Object.fromEntries(kept) };
    if (JSON.stringify(next) === JSON.stringify(this.values)) return;
    this.values = next;
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
