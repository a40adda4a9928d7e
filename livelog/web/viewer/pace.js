/* The pace at which a list that follows is drawn: eight times a second, and half as often when each
 * time more comes than can be read. So the page stays idle. */

const FOLLOW_MS = 125;
const FLOOD_MS = 250; // when half of the rows in sight are new each time

export class Pace {
  /** Milliseconds between two drawings. */
  interval = FOLLOW_MS;

  #end = 0; // number of the row after the last that was drawn

  /** Rows up to the number `end` are drawn, of which `room` are in sight. */
  drawn(end, room) {
    this.interval = end - this.#end > room / 2 ? FLOOD_MS : FOLLOW_MS;
    this.#end = end;
  }
}
