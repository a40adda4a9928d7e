/* The panel that counts the messages of the view by the values of a field. */
import { asButton } from "./handles.js";
import { count } from "./format.js";
import { element } from "./element.js";
import { hidePanel, showPanel } from "./panels.js";

const LISTED = 50;

export class Counts {
  field = null;

  #pages;
  #parts;
  #abort = new AbortController();

  /** `parts`: panel, title, values, state, home, and the button close. */
  constructor(pages, parts) {
    this.#pages = pages;
    this.#parts = parts;
    parts.close.addEventListener("click", () => this.close());
  }

  close() {
    this.#abort.abort();
    this.field = null;
    hidePanel(this.#parts.panel);
  }

  /** Count again if it is open: the view is another one. */
  refresh(view) {
    if (this.field) this.#count(view, this.field);
  }

  open(view, field) {
    const { panel, home } = this.#parts;
    showPanel(panel, { close: () => this.close(), home });
    this.#parts.close.focus();
    this.#count(view, field);
  }

  async #count(view, field) {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const { title, values, state } = this.#parts;
    this.field = field;
    title.textContent = `Count by ${field}`;
    state.textContent = "Counting …";
    values.replaceChildren();
    try {
      const asked = { group_by: field, limit: LISTED };
      this.#show(await this.#pages.analyze(view, asked, signal), field);
    } catch (error) {
      if (!signal.aborted) state.textContent = `Could not count: ${error.message}`;
    }
  }

  #show({ groups, others, missing, total_count: total, incomplete }, field) {
    const most = Math.max(1, ...groups.map((group) => group.count));
    this.#parts.values.replaceChildren(...groups.map((group) => row(group, field, most)));
    const rest = [
      count(total, "message"),
      others && `${others.toLocaleString("en")} with other values`,
      missing && `${missing.toLocaleString("en")} without one`,
      incomplete && "only the newest are counted",
    ];
    this.#parts.state.textContent = rest.filter(Boolean).join(" · ");
  }
}

function row({ value, count: many }, field, most) {
  const made = element("li");
  const shown = typeof value === "string" ? value : JSON.stringify(value);
  const name = asButton(element("bdi", "value", shown || "“”"), { field, json: JSON.stringify(value) });
  const bar = element("progress");
  bar.max = most;
  bar.value = many;
  bar.setAttribute("aria-hidden", "true");
  made.append(name, bar, element("span", "many", many.toLocaleString("en")));
  return made;
}
