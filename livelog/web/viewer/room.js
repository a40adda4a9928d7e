/* The room that a row has for its text: an estimate in pixels, since to measure each row would cost a
 * layout. */

const BESIDE = 345; // time, type, subject, and the gaps between them
const BESIDE_DENSE = 285; // in a narrow view beside others
const BADGES = 200; // where there is room they have a place of their own
const WIDE = 900;
const CHARACTER = 6.5; // in a badge
const MARGIN = 0.95;

export class Room {
  #rows;
  #columns;
  #width = 0;
  #columnsWidth = 0;
  #isNarrow = false;
  #beside = BESIDE;
  #lines = 1;
  #pen = document.createElement("canvas").getContext("2d");

  /** `columns()` returns the pixels that columns take, 0 without any; `changed()` is called when the
   * rows have another width. */
  constructor(rows, columns, changed) {
    this.#rows = rows;
    this.#columns = columns;
    new ResizeObserver(() => {
      const before = this.#width;
      this.measure();
      if (before && before !== this.#width) changed();
    }).observe(rows);
  }

  measure() {
    const style = getComputedStyle(this.#rows);
    this.#pen.font = `${style.fontSize} ${style.fontFamily}`;
    this.#lines = Number(style.getPropertyValue("--lines")) || 1;
    const isDense = document.documentElement.hasAttribute("data-dense");
    const isSmall = matchMedia("(max-width: 720px)").matches;
    this.#beside = isDense && isSmall ? BESIDE_DENSE : BESIDE;
    this.#isNarrow = !isDense && isSmall;
    this.#width = this.#rows.clientWidth;
    this.#columnsWidth = this.#columns();
  }

  /** The room beside these badges. */
  beside(badges) {
    return Math.max(60, (this.#width - this.#taken(badges)) * this.#lines * MARGIN);
  }

  #taken(badges) {
    if (this.#columnsWidth) return this.#columnsWidth;
    if (this.#isNarrow) return 16; // the text has a line of its own
    if (this.#width >= WIDE) return this.#beside + BADGES;
    return badges.reduce((sum, { label }) => sum + label.length * CHARACTER + 19, this.#beside);
  }

  widthOf = (text) => this.#pen.measureText(text).width;
}
