/* Acts on one message and on its user: the items of their menu, and the dialog that asks for the
 * reason. What is decided here waits in `Acts` before it is sent.
 */
import { element } from "./element.js";
import { count, describe, isolated } from "./format.js";
import { moment } from "./time.js";

/** Type of message → the fields with the id and the name of its author. */
const AUTHORS = { user: ["user_id", "username"], dm: ["from_user_id", "from_username"] };
const USER_ID = /(?:^|[._])(?:user|leader|author)_id$/;

const DURATIONS = [
  ["10 minutes", 600],
  ["1 hour", 3600],
  ["1 day", 86_400],
  ["7 days", 604_800],
  ["30 days", 2_592_000],
  ["ever", null],
];
const USUAL = "1 day";
const NOTE = "The user is told the reason; it is in the audit log, too.";

/** Act → its dialog, and what is sent: `make(subject, form)`. */
const KINDS = {
  redact: {
    title: () => "Redact this message",
    about: "Its content is taken away for good, from the log and from all who read it.",
    note: "All readers see the reason, in the line that stays; it is in the audit log, too.",
    submit: "Redact",
    make: ({ message, user }, { reason }) => ({
      command: "redact",
      fields: { seq: message.seq, ...reason },
      words: user ? `Redact a message of ${nameOf(user)}` : `Redact a ${message.type} message`,
      told: () => "The message is redacted.",
    }),
  },
  block: {
    title: ({ user }) => `Block ${nameOf(user)}`,
    about: "Open connections are closed, and new ones refused.",
    note: NOTE,
    submit: "Block",
    make: ({ user }, { reason, duration: [words, seconds] }) => ({
      command: "block",
      fields: { user_id: user.id, ...(seconds && { duration_seconds: seconds }), ...reason },
      words: `Block ${nameOf(user)} for ${words}`,
      told: (result) => toldOfBlock(user, result),
    }),
  },
  disconnect: {
    title: ({ user }) => `Disconnect ${nameOf(user)}`,
    about: "All open connections of this user are closed.",
    note: NOTE,
    submit: "Disconnect",
    make: ({ user }, { reason, reconnect }) => ({
      command: "disconnect",
      fields: { user_id: user.id, reconnect, ...reason },
      words: `Disconnect ${nameOf(user)}`,
      told: ({ disconnected }) => `${nameOf(user)}: ${count(disconnected, "connection")} closed.`,
    }),
  },
};

function toldOfBlock(user, { until, disconnected, survives_restart: survives }) {
  const end = until ? `until ${moment(until)}` : "for ever";
  const words = `${nameOf(user)} is blocked ${end}; ${count(disconnected, "connection")} closed.`;
  return survives ? words : `${words} The block ends with the server, which stores nothing.`;
}

/** Return the user whose id a value is, or else the author of a message, as `{ id, name }`; null
 * without one. */
export function userOf(message, handle = null) {
  if (handle?.field && USER_ID.test(handle.field)) {
    const id = JSON.parse(handle.json);
    return typeof id === "string" && id ? { id, name: "" } : null;
  }
  const [id, name] = AUTHORS[message?.type] ?? [];
  return message?.[id] ? { id: message[id], name: message[name] ?? "" } : null;
}

function nameOf({ id, name }) {
  return name && name !== id ? `${isolated(name)} (${isolated(id)})` : isolated(id);
}

/** The message as its line shows it. */
function quoteOf(message) {
  if (!message) return "";
  const { subject, summary } = describe(message);
  return `${subject}: ${summary}`;
}

export class Moderation {
  #identity;
  #acts;
  #parts;
  #kind = null;
  #subject = null; // { message, user }

  /** `parts`: dialog, form, title, quote, about, note, duration, reason, reconnect, submit, cancel. */
  constructor(identity, acts, parts) {
    this.#identity = identity;
    this.#acts = acts;
    this.#parts = parts;
    for (const [words] of DURATIONS) parts.duration.append(new Option(words, words));
    parts.cancel.addEventListener("click", () => parts.dialog.close());
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  /** Return the items of a menu, `[words, act]`, for a message, for a value or for both: none for
   * those who may not. */
  items(message, handle = null) {
    if (!this.#identity.may("moderate")) return [];
    const user = userOf(message, handle);
    const redactable = message && !message.redacted && message.type !== "gap";
    const items = redactable ? [this.#item("Redact this message…", "redact", { message, user })] : [];
    if (!user || user.id === this.#identity.id) return items; // the server spares yourself, too
    return [
      ...items,
      this.#item(`Block ${nameOf(user)}…`, "block", { user }),
      this.#item(`Disconnect ${nameOf(user)}…`, "disconnect", { user }),
    ];
  }

  #item(words, kind, subject) {
    return [words, () => this.#ask(kind, subject)];
  }

  #ask(kind, subject) {
    const { title, about, note, submit } = KINDS[kind];
    const { dialog, duration, reason, reconnect, ...parts } = this.#parts;
    this.#kind = kind;
    this.#subject = subject;
    parts.title.replaceChildren(element("bdi", "", title(subject)));
    parts.quote.hidden = !subject.message;
    parts.quote.replaceChildren(element("bdi", "", quoteOf(subject.message)));
    parts.about.textContent = about;
    parts.note.textContent = `${note} You have 5 seconds to undo this.`;
    parts.submit.textContent = submit;
    duration.value = USUAL;
    duration.closest("label").hidden = kind !== "block";
    reconnect.checked = true;
    reconnect.closest("label").hidden = kind !== "disconnect";
    reason.value = "";
    dialog.showModal();
    reason.focus();
  }

  #submit() {
    const { dialog, duration, reason, reconnect } = this.#parts;
    const said = reason.value.trim();
    const form = {
      reason: said ? { reason: said } : {},
      duration: DURATIONS.find(([words]) => words === duration.value),
      reconnect: reconnect.checked,
    };
    dialog.close();
    this.#acts.add(KINDS[this.#kind].make(this.#subject, form));
  }
}
