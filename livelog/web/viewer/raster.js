/* The raster of the list: its columns, the dialog in which they are chosen, and the room that they leave
 * for the text.
 */
import { ColumnChoice, toggled } from "./columnchoice.js";
import { Columns } from "./columns.js";
import { isPane } from "./frame.js";
import { Room } from "./room.js";
import { store, stored } from "./stored.js";
import { columnsIn } from "./view.js";

/** The columns of a page whose address names no view: those that were chosen last. Of several views
 * side by side each has its own. */
export function keptColumns() {
  return isPane || location.search ? [] : columnsIn(stored("columns"));
}

function keep(fields) {
  if (!isPane) store("columns", fields);
}

export class Raster {
  room;

  #columns;
  #choice;
  #changed;

  /** `parts`: those of `ColumnChoice`, and head, log, rows; `on`: handlers for known (returns the
   * fields that messages have), changed (the columns), and resized: rows have more room, or less. */
  constructor(parts, on) {
    const resized = () => {
      this.room.measure();
      on.resized();
    };
    this.#changed = on.changed;
    this.#columns = new Columns(parts.head, parts.log, resized);
    this.room = new Room(parts.rows, () => this.#columns.pixels, resized);
    this.#choice = new ColumnChoice(parts, {
      current: () => this.#columns.fields,
      known: on.known,
      changed: (fields) => this.#change(fields),
    });
  }

  show(fields) {
    this.#columns.show(fields);
    this.room.measure();
  }

  /** The widths that the reader has set. */
  get widths() {
    return this.#columns.widths;
  }

  /** A view is opened that was saved with these columns and widths. */
  restore(fields, widths) {
    keep(fields);
    this.#columns.restore(fields, widths);
  }

  choose() {
    this.#choice.open();
  }

  has(field) {
    return this.#columns.fields.includes(field);
  }

  toggle(field) {
    this.#change(toggled(this.#columns.fields, field));
  }

  /** Make new columns as wide as the values of these rows need. */
  fit(rows) {
    if (this.#columns.fields.length) this.#columns.fit(rows);
  }

  #change(fields) {
    keep(fields);
    this.#changed(fields);
  }
}
