/* Snippets: what a search has found in a message where its row does not show it, because it stands
 * in another field or far to the right.
 */
import { matches } from "./highlight.js";
import { shownOf, valuesOf } from "./values.js";

const AROUND = 24; // characters shown before a hit, where there is room
const PIXELS_EACH = 20; // room for which one of them is shown
const NARROW = 320; // pixels below which a field is named by the end of its path
const MOST = 2; // snippets of a row
const UNSEARCHED = ["type", "id", "seq", "timestamp", "user_avatar"];
const NO_MARKS = [];

/** Finds `field:value` in an expression, but not where it is left out. */
const ASKED =
  /(?<![^\s(])([\p{L}_](?:[^\s:"()]|"[^"]*")*):(?![:/])((?:[^\s()"]|"[^"]*"?|\([^)]*\)?)+)/gu;

/** Return the fields that an expression compares, each with the text it is compared with. */
export function askedOf(expression) {
  const found = [...expression.matchAll(ASKED)];
  return new Map(found.map(([, field, value]) => [field, value.replaceAll('"', "").toLowerCase()]));
}

/** Return `{ label, text }` for each hit that is in none of the texts of the row, `seen`; for a field
 * of `asked` only if its value is not the one that was asked for, which is no news. `room` is that of
 * the row, in pixels. */
export function snippetsOf(message, seen, marks, asked, room = Infinity) {
  let missing = (marks ?? NO_MARKS).filter((phrase) => !seen.some((text) => hasHit(text, phrase)));
  if (!missing.length && !asked.size) return [];
  const found = [];
  for (const { label: path, field, json } of valuesOf(message)) {
    if (found.length === MOST) break;
    const text = shownOf(json);
    const label = room < NARROW ? path.split(".").at(-1) : path;
    const [hit] = UNSEARCHED.includes(path) ? [] : matches(text, missing);
    if (hit) missing = missing.filter((phrase) => !hasHit(text, phrase));
    const isFound = hit || isNews(text, asked.get(field), seen);
    if (isFound) found.push({ label, text: around(text, hit ?? [0, 0], room) });
  }
  return found;
}

/** Return a text that fits into the room, in pixels, or else begins shortly before its first hit. */
export function slid(text, marks, room, widthOf) {
  const [hit] = marks ? matches(text, marks) : [];
  if (!hit || widthOf(text.slice(0, hit[1])) <= room) return text;
  return `…${text.slice(beginning(text, hit[0], room))}`;
}

/** Return the part of a text that fits into the room. */
export function inSight(text, room, widthOf) {
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (widthOf(text.slice(0, middle)) <= room) low = middle;
    else high = middle - 1;
  }
  return text.slice(0, low);
}

function hasHit(text, phrase) {
  return matches(text, [phrase]).length > 0;
}

function isNews(text, wanted, seen) {
  if (wanted === undefined || text.toLowerCase() === wanted) return false;
  return !seen.some((one) => one === text || one.split(/[\s#%]+/).includes(text));
}

function around(text, [from, to], room) {
  const begin = beginning(text, from, room);
  const end = Math.min(text.length, to + AROUND * 2);
  return `${begin ? "…" : ""}${text.slice(begin, end)}${end < text.length ? "…" : ""}`;
}

/** Where a snippet begins: at a word, or between two characters where there is none. */
function beginning(text, from, room) {
  const before = Math.max(2, Math.min(AROUND, Math.floor(room / PIXELS_EACH)));
  const least = Math.max(0, from - before);
  if (!least) return 0;
  const space = text.slice(least, from).search(/\s/);
  if (space >= 0) return least + space + 1;
  return text.codePointAt(least - 1) > 0xffff ? least + 1 : least;
}
