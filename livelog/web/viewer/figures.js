/* Figures and words beside the rows: how many match, how many are new, why there is none. */
import { count } from "./format.js";
import { toAddress } from "./view.js";

export class Figures {
  #timeline;
  #parts;

  /** `parts`: total, empty, unseen. */
  constructor(timeline, parts) {
    this.#timeline = timeline;
    this.#parts = parts;
  }

  /** Show how many are new, while the newest are not in sight. */
  showUnseen(away) {
    const { unseen } = this.#timeline;
    const button = this.#parts.unseen;
    button.hidden = !(unseen && away);
    const words = `${unseen.toLocaleString("en")} new ↓`;
    if (!button.hidden && button.textContent !== words) button.textContent = words;
  }

  /** Show how many match, or the failure; `told` are words for one that is told at another place. */
  showTotal(view, told) {
    const { rows, older, loading, unseen, failure } = this.#timeline;
    const { total, empty } = this.#parts;
    const words = loading === "opening" ? "loading …" : count(rows.length + older + unseen, "message");
    const problem = failure && (told ? "could not load" : `could not load: ${failure.message}`);
    total.textContent = problem ?? words;
    empty.hidden = rows.length > 0;
    if (!rows.length) empty.textContent = this.#whyEmpty(view, told);
  }

  #whyEmpty(view, told) {
    const { loading, failure } = this.#timeline;
    if (told) return told;
    if (failure) return `Could not load: ${failure.message}`;
    if (loading) return "Loading …";
    if (toAddress({ ...view, columns: [] })) return "No message matches yet. New ones appear here.";
    return "There is no message yet. New ones appear here.";
  }
}
