/* Text of the rows that its reader has selected: while it lives, no row moves; copied rows are lines. */

export class Selecting {
  active = false;

  #rows;
  #changed;

  /** `changed()` is called when a selection begins to live, and when it ends. */
  constructor(rows, changed) {
    this.#rows = rows;
    this.#changed = changed;
    document.addEventListener("selectionchange", () => this.#look());
    rows.addEventListener("copy", (event) => this.#copy(event));
  }

  /** Whether a part of the selection is in this row. */
  has(row) {
    return this.active && getSelection().containsNode(row, true);
  }

  #look() {
    const selection = getSelection();
    const active = !selection.isCollapsed && this.#rows.contains(selection.anchorNode);
    if (active === this.active) return;
    this.active = active;
    this.#changed();
  }

  /** Copy whole rows if several are selected; else the browser copies the text as it is. */
  #copy(event) {
    const rows = [...this.#rows.querySelectorAll(".row")].filter((row) => this.has(row));
    if (rows.length < 2) return;
    event.clipboardData.setData("text/plain", rows.map((row) => `${lineOf(row)}\n`).join(""));
    event.preventDefault();
  }
}

/** Return a row as a line of text: its parts with a space between them; with columns a tab, and empty
 * ones too, so that they can be pasted into a table. */
function lineOf(row) {
  const parts = [...row.children].flatMap((part) => (part.matches(".badges") ? [...part.children] : [part]));
  const texts = parts.map((part) => part.textContent.replace(/\s+/g, " ").trim());
  return row.querySelector(".cell") ? texts.join("\t") : texts.filter(Boolean).join(" ");
}
