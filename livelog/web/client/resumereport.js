/* The report on a resume: where it began, and the gaps that could not be filled. It is made once all
 * that was missed has arrived. */

/** Between the two pings that prove the end of a resume. */
const CONFIRM_MS = 500;

export class ResumeReport {
  #clock;
  #on;
  #report = null; // { from, gaps } while a resume is under way

  /** `on`: handlers for ping (returns a promise), emit (an event's name and detail). */
  constructor(clock, on) {
    this.#clock = clock;
    this.#on = on;
  }

  /** A connection resumes after this seq. */
  begin(from) {
    this.#report = { from, gaps: [] };
  }

  /** The connection is lost, and the resume with it. */
  drop() {
    this.#report = null;
  }

  /** Note a gap, and report it at once. */
  gap(gap) {
    this.#report?.gaps.push(gap);
    this.#on.emit("gap", gap);
  }

  /** Report the resume once all of it has arrived. It takes two pings, because the first may overtake
   * the messages that the server is about to read from the log; `cursor()` tells how far it is. */
  async confirm(cursor) {
    const report = this.#report;
    if (!report) return;
    try {
      await this.#on.ping();
      if (cursor() === report.from) {
        await new Promise((resolve) => this.#clock.setTimeout(resolve, CONFIRM_MS));
        await this.#on.ping();
      }
    } catch {
      return; // the connection is lost again
    }
    if (this.#report !== report) return;
    this.#report = null;
    this.#on.emit("resumed", report);
  }
}
