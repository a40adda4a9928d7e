/* Acts of a moderator before they are sent: each waits for some seconds, in which it can be undone.
 *
 * The time stands still while the pointer or the focus is on the act. An act that has failed stays,
 * with the reason, until it is tried again or dismissed.
 */
import { whyNot } from "./admin.js";
import { element } from "./element.js";

const UNDO_MS = 5000;
const TICK_MS = 200;

export class Acts {
  #parts;
  #on;
  #waiting = []; // { act, row, left }, the newest last
  #timer = 0;
  #at = 0;
  #stay = (event) => event.preventDefault();

  /** `parts`: list, status; `on`: handlers for give (a command, its fields; returns a promise), done
   * (an act, what it has returned), refused (a code), released (the focus was on what is gone), waiting (how many wait now). */
  constructor(parts, on) {
    this.#parts = parts;
    this.#on = on;
  }

  /** Send an act after a while: `command` and `fields`, and `words` that say what it does. `again`
   * is called instead of sending it once more, if it is given. */
  add(act) {
    if (this.#waiting.some((one) => isSame(one.act, act))) return;
    const entry = { act, left: UNDO_MS, clock: element("span", "left") };
    entry.clock.setAttribute("aria-hidden", "true");
    const undo = button("Undo", () => this.#undo(entry));
    entry.row = this.#row(act.words, entry.clock, undo);
    this.#waiting.push(entry);
    this.#say(`${act.words} in ${UNDO_MS / 1000} seconds. Press u to undo it.`);
    this.#run();
  }

  /** Undo the newest act that waits. */
  undo() {
    if (this.#waiting.length) this.#undo(this.#waiting.at(-1));
  }

  #undo(entry) {
    this.#waiting = this.#waiting.filter((one) => one !== entry);
    this.#remove(entry.row);
    this.#say(`Undone: ${entry.act.words}`);
    this.#run();
  }

  /** Let the time go on as long as an act waits. Who leaves the page meanwhile is asked. */
  #run() {
    clearInterval(this.#timer);
    removeEventListener("beforeunload", this.#stay);
    this.#on.waiting(this.#waiting.length);
    if (!this.#waiting.length) return;
    addEventListener("beforeunload", this.#stay);
    this.#at = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#showClocks();
  }

  #tick() {
    const now = performance.now();
    const passed = now - this.#at;
    this.#at = now;
    for (const entry of this.#waiting) {
      if (!entry.row.matches(":hover, :focus-within")) entry.left -= passed;
    }
    this.#showClocks();
    const due = this.#waiting.filter(({ left }) => left <= 0);
    if (!due.length) return;
    this.#waiting = this.#waiting.filter(({ left }) => left > 0);
    for (const entry of due) this.#send(entry);
    this.#run();
  }

  #showClocks() {
    for (const { clock, left } of this.#waiting) {
      const words = `${Math.max(1, Math.ceil(left / 1000))} s`;
      if (clock.textContent !== words) clock.textContent = words;
    }
  }

  async #send({ act, row }) {
    row.replaceChildren(element("span", "words", `${act.words} …`));
    try {
      const answer = await this.#on.give(act.command, act.fields);
      row.remove();
      this.#on.done(act, answer);
    } catch (error) {
      this.#fail(act, row, error);
    }
  }

  #fail(act, row, error) {
    const words = `Not done: ${act.words}: ${whyNot(error)}.`;
    const again = button("Try again", () => {
      this.#remove(row);
      if (act.again) act.again();
      else this.add(act);
    });
    const dismiss = button("Dismiss", () => this.#remove(row));
    row.classList.add("failed");
    row.replaceChildren(element("span", "words", words), again, dismiss);
    this.#say(words);
    this.#on.refused(error.code);
  }

  #row(words, ...others) {
    const row = element("li");
    row.append(element("span", "words", words), ...others);
    this.#parts.list.append(row);
    return row;
  }

  #remove(row) {
    const hadFocus = row.contains(document.activeElement);
    row.remove();
    if (hadFocus) this.#on.released();
  }

  /** A text for screen readers: the rows themselves change too often. */
  #say(words) {
    this.#parts.status.textContent = words;
  }
}

function isSame(one, other) {
  return one.command === other.command && JSON.stringify(one.fields) === JSON.stringify(other.fields);
}

function button(words, act) {
  const made = element("button", "", words);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}
