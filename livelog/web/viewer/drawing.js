/* Drawing of rows as the view and its reader want them. */
import { marksOf } from "./highlight.js";
import { drawRow } from "./row.js";
import { askedOf } from "./snippet.js";
import { isExpression, wordsOf } from "./view.js";

export class Drawing {
  marks = null; // the phrases of the search
  pictures = false;

  #on;
  #asked = new Map(); // fields that the search compares
  #columns = [];

  /** `on`: look (returns the `Look`), room (returns the `Room`), fill (a gap row is to be filled). */
  constructor(on) {
    this.#on = on;
  }

  show(view) {
    this.marks = marksOf(wordsOf(view));
    this.#asked = isExpression(view.text) ? askedOf(view.text) : new Map();
    this.#columns = view.columns;
  }

  draw = (message) => {
    const { isRelative: relative, most } = this.#on.look();
    const given = { marks: this.marks, asked: this.#asked, columns: this.#columns, pictures: this.pictures };
    const onFill = () => this.#on.fill(message);
    return drawRow(message, { ...given, relative, most, room: this.#on.room(), onFill });
  };
}
