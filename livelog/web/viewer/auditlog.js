/* The rows of the audit log: who did what, when and why, the newest first. An act that is known keeps
 * its row. */
import { AuditTrail } from "./audittrail.js";
import { element } from "./element.js";
import { count, words } from "./format.js";
import { asButton } from "./handles.js";
import { showRows } from "./keyed.js";
import { dateOf, moment, wallTime } from "./time.js";

/** Act → how a sentence begins that tells of it, and the rest of that sentence. */
const SENTENCES = {
  redact: ["redacted", ({ messages, scrubbed }) => [count(messages, "message"), !scrubbed && "files not yet clean"]],
  block: ["blocked", ({ until }) => [until ? `until ${moment(until)}` : "for ever"]],
  unblock: ["unblocked", () => []],
  disconnect: ["disconnected", ({ back_in: seconds }) => [seconds == null && "not to come back by itself"]],
  announce: ["announced", ({ severity }) => [severity]],
  operate: ["", ({ command, node, detail }) => [words(command), node && `on ${node}`, detail]],
};
export const KINDS = Object.keys(SENTENCES);
const TOLD = ["seq", "act", "by", "at", "reason", "user_id", "address", "connection_id"];

/** Return the texts of an act: `{ verb, rest }`. A kind that is new is shown with all its fields. */
export function sentenceOf(act) {
  const [verb, rest] = SENTENCES[act.act] ?? [words(act.act), fieldsOf];
  return { verb, rest: rest(act).filter(Boolean).join(" · ") };
}

function fieldsOf(act) {
  const others = Object.entries(act).filter(([name]) => !TOLD.includes(name));
  return others.map(([name, value]) => `${words(name)} ${typeof value === "string" ? value : JSON.stringify(value)}`);
}

export class AuditLog {
  #trail;
  #list;
  #context;

  /** `give(command, fields)` gives an admin command; `context(seq)` shows a message. */
  constructor(give, list, context) {
    this.#trail = new AuditTrail(give);
    this.#list = list;
    this.#context = context;
  }

  get kinds() {
    return this.#trail.kinds;
  }

  get isEnd() {
    return this.#trail.isEnd;
  }

  get summary() {
    return this.#trail.summary;
  }

  /** The kind of act that is shown; "" for all. */
  get kind() {
    return this.#trail.kind;
  }

  /** Load what is new; throws what `give` throws. */
  async refresh() {
    await this.#trail.refresh();
    this.#show();
  }

  /** Load older acts. */
  async older() {
    await this.#trail.older();
    this.#show();
  }

  filter(kind) {
    this.#trail.kind = kind;
    this.#show();
  }

  /** Write all rows again: times are shown in another way. */
  redraw() {
    this.#list.replaceChildren();
    this.#show();
  }

  #show() {
    showRows(this.#list, this.#trail.acts, keyOf, (act) => this.#draw(act));
  }

  #draw(act) {
    const { verb, rest } = sentenceOf(act);
    const row = element("li", "act");
    const what = element("p", "what");
    what.append(who(act.by));
    if (verb) what.append(element("strong", "", verb));
    if (act.user_id) what.append(who(act.user_id));
    const target = act.address || act.connection_id;
    if (target) what.append(element("bdi", "", target));
    if (rest) what.append(element("span", "", rest));
    row.append(timeOf(act.at), what);
    if (act.act === "announce") row.append(this.#link(act.message));
    if (act.reason) row.append(element("bdi", "why", act.reason));
    return row;
  }

  #link(seq) {
    const made = element("button", "", "Show");
    made.type = "button";
    made.addEventListener("click", () => this.#context(seq));
    return made;
  }
}

/** A row is drawn again when its files are clean. */
function keyOf({ seq, scrubbed }) {
  return `${seq} ${scrubbed ?? ""}`;
}

/** The id of a user, which has a menu. */
export function who(id) {
  if (!id) return element("span", "", "the program");
  return asButton(element("bdi", "value", id), { field: "user_id", json: JSON.stringify(id) });
}

/** Day and time, to the second. */
export function timeOf(timestamp) {
  const time = element("time", "time", wallTime(dateOf(timestamp)).slice(0, 19).replace("T", " "));
  time.dateTime = timestamp;
  time.title = moment(timestamp);
  return time;
}
