/* The heights of the lines of the list, and where each line stands.
 *
 * Where lines do not wrap all are equally high, and nothing is kept. Where they wrap a line is taken
 * for one row high, which is the least, until it has been drawn and measured. Places are numbers of
 * lines as they were when `follow` was called last.
 */

export class Heights {
  unit = 24; // pixels of a line that does not wrap
  wraps = false;
  length = 0;

  #lines = [];
  #known = new WeakMap(); // line → its height, where it wraps
  #tops = [0]; // tops of the lines from the first on, as far as they have been asked for

  /** The height of one row, and whether lines wrap; all that was measured is forgotten. */
  reset(unit, wraps) {
    this.unit = unit;
    this.wraps = wraps;
    this.#known = new WeakMap();
    this.#tops = [0];
  }

  /** Take over the lines as they are now. The same array has at most grown since. */
  follow(lines) {
    if (lines !== this.#lines) this.#tops = [0];
    this.#lines = lines;
    this.length = lines.length;
  }

  /** The place of a line between two others; -1 if it is not there. */
  find(line, begin, end) {
    const at = this.#lines.slice(begin, end).indexOf(line);
    return at < 0 ? at : begin + at;
  }

  isKnown(place) {
    return !this.wraps || this.#known.has(this.#lines[place]);
  }

  /** Note heights that have been measured: pairs of a place and pixels, by place. */
  note(measured) {
    for (const [place, height] of measured) this.#known.set(this.#lines[place], height);
    this.#tops.length = Math.min(this.#tops.length, measured[0][0] + 1);
  }

  /** The top of a line; for the place after the last one, its end. */
  topOf(place) {
    if (!this.wraps || place <= 0) return place * this.unit;
    this.#reach(Math.min(place, this.length));
    return this.#tops[Math.min(place, this.length)];
  }

  get total() {
    return this.topOf(this.length);
  }

  /** The line at this many pixels from the top. */
  placeAt(top) {
    if (!this.wraps) return Math.floor(top / this.unit);
    this.#reach(this.length);
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#tops[middle] <= top) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #reach(place) {
    const tops = this.#tops;
    for (let at = tops.length; at <= place; at += 1) {
      tops.push(tops[at - 1] + (this.#known.get(this.#lines[at - 1]) ?? this.unit));
    }
  }
}
