/* One message in full: what a line has no room for, and its JSON as it was delivered. */
import { moment } from "./describe.js";

export class Details {
  message = null;

  #parts;

  /** `parts`: panel, title, json, and the buttons close, context, copy, older, newer. */
  constructor(parts, on) {
    this.#parts = parts;
    parts.close.addEventListener("click", () => this.close());
    parts.context.addEventListener("click", () => on.context(this.message));
    parts.copy.addEventListener("click", () => on.copy(this.message));
  }

  show(message) {
    if (message.type === "gap") return;
    this.message = message;
    const { panel, title, json } = this.#parts;
    title.textContent = `${message.type} · ${moment(message.timestamp)}`;
    json.textContent = JSON.stringify(message, null, 2);
    json.scrollTop = 0;
    panel.hidden = false;
  }

  close() {
    this.message = null;
    this.#parts.panel.hidden = true;
  }
}
