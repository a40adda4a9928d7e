/* The dialog that redacts all messages which an expression finds: it counts them first, and what is
 * sent names that number, so that no other messages are meant than those that were counted. */
import { Fault } from "./fault.js";
import { whyNot } from "./admin.js";
import { condition, conditionsOf } from "./expression.js";
import { TYPES } from "../client/livelog.js";
import { count, isolated } from "./format.js";

/** Return a view's conditions as one expression; "" without any. */
export function expressionOf({ types, text, fields, from, to }) {
  const parts = conditionsOf(text);
  if (types.length < TYPES.length) parts.push(`type:${types.join()}`);
  for (const [name, value] of Object.entries(fields)) parts.push(condition(name, JSON.stringify(value)));
  if (from) parts.push(`timestamp:>=${from}`);
  if (to) parts.push(`timestamp:<=${to}`);
  return parts.join(" ");
}

export class Redacting {
  #acts;
  #give;
  #parts;
  #fault;
  #found = null; // { where, count, upto_seq } of the last dry run
  #asked = 0;

  /** `parts`: dialog, form, where, fault, reason, state, confirm, cancel; `give(command, fields)`. */
  constructor(acts, give, parts) {
    this.#acts = acts;
    this.#give = give;
    this.#parts = parts;
    this.#fault = new Fault(parts.where, parts.fault);
    parts.cancel.addEventListener("click", () => parts.dialog.close());
    parts.where.addEventListener("input", () => this.#forget());
    parts.confirm.addEventListener("click", () => this.#confirm());
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#count();
    });
  }

  open(where) {
    this.#parts.where.value = where;
    this.#parts.reason.value = "";
    this.#forget();
    this.#parts.dialog.showModal();
    this.#parts.where.focus();
  }

  /** Forget the count: the question is another one. */
  #forget() {
    this.#asked += 1;
    this.#found = null;
    this.#fault.show(null, "");
    this.#tell("");
  }

  async #count() {
    const where = this.#parts.where.value.trim();
    if (!where) return;
    this.#forget();
    const asked = this.#asked;
    this.#tell("Counting …");
    try {
      const { result } = await this.#give("redact", { where, dry_run: true });
      if (asked === this.#asked) this.#counted(where, result);
    } catch (error) {
      if (asked !== this.#asked) return;
      const isPlaced = this.#fault.show(error, where);
      this.#tell(isPlaced ? "" : `Not counted: ${whyNot(error)}.`);
    }
  }

  #counted(where, { count: many, upto_seq }) {
    if (many) this.#found = { where, count: many, upto_seq };
    this.#tell(many ? `${count(many, "message")} found. What comes later is not redacted.` : "It finds no message.");
  }

  #tell(words) {
    const { state, confirm } = this.#parts;
    state.textContent = words;
    confirm.disabled = !this.#found;
    confirm.textContent = this.#found ? `Redact ${count(this.#found.count, "message")}` : "Redact";
  }

  #confirm() {
    const reason = this.#parts.reason.value.trim();
    const { where, count: many } = this.#found;
    this.#parts.dialog.close();
    this.#acts.add({
      command: "redact",
      fields: { ...this.#found, ...(reason && { reason }) },
      words: `Redact ${count(many, "message")} found by ${isolated(where)}`,
      told: ({ redacted = 0 }) => `${count(redacted, "message")} redacted.`,
      again: () => this.open(where), // to count once more
    });
  }
}
