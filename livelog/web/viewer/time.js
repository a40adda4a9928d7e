/* Times as texts: the time of day, the moment, the day, with the zone that holds then. */

const LEAP_SECOND = /(:\d\d):60(?:\.\d+)?/;

/** The time that a text names. A leap second, for which `Date` has none, is the end of its minute. */
export function dateOf(timestamp) {
  return new Date(typeof timestamp === "string" ? timestamp.replace(LEAP_SECOND, "$1:59.999") : NaN);
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

function text(value) {
  return typeof value === "string" ? value : JSON.stringify(value) ?? "";
}
