/* The panel with one whole message: its JSON as it was delivered. */
import { indented, textOf } from "./exact.js";
import { moment } from "./format.js";
import { highlighted } from "./highlight.js";

export class Details {
  message = null;

  #parts;

  /** `parts`: panel, title, json, and the buttons close, context, copy. */
  constructor(parts, on) {
    this.#parts = parts;
    parts.close.addEventListener("click", () => {
      this.close();
      on.closed();
    });
    parts.context.addEventListener("click", () => on.context(this.message));
    parts.copy.addEventListener("click", () => on.copy(this.message));
  }

  show(message, marks) {
    if (message.type === "gap") return;
    this.message = message;
    const { panel, title, json } = this.#parts;
    title.textContent = `${message.type} · ${moment(message.timestamp)}`;
    json.replaceChildren(...highlighted(indented(textOf(message)), marks));
    json.scrollTop = 0;
    panel.hidden = false;
  }

  close() {
    this.message = null;
    this.#parts.panel.hidden = true;
  }
}
