/* Texts of the page: a message in one row (subject, summary, badges), times, counts.
 *
 * The rule: plain strings only, whatever the message holds; markup is made elsewhere.
 */

const SEVERITIES = { info: "calm", warning: "warn", error: "bad", critical: "worst" };
const STATUSES = { preparing: "calm", in_progress: "busy", wipe: "bad", victory: "good" };
const DIFFICULTIES = { normal: "calm", heroic: "busy", hard: "busy", mythic: "rare" };

const MAX_LENGTH = 400; // characters of a text in a row; the details show all of it

/** Type → the parts of its row. */
const DESCRIPTIONS = {
  user: ({ username, content, user_badge: badge, metadata = {} }) => ({
    subject: username,
    summary: content,
    badges: [badge && [badge, "rare"], metadata.channel && [`#${text(metadata.channel)}`, "calm"]],
  }),
  system: ({ event, severity, data = {} }) => ({
    subject: text(data.username ?? "server"),
    summary: `${words(event)} ${facts(data, ["username"])}`,
    badges: [[severity, SEVERITIES[severity]]],
  }),
  dm: ({ from_username: from, to_user_id: to, content, read }) => ({
    subject: `${from} → ${to}`,
    summary: content,
    badges: [!read && ["unread", "calm"]],
  }),
  raid: (raid) => ({
    subject: raid.raid_name,
    summary: [
      raid.boss_name,
      raid.participants?.length ? count(raid.participants.length, "player") : "",
      raid.duration_seconds == null ? "" : duration(raid.duration_seconds),
    ]
      .filter(Boolean)
      .join(" · "),
    badges: [
      [raid.difficulty, DIFFICULTIES[raid.difficulty] ?? "calm"],
      [words(raid.status), STATUSES[raid.status]],
      raid.health_percentage != null && [`${raid.health_percentage} %`, health(raid)],
    ],
  }),
  party: ({ leader_name: leader, member_count: members, event, event_data: data = {} }) => ({
    subject: leader,
    summary: `${words(event)} ${facts(data)}`,
    badges: [[count(members, "member"), "calm"]],
  }),
  guild: ({ guild_name: guild, guild_level: level, event, event_data: data = {} }) => ({
    subject: guild,
    summary: `${words(event)} ${facts(data)}`,
    badges: [[`level ${level}`, "calm"]],
  }),
};

/** Return the texts of a message's row: `{ subject, summary, badges }`. A message that is not as
 * its type says, or of a type that is new, is shown with all its fields. */
export function describe(message) {
  const { subject, summary, badges } = describedByType(message) ?? {
    subject: message.type,
    summary: facts(message, ["type", "id", "seq", "timestamp"]),
    badges: [],
  };
  return {
    subject: short(text(subject)),
    summary: short(text(summary)),
    badges: badges.filter(Boolean).map(([label, kind = "calm"]) => ({ label: short(label), kind })),
  };
}

function describedByType(message) {
  try {
    return Object.hasOwn(DESCRIPTIONS, message.type) ? DESCRIPTIONS[message.type](message) : null;
  } catch {
    return null;
  }
}

/** A leap second is shown as the last millisecond before it: `Date` has no second 60. */
const LEAP = /:60(\.\d+)?(?=[Zz+-])/;

function dateOf(timestamp) {
  return new Date(typeof timestamp === "string" ? timestamp.replace(LEAP, ":59.999") : NaN);
}

/** The local time of day, to the millisecond. */
export function clock(timestamp) {
  const date = dateOf(timestamp);
  if (Number.isNaN(date.getTime())) return text(timestamp);
  const two = (number) => String(number).padStart(2, "0");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${time}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** The local day and time, with its zone. */
export function moment(timestamp) {
  const date = dateOf(timestamp);
  if (Number.isNaN(date.getTime())) return text(timestamp);
  return `${date.toLocaleString()} ${zone(date)}`;
}

/** The local day in words, with the zone that holds on it. */
export function dayName(timestamp) {
  const date = dateOf(timestamp);
  if (Number.isNaN(date.getTime())) return "Day unknown";
  return `${date.toLocaleDateString("en", { dateStyle: "full" })} · ${zone(date)}`;
}

const days = new Map(); // minute in UTC → its local day; many messages share a minute
const MAX_DAYS = 10_000;

/** Return a text that is the same for all times of a local day, as long as the zone is the same, and
 * "" for what is no time. */
export function dayOf(timestamp) {
  if (!/Z$/.test(timestamp)) return localDay(timestamp);
  const minute = timestamp.slice(0, 16);
  if (!days.has(minute)) {
    if (days.size >= MAX_DAYS) days.clear();
    days.set(minute, localDay(timestamp));
  }
  return days.get(minute);
}

function localDay(timestamp) {
  const date = dateOf(timestamp);
  return Number.isNaN(date.getTime()) ? "" : `${date.toDateString()} ${zone(date)}`;
}

/** The offset from UTC that holds at this moment here. */
function zone(date) {
  const minutes = -date.getTimezoneOffset();
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (number) => String(number).padStart(2, "0");
  return minutes ? `UTC${minutes < 0 ? "−" : "+"}${two(hours)}:${two(rest)}` : "UTC";
}

export function words(name) {
  return text(name).replaceAll("_", " ");
}

export function count(number, thing) {
  return `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;
}

function facts(data, except = []) {
  const shown = Object.entries(data).filter(([name]) => !except.includes(name));
  return shown.map(([name, value]) => `· ${words(name)} ${text(value)}`).join(" ");
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

function short(words) {
  return words.length > MAX_LENGTH ? `${words.slice(0, MAX_LENGTH)}…` : words;
}
