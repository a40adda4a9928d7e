/* Texts of the page: a message in one row (subject, summary, badges), counts.
 *
 * The rule: plain strings only, whatever the message holds; markup is made elsewhere.
 */

const SEVERITIES = { info: "calm", warning: "warn", error: "bad", critical: "worst" };
const STATUSES = { preparing: "calm", in_progress: "busy", wipe: "bad", victory: "good" };
const DIFFICULTIES = { normal: "calm", heroic: "busy", hard: "busy", mythic: "rare" };

/** Finds letters and signs that can change the direction of the text around them. */
const TURNING = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Bidi_Control}]/u;

const MAX_LENGTH = 400; // characters of a text in a row; the details show all of it

/** Type → the parts of its row; `about` is the field and value that its subject is. */
const DESCRIPTIONS = {
  user: ({ username, content, user_badge: badge, metadata = {} }) => ({
    subject: username,
    about: ["username", username],
    summary: content,
    badges: [
      badge && [badge, "rare", "user_badge", badge],
      metadata.channel && [`#${text(metadata.channel)}`, "calm", "channel", metadata.channel],
    ],
  }),
  system: ({ event, severity, data = {} }) => ({
    subject: text(data.username ?? "server"),
    about: ["username", data.username],
    summary: `${words(event)} ${facts(data, "username" in data ? ["username", "user_id"] : [])}`,
    badges: [[severity, SEVERITIES[severity], "severity", severity]],
  }),
  dm: ({ from_username: from, to_user_id: to, content, read }) => ({
    subject: `${from} → ${to}`,
    about: ["from_username", from],
    summary: content,
    badges: [!read && ["unread", "calm", "read", read]],
  }),
  raid: (raid) => ({
    subject: raid.raid_name,
    about: ["raid_name", raid.raid_name],
    summary: [
      raid.boss_name,
      raid.participants?.length ? count(raid.participants.length, "player") : "",
      raid.duration_seconds == null ? "" : duration(raid.duration_seconds),
    ]
      .filter(Boolean)
      .join(" · "),
    badges: [
      [raid.difficulty, DIFFICULTIES[raid.difficulty] ?? "calm", "difficulty", raid.difficulty],
      [words(raid.status), STATUSES[raid.status], "status", raid.status],
      raid.health_percentage != null && [
        `${raid.health_percentage} %`,
        health(raid),
        "health_percentage",
        raid.health_percentage,
      ],
    ],
  }),
  party: ({ leader_name: leader, member_count: members, event, event_data: data = {} }) => ({
    subject: leader,
    about: ["leader_name", leader],
    summary: `${words(event)} ${facts(data)}`,
    badges: [[count(members, "member"), "calm", "member_count", members]],
  }),
  guild: ({ guild_name: guild, guild_level: level, event, event_data: data = {} }) => ({
    subject: guild,
    about: ["guild_name", guild],
    summary: `${words(event)} ${facts(data)}`,
    badges: [[`level ${level}`, "calm", "guild_level", level]],
  }),
};

/** Return the texts of a message's row: `{ subject, about, summary, badges }`, where `about`, also of
 * a badge, is `[field, value]` or undefined; each text has at most `most` characters. A message that is not as its type says, or of a type
 * that is new, is shown with all its fields. */
export function describe(message, most = MAX_LENGTH) {
  const { subject, about, summary, badges } = describedByType(message) ?? {
    subject: message.type,
    summary: facts(message, ["type", "id", "seq", "timestamp"]),
    badges: [],
  };
  return {
    subject: short(text(subject), MAX_LENGTH),
    about,
    summary: short(text(summary), most),
    badges: badges.filter(Boolean).map(badge),
  };
}

function badge([label, kind = "calm", ...about]) {
  return { label: short(label, MAX_LENGTH), kind, about: about.length ? about : undefined };
}

function describedByType(message) {
  try {
    return Object.hasOwn(DESCRIPTIONS, message.type) ? DESCRIPTIONS[message.type](message) : null;
  } catch {
    return null;
  }
}

export function words(name) {
  return text(name).replaceAll("_", " ");
}

export function count(number, thing) {
  return `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;
}

/** Fields as people say them: of a thing with a name not its id, and a text by itself. */
function facts(data, except = []) {
  const named = (name) => Object.hasOwn(data, name.replace(/_id$/, "_name"));
  const shown = Object.entries(data).filter(([name]) => {
    return !except.includes(name) && !(name.endsWith("_id") && named(name));
  });
  return shown.map(([name, value]) => `· ${labelOf(name, data)}${text(value)}`).join(" ");
}

function labelOf(name, data) {
  if (name === "message") return "";
  const thing = name.replace(/_name$/, "");
  return `${words(Object.hasOwn(data, `${thing}_id`) ? thing : name)} `;
}

function duration(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} min`;
}

function health({ health_percentage: percentage, status }) {
  if (percentage > 50 || status === "victory") return "good";
  return percentage > 20 ? "warn" : "bad";
}

function text(value) {
  return typeof value === "string" ? value : JSON.stringify(value) ?? "";
}

function short(words, most) {
  return words.length > most ? `${words.slice(0, most)}…` : words;
}

/** A text from a message for a sentence: it changes the direction of nothing around it. */
export function isolated(text) {
  return TURNING.test(text) ? `\u2068${text.replace(/\p{Bidi_Control}/gu, "")}\u2069` : text;
}
