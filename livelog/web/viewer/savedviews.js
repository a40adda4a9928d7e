/* Views that the browser keeps under a name: to open, to remove, to take to another browser. A view has
 * its columns, so it is kept with their widths.
 */
import { widthsIn } from "./columns.js";
import { element } from "./element.js";
import { store, stored } from "./stored.js";
import { fromAddress, toAddress } from "./view.js";

const MOST = 100;
const MAX_NAME = 80; // characters

/** Return the views in what was kept or is in a file: `{ name, address }` each, with `widths` if there
 * are any, and no other. */
export function viewsIn(kept) {
  if (!Array.isArray(kept)) return [];
  const known = kept.filter((one) => typeof one?.name === "string" && typeof one.address === "string");
  return known.reduce((views, one) => withView(views, one.name, fromAddress(one.address), one.widths), []);
}

/** Return the views with one more, which takes the place of one with its name. */
export function withView(views, name, view, widths) {
  const short = name.trim().slice(0, MAX_NAME);
  if (!short) return views;
  const others = views.filter((one) => one.name !== short);
  const own = [...widthsIn(widths)].filter(([field]) => view.columns.includes(field));
  const more = own.length ? { widths: Object.fromEntries(own) } : {};
  return [...others, { name: short, address: toAddress(view), ...more }].slice(-MOST);
}

export class SavedViews {
  #views = viewsIn(stored("views"));
  #parts;
  #raster;
  #on;

  /** `parts`: dialog, form, name, list, file, and the buttons save, import and close; `raster` has the
   * columns; `on`: handlers for current (returns the view), open (a view), save (a text), say (words, kind). */
  constructor(parts, raster, on) {
    this.#parts = parts;
    this.#raster = raster;
    this.#on = on;
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#change(withView(this.#views, parts.name.value, on.current(), raster.widths));
      parts.name.value = "";
    });
    parts.close.addEventListener("click", () => parts.dialog.close());
    parts.save.addEventListener("click", () => on.save(JSON.stringify(this.#views, null, 2)));
    parts.import.addEventListener("click", () => parts.file.click());
    parts.file.addEventListener("change", () => this.#import(parts.file.files[0]));
  }

  open() {
    this.#draw();
    this.#parts.dialog.showModal();
  }

  async #import(file) {
    this.#parts.file.value = ""; // so that the same file can be chosen again
    try {
      const found = viewsIn(JSON.parse(await file.text()));
      if (!found.length) throw new Error("it has no views");
      this.#change(viewsIn([...this.#views, ...found]));
    } catch (error) {
      this.#on.say(`Not imported: ${error.message}`, "bad");
    }
  }

  #change(views) {
    this.#views = views;
    if (!store("views", views)) this.#on.say("The browser keeps no views beyond this page.", "bad");
    this.#draw();
  }

  #draw() {
    this.#parts.save.disabled = !this.#views.length;
    this.#parts.list.replaceChildren(...this.#views.map((view) => this.#row(view)));
  }

  #row({ name, address, widths }) {
    const row = element("li");
    const open = element("button", "name", name);
    open.addEventListener("click", () => {
      this.#parts.dialog.close();
      const view = fromAddress(address);
      this.#raster.restore(view.columns, widths);
      this.#on.open(view);
    });
    const remove = element("button", "", "✕");
    remove.setAttribute("aria-label", `Remove ${name}`);
    remove.addEventListener("click", () => {
      this.#change(this.#views.filter((one) => one.name !== name));
    });
    for (const button of [open, remove]) button.type = "button";
    row.append(open, remove);
    return row;
  }
}
