/* Times as texts: the time of day, the moment, the day, with the zone that holds then; how long ago.
 *
 * The rule: they are in the browser's time zone or in UTC, all in the same one.
 */

/** As `Date.toLocaleString` writes it, which makes such a format for each time anew. It stays in UTC
 * and gets shifted times, since a browser's zone may change. */
const MOMENT = new Intl.DateTimeFormat("en", {
  timeZone: "UTC",
  year: "numeric",
  month: "short", // which day and month are, nobody has to guess
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23", // as in the rows
});

const LEAP_SECOND = /(:\d\d):60(?:\.\d+)?/;

let isUtc = false;

/** Show times in UTC, or in the browser's time zone. */
export function useUtc(utc) {
  isUtc = utc;
  days.clear();
}

/** The time that a text names. A leap second, for which `Date` has none, is the end of its minute. */
export function dateOf(timestamp) {
  return new Date(typeof timestamp === "string" ? timestamp.replace(LEAP_SECOND, "$1:59.999") : NaN);
}

/** The time of day, to the millisecond. */
export function clock(timestamp) {
  const date = dateOf(timestamp);
  if (Number.isNaN(date.getTime())) return text(timestamp);
  return wallTime(date).slice(11, 23);
}

/** The day and time, with its zone. */
export function moment(timestamp) {
  const date = dateOf(timestamp);
  if (Number.isNaN(date.getTime())) return text(timestamp);
  return `${MOMENT.format(shifted(date))} ${zone(date)}`;
}

/** The day in words, with the zone that holds on it. */
export function dayName(timestamp) {
  const date = dateOf(timestamp);
  if (Number.isNaN(date.getTime())) return "Day unknown";
  return `${date.toLocaleDateString("en", { dateStyle: "full", ...inZone() })} · ${zone(date)}`;
}

const days = new Map(); // minute in UTC → its day here; many messages share a minute
const MAX_DAYS = 10_000;

/** Return a text that is the same for all times of a day, as long as the zone is the same, and
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
  return Number.isNaN(date.getTime()) ? "" : `${wallTime(date).slice(0, 10)} ${zone(date)}`;
}

/** The time on the clocks at a moment, as ISO 8601 without a zone; years from 0 to 9999. */
export function wallTime(date) {
  return shifted(date).toISOString().slice(0, 23);
}

/** The moment at which clocks in UTC show what those here show at another. */
function shifted(date) {
  return new Date(date.getTime() + offset(date) * 60_000);
}

/** The moment at which the clocks show this; null for what is no time. */
export function atWallTime(text) {
  const date = new Date(isUtc ? `${text}Z` : text);
  return Number.isNaN(date.getTime()) ? null : date;
}

const UNITS = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

/** How long ago a time is at `now`, in milliseconds, or how far ahead. */
export function ago(timestamp, now) {
  const seconds = (now - dateOf(timestamp).getTime()) / 1000;
  if (Number.isNaN(seconds)) return text(timestamp);
  const [size, unit] = UNITS.find(([many]) => Math.abs(seconds) >= many) ?? [1, "s"];
  const many = Math.floor(Math.abs(seconds) / size);
  return seconds < 0 && many ? `in ${many} ${unit}` : `${many} ${unit} ago`;
}

function inZone() {
  return isUtc ? { timeZone: "UTC" } : {};
}

/** The minutes that the clocks are ahead of UTC at a moment. */
function offset(date) {
  return isUtc ? 0 : -date.getTimezoneOffset();
}

/** The offset from UTC that holds at a moment. */
export function zone(date) {
  const minutes = offset(date);
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (number) => String(number).padStart(2, "0");
  return minutes ? `UTC${minutes < 0 ? "−" : "+"}${two(hours)}:${two(rest)}` : "UTC";
}

function text(value) {
  return typeof value === "string" ? value : JSON.stringify(value) ?? "";
}
