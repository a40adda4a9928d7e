/* Going to a time: the messages of the view that were there then are shown among the others. */
import { atWallTime } from "./time.js";

export class GoTo {
  #field;
  #on;

  /** `field` has the time, `button` goes there; `on`: handlers for find (a moment in ISO 8601; returns
   * the newest seq up to it, or null), show (a seq) and say (words, kind). */
  constructor(field, button, on) {
    this.#field = field;
    this.#on = on;
    button.addEventListener("click", () => this.#go());
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // it is no condition of the view
      this.#go();
    });
  }

  async #go() {
    const moment = atWallTime(this.#field.value);
    if (!moment) return this.#on.say("Give a day and a time to go to.", "bad");
    try {
      const seq = await this.#on.find(moment.toISOString());
      if (seq === null) this.#on.say("There is no message up to this time.");
      else this.#on.show(seq);
    } catch (error) {
      this.#on.say(`Could not look for this time: ${error.message}`, "bad");
    }
  }
}
