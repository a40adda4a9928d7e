/* How a message reads in one line: who, what, and its badges. A table, one entry a type.
 *
 * The rule: plain strings only, whatever the message holds; markup is made elsewhere.
 */

const SEVERITIES = { info: "calm", warning: "warn", error: "bad", critical: "worst" };
const STATUSES = { preparing: "calm", in_progress: "busy", wipe: "bad", victory: "good" };
const DIFFICULTIES = { normal: "calm", heroic: "busy", hard: "busy", mythic: "rare" };

const MAX_LENGTH = 400; // of one line; all of it stands in the details

const DESCRIPTIONS = {
  user: ({ username, content, user_badge: badge, metadata = {} }) => ({
    who: username,
    what: content,
    badges: [badge && [badge, "rare"], metadata.channel && [`#${text(metadata.channel)}`, "calm"]],
  }),
  system: ({ event, severity, data = {} }) => ({
    who: text(data.username ?? "server"),
    what: `${words(event)} ${facts(data, ["username"])}`,
    badges: [[severity, SEVERITIES[severity]]],
  }),
  dm: ({ from_username: from, to_user_id: to, content, read }) => ({
    who: `${from} → ${to}`,
    what: content,
    badges: [!read && ["unread", "calm"]],
  }),
  raid: (raid) => ({
    who: raid.raid_name,
    what: [
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
    who: leader,
    what: `${words(event)} ${facts(data)}`,
    badges: [[count(members, "member"), "calm"]],
  }),
  guild: ({ guild_name: guild, guild_level: level, event, event_data: data = {} }) => ({
    who: guild,
    what: `${words(event)} ${facts(data)}`,
    badges: [[`level ${level}`, "calm"]],
  }),
};

export function describe(message) {
  const { who, what, badges } = DESCRIPTIONS[message.type](message);
  return {
    who: short(text(who)),
    what: short(text(what)),
    badges: badges.filter(Boolean).map(([label, kind = "calm"]) => ({ label: short(label), kind })),
  };
}

/** The time of day, to the millisecond, where the reader is. */
export function clock(timestamp) {
  const date = new Date(timestamp);
  if (Number.isNaN(date.getTime())) return text(timestamp);
  const two = (number) => String(number).padStart(2, "0");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${time}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** Day and time, where the reader is. */
export function moment(timestamp) {
  const date = new Date(timestamp);
  return Number.isNaN(date.getTime()) ? text(timestamp) : date.toLocaleString();
}

export function words(name) {
  return text(name).replaceAll("_", " ");
}

export function count(number, thing) {
  return `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;
}

function facts(data, except = []) {
  const told = Object.entries(data).filter(([name]) => !except.includes(name));
  return told.map(([name, value]) => `· ${words(name)} ${text(value)}`).join(" ");
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

function short(line) {
  return line.length > MAX_LENGTH ? `${line.slice(0, MAX_LENGTH)}…` : line;
}
