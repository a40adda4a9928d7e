/* Handles: elements that stand for a value of a field, and the menu that opens at each.
 *
 * A handle is `{ field, json }`; `field` is null where expressions have no name for it. In a row a
 * handle is for pointers, as a row is one thing for the keyboard; in the panels it has the focus.
 */
import { condition, isCounted, negation } from "./expression.js";
import { element } from "./element.js";
import { shownOf } from "./values.js";

const handles = new WeakMap(); // element → its handle
const MAX_SHOWN = 60; // characters of a value in the menu

export function asHandle(made, handle) {
  made.classList.add("handle");
  handles.set(made, handle);
  return made;
}

/** Make a handle that has the focus, as a button has it. */
export function asButton(made, handle) {
  made.setAttribute("role", "button");
  made.setAttribute("aria-haspopup", "menu");
  made.tabIndex = 0;
  return asHandle(made, handle);
}

export class Menu {
  #menu;
  #on;
  #opener = null;

  /** `on`: handlers for include (a condition), count (a field), column (a field), copy (a text),
   * hasColumn: whether a field is a column, and more: it returns further items for a handle and its
   * element. */
  constructor(menu, root, on) {
    this.#menu = menu;
    this.#on = on;
    root.addEventListener("click", (event) => this.#clicked(event));
    root.addEventListener("keydown", (event) => this.#pressed(event));
    menu.addEventListener("keydown", (event) => this.#moved(event));
  }

  /** Open at an element; do nothing if it is no handle. */
  open(opener) {
    const handle = handles.get(opener);
    if (!handle) return;
    const more = this.#on.more(handle, opener);
    this.show(opener, titleOf(handle), [...this.#items(handle), ...(more.length ? [null, ...more] : [])]);
  }

  /** Open at an element with items, `[words, act]` each, or null for a line between them; the title may
   * be empty. */
  show(opener, title, items) {
    this.#opener = opener;
    const rows = items.map((item) => (item ? this.#item(...item) : element("hr")));
    this.#menu.replaceChildren(...(title ? [element("p", "value", title)] : []), ...rows);
    this.#menu.showPopover();
    this.#place(opener.getBoundingClientRect());
    this.#menu.querySelector("button").focus();
  }

  #items({ field, json }) {
    const wanted = field && condition(field, json);
    const items = [];
    const add = (words, act) => items.push([words, act]);
    if (wanted) add("Only this", () => this.#on.include(wanted));
    if (wanted) add("Not this", () => this.#on.include(negation(wanted)));
    if (field && isCounted(field)) add(`Count by ${field}`, () => this.#on.count(field));
    if (field) {
      const words = this.#on.hasColumn(field) ? "Remove the column" : "Show as a column";
      add(words, () => this.#on.column(field));
    }
    add("Copy", () => this.#on.copy(shownOf(json)));
    return items;
  }

  #item(words, act) {
    const button = element("button", "", words);
    button.type = "button";
    button.setAttribute("role", "menuitem");
    button.addEventListener("click", () => {
      this.#close();
      act();
    });
    return button;
  }

  #place({ left, bottom, top }) {
    const { offsetWidth: width, offsetHeight: height } = this.#menu;
    const below = bottom + 2 + height <= innerHeight;
    this.#menu.style.left = `${Math.max(4, Math.min(left, innerWidth - width - 4))}px`;
    this.#menu.style.top = `${Math.max(4, below ? bottom + 2 : top - height - 2)}px`;
  }

  #close() {
    this.#menu.hidePopover();
    if (this.#opener?.isConnected) this.#opener.focus({ preventScroll: true });
  }

  #clicked({ target }) {
    const opener = target.closest(".handle");
    if (opener && getSelection().isCollapsed) this.open(opener);
  }

  #pressed(event) {
    if (!["Enter", " "].includes(event.key) || !event.target.matches(".handle:not(button)")) return;
    event.preventDefault();
    event.stopPropagation();
    this.open(event.target);
  }

  #moved(event) {
    event.stopPropagation(); // the page's shortcuts are not meant
    const items = [...this.#menu.querySelectorAll("button")];
    const place = items.indexOf(document.activeElement);
    const places = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: items.length - 1 };
    if (event.key in places) items.at(places[event.key] % items.length).focus();
    else if (["Escape", "Tab"].includes(event.key)) this.#close();
    else return;
    event.preventDefault();
  }
}

function titleOf({ field, json }) {
  const shown = shownOf(json);
  const short = shown.length > MAX_SHOWN ? `${shown.slice(0, MAX_SHOWN)}…` : shown;
  return field ? `${field}: ${short}` : short;
}
