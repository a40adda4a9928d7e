/* The form that publishes a message of any type. The fields come from a table; the server checks
 * them, and its answer is shown as it is.
 */
import { unsendable } from "./exact.js";
import { element } from "./element.js";

const JSON_FIELDS = new Set(["metadata", "data", "event_data", "participants"]);
const NUMBERS = new Set(["member_count", "guild_level", "health_percentage", "duration_seconds"]);

/** Type → its fields, the required ones first → the choices, or null for free text. */
const FIELDS = {
  user: {
    user_id: null,
    username: null,
    content: null,
    user_badge: null,
    user_avatar: null,
    metadata: null,
  },
  system: {
    event: [
      "user_joined",
      "user_left",
      "user_leveled_up",
      "raid_started",
      "server_maintenance",
      "error",
    ],
    severity: ["info", "warning", "error", "critical"],
    data: null,
  },
  dm: { from_user_id: null, from_username: null, to_user_id: null, content: null },
  raid: {
    raid_id: null,
    raid_name: null,
    boss_name: null,
    difficulty: null,
    status: ["preparing", "in_progress", "wipe", "victory"],
    health_percentage: null,
    duration_seconds: null,
    participants: null,
  },
  party: {
    party_id: null,
    leader_id: null,
    leader_name: null,
    member_count: null,
    event: ["member_joined", "member_left", "member_promoted", "disbanded", "level_bonus"],
    event_data: null,
  },
  guild: {
    guild_id: null,
    guild_name: null,
    guild_level: null,
    event: [
      "member_joined",
      "member_left",
      "conquest_started",
      "conquest_complete",
      "upgrade_complete",
      "war_declared",
      "treasury_deposit",
    ],
    event_data: null,
  },
};

export class Publisher {
  #live;
  #parts;

  /** `parts`: dialog, form, type, fields, answer, close. */
  constructor(live, parts) {
    this.#live = live;
    this.#parts = parts;
    for (const type of Object.keys(FIELDS)) parts.type.append(new Option(type, type));
    parts.type.addEventListener("change", () => this.#showFields());
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#publish();
    });
    parts.close.addEventListener("click", () => parts.dialog.close());
    this.#showFields();
  }

  open() {
    this.#parts.dialog.showModal();
  }

  #showFields() {
    const { type, fields, answer } = this.#parts;
    answer.textContent = "";
    fields.replaceChildren();
    for (const [name, choices] of Object.entries(FIELDS[type.value])) {
      const label = element("label", "", name);
      label.append(input(name, choices));
      fields.append(label);
    }
  }

  async #publish() {
    const { answer } = this.#parts;
    try {
      const message = this.#message();
      this.#showAnswer("Publishing …", "");
      const { seq } = await this.#live.publish(message);
      this.#showAnswer(`Published as seq ${seq}`, "good");
    } catch (error) {
      this.#showAnswer(error.code ? `${error.code}: ${error.message}` : error.message, "bad");
    }
    answer.hidden = false;
  }

  #showAnswer(words, kind) {
    const { answer } = this.#parts;
    answer.textContent = words;
    answer.dataset.kind = kind;
  }

  #message() {
    const message = { type: this.#parts.type.value };
    for (const [name, text] of new FormData(this.#parts.form)) {
      if (text !== "" && name !== "type") message[name] = valueOf(name, text);
    }
    return message;
  }
}

function input(name, choices) {
  const made = element(choices ? "select" : JSON_FIELDS.has(name) ? "textarea" : "input");
  made.name = name;
  made.autocomplete = "off";
  for (const choice of choices ?? []) made.append(new Option(choice, choice));
  if (JSON_FIELDS.has(name)) made.placeholder = name === "participants" ? "[…]" : "{…}";
  return made;
}

function valueOf(name, text) {
  if (JSON_FIELDS.has(name)) return objectOf(name, text);
  return NUMBERS.has(name) && !Number.isNaN(Number(text)) ? Number(text) : text;
}

function objectOf(name, text) {
  try {
    const value = JSON.parse(text);
    const lost = unsendable(text);
    if (lost === undefined) return value;
    throw new Error(`a page cannot send all digits of ${lost}; write it as text, in quotes`);
  } catch (error) {
    throw new Error(`${name}: ${error instanceof SyntaxError ? "not JSON: " : ""}${error.message}`);
  }
}
