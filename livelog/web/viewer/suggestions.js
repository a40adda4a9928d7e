/* Suggestions under the search box: fields and known values for the word that is being typed. None is
 * chosen until an arrow key is pressed, so that whoever types words is left alone.
 */
import { fieldsFor, valuesFor, wordAt } from "./completion.js";
import { element } from "./element.js";
import { isCounted } from "./expression.js";

const TYPING_MS = 200;
const KNOWN_MS = 60_000; // how long values that were counted are taken for known
const COUNTED = 200;

export class Suggestions {
  #search;
  #list;
  #on;
  #known = new Map(); // field → { at, values }
  #fields = []; // those of the messages in the list, while it had any: half of a word may find none
  #word = null;
  #chosen = -1;
  #timer = 0;

  /** `on`: handlers for fields (returns those that messages have) and values (a promise of the values
   * of a field, in the most messages first). */
  constructor(search, list, on) {
    this.#search = search;
    this.#list = list;
    this.#on = on;
    search.addEventListener("focus", () => this.#learn());
    search.addEventListener("input", () => this.#soon());
    search.addEventListener("keydown", (event) => this.#pressed(event));
    search.addEventListener("blur", () => this.#close());
    list.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the focus stays in the box
      const option = event.target.closest("[role=option]");
      if (option) this.#take(option.textContent);
    });
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#suggest(), TYPING_MS);
  }

  async #suggest() {
    const { value, selectionStart: caret } = this.#search;
    const word = wordAt(value, caret);
    const texts = word ? await this.#textsFor(word) : [];
    const isSame = this.#search.value === value && document.activeElement === this.#search;
    if (!isSame) return; // more has been typed meanwhile
    this.#word = word;
    this.#show(texts.filter((text) => text !== value.slice(word.start, word.end)));
  }

  async #textsFor({ field, prefix }) {
    if (!field) return fieldsFor(prefix, this.#learn());
    if (!isCounted(field)) return [];
    return valuesFor(field, prefix, await this.#valuesOf(field));
  }

  #learn() {
    const fields = this.#on.fields();
    if (fields.length) this.#fields = fields;
    return this.#fields;
  }

  async #valuesOf(field) {
    const known = this.#known.get(field);
    if (known && performance.now() - known.at < KNOWN_MS) return known.values;
    const values = await this.#on.values(field, COUNTED).catch(() => []);
    this.#known.set(field, { at: performance.now(), values });
    return values;
  }

  #show(texts) {
    this.#chosen = -1;
    if (!texts.length) return this.#close();
    const options = texts.map((text, place) => {
      const option = element("li", "", text);
      option.id = `suggestion-${place}`;
      option.setAttribute("role", "option");
      return option;
    });
    this.#list.replaceChildren(...options);
    this.#list.hidden = false;
    const { left, bottom } = this.#search.getBoundingClientRect();
    this.#list.style.left = `${left}px`;
    this.#list.style.top = `${bottom + 2}px`;
    this.#search.setAttribute("aria-expanded", "true");
    this.#mark();
  }

  #close() {
    clearTimeout(this.#timer);
    this.#list.hidden = true;
    this.#list.replaceChildren();
    this.#chosen = -1;
    this.#search.setAttribute("aria-expanded", "false");
    this.#search.removeAttribute("aria-activedescendant");
  }

  #mark() {
    const options = [...this.#list.children];
    options.forEach((option, place) => {
      option.setAttribute("aria-selected", String(place === this.#chosen));
    });
    const chosen = options[this.#chosen];
    chosen?.scrollIntoView({ block: "nearest" });
    if (chosen) this.#search.setAttribute("aria-activedescendant", chosen.id);
    else this.#search.removeAttribute("aria-activedescendant");
  }

  #pressed(event) {
    const many = this.#list.children.length;
    const { key } = event;
    if (!many) return;
    if (key === "ArrowDown") this.#chosen = (this.#chosen + 1) % many;
    else if (key === "ArrowUp") this.#chosen = this.#chosen <= 0 ? many - 1 : this.#chosen - 1;
    else if (key === "Escape") this.#close();
    else if (["Enter", "Tab"].includes(key) && this.#chosen >= 0) {
      this.#take(this.#list.children[this.#chosen].textContent);
    } else return;
    this.#mark();
    event.preventDefault();
    event.stopPropagation();
  }

  #take(text) {
    const { start, end } = this.#word;
    const { value } = this.#search;
    this.#search.setRangeText(text, start, end, "end");
    this.#close();
    if (value !== this.#search.value) this.#search.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
