/* The lines of the list: the rows of the timeline, and a day row wherever the day changes. It stands
 * before the list in place of the timeline.
 *
 * Times are those that the senders named, not in the order of the log; so a day may come again.
 */
import { dayOf } from "./time.js";

export class Lines {
  #timeline;
  #stale = true;
  #lines = [];
  #numbers = []; // line → the number of its row in the timeline; a day row has that of the next
  #first = 0;
  #day = ""; // the last row's
  #rows = []; // the lines were made of these rows of the timeline,
  #rowsFirst = 0; // when this was its `first`,
  #ends = []; // and these their first and last row
  #dayRows = new WeakMap(); // message → the day row before it, so that it stays the same object

  constructor(timeline) {
    this.#timeline = timeline;
  }

  /** The timeline has changed. */
  update() {
    this.#stale = true;
  }

  /** Days begin at another time. */
  reset() {
    this.#ends = [];
    this.#stale = true;
  }

  /** Messages, gap rows and day rows. */
  get rows() {
    this.#refresh();
    return this.#lines;
  }

  /** Number of the first line; it changes when lines are added or dropped before it. */
  get first() {
    this.#refresh();
    return this.#first;
  }

  get generation() {
    return this.#timeline.generation;
  }

  get complete() {
    return this.#timeline.complete;
  }

  /** Place of a line's message among all matches, from 1 on, and their number. */
  placeOf(line) {
    const { rows, older, unseen } = this.#timeline;
    return { place: older + this.#numbers[line] + 1, of: older + rows.length + unseen };
  }

  #refresh() {
    if (!this.#stale) return;
    this.#stale = false;
    const { rows, first } = this.#timeline;
    if (!this.#isGrown(rows, first)) this.#begin(rows, first);
    this.#append(rows);
  }

  /** Whether rows were at most appended, which is the usual case. */
  #isGrown(rows, first) {
    const made = (this.#numbers.at(-1) ?? -1) + 1;
    const same = rows === this.#rows && first === this.#rowsFirst && made > 0;
    return same && rows[0] === this.#ends[0] && rows[made - 1] === this.#ends[1];
  }

  /** Make all lines again. */
  #begin(rows, first) {
    // A row that is in the timeline before and after tells how far the lines have moved.
    const kept = Math.max(first, this.#rowsFirst);
    const before = this.#numbers.lastIndexOf(kept - this.#rowsFirst);
    this.#lines = [];
    this.#numbers = [];
    this.#day = "";
    this.#append(rows);
    const after = this.#numbers.lastIndexOf(kept - first);
    if (before >= 0 && after >= 0) this.#first += before - after;
    this.#rows = rows;
    this.#rowsFirst = first;
  }

  #append(rows) {
    for (let number = (this.#numbers.at(-1) ?? -1) + 1; number < rows.length; number += 1) {
      const row = rows[number];
      const day = row.type === "gap" ? this.#day : dayOf(row.timestamp);
      if (day !== this.#day) this.#add(this.#dayRow(row), number);
      this.#day = day;
      this.#add(row, number);
    }
    this.#ends = [rows[0], rows.at(-1)];
  }

  #add(line, number) {
    this.#lines.push(line);
    this.#numbers.push(number);
  }

  #dayRow(message) {
    const { seq, timestamp } = message;
    const made = this.#dayRows.get(message) ?? { type: "day", seq, timestamp };
    this.#dayRows.set(message, made);
    return made;
  }
}
