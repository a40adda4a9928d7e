/* The panel with one whole message: its values one by one, or its JSON as it was delivered. */
import { element } from "./element.js";
import { indented, textOf } from "./exact.js";
import { asButton } from "./handles.js";
import { highlighted } from "./highlight.js";
import { hidePanel, showPanel } from "./panels.js";
import { moment } from "./time.js";
import { linksIn, shownOf, valuesOf } from "./values.js";

export class Details {
  message = null;

  #parts;
  #leave;

  /** `parts`: panel, title, values, json, home, and the buttons close, context, copy, link, raw. */
  constructor(parts, on) {
    this.#parts = parts;
    this.#leave = () => {
      this.close();
      on.closed();
    };
    parts.close.addEventListener("click", this.#leave);
    parts.context.addEventListener("click", () => on.context(this.message));
    parts.copy.addEventListener("click", () => on.copy(this.message));
    parts.link.addEventListener("click", () => on.link(this.message));
    parts.raw.addEventListener("click", () => on.raw(parts.json.hidden));
  }

  /** Show the JSON instead of the values, or the other way round. */
  showRaw(raw) {
    const { json, values, raw: button } = this.#parts;
    json.hidden = !raw;
    values.hidden = raw;
    button.setAttribute("aria-pressed", String(raw));
  }

  /** `isLed`: the view leads to it. */
  show(message, marks, isLed) {
    if (message.type === "gap") return;
    this.message = message;
    this.redraw(marks);
    showPanel(this.#parts.panel, { close: this.#leave, home: this.#parts.home, isLed });
  }

  /** Show the message as its reader wants it now, if there is one. */
  redraw(marks) {
    const { message } = this;
    if (!message) return;
    const { title, json, values } = this.#parts;
    title.textContent = `${message.type} · ${moment(message.timestamp)}`;
    json.replaceChildren(...highlighted(indented(textOf(message)), marks));
    json.scrollTop = 0;
    values.replaceChildren(...valuesOf(message).flatMap((value) => drawValue(value, marks)));
    values.scrollTop = 0;
  }

  close() {
    this.message = null;
    hidePanel(this.#parts.panel);
  }

  /** Give the focus to the first value. */
  enter() {
    this.#parts.values.querySelector(".handle")?.focus();
  }
}

function drawValue({ label, ...handle }, marks) {
  const place = element("dd");
  const text = shownOf(handle.json);
  const parts = linksIn(text);
  const shown = element("bdi", "value");
  if (!parts.some(({ href }) => href)) {
    shown.append(...highlighted(text || "“”", marks));
    place.append(asButton(shown, handle));
  } else {
    // A link cannot be inside of a button, so the handle stands beside it.
    shown.append(...parts.flatMap((part) => (part.href ? [link(part)] : highlighted(part.text, marks))));
    const more = asButton(element("button", "more", "⋯"), handle);
    more.type = "button";
    more.setAttribute("aria-label", `Actions for ${label}`);
    place.append(shown, more);
  }
  return [element("dt", "", label), place];
}

function link({ text, href }) {
  const made = element("a", "", text);
  made.href = href;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}
