/* Completion of an expression: which word is being typed, and what it may become. */
import { condition, NAMES, ROOTS } from "./expression.js";

const LEAST = 2; // letters of a field from which it is completed
const MOST = 12; // suggestions
const TYPED = /^-?(?:([\p{L}_](?:[^\s:"()]|"[^"]*")*):)?/u;
const FIELD = /^-?[\p{L}_][\p{L}\p{N}_."-]*$/u;

/** Return the word before the caret: `{ start, end, field, prefix }`, where `field` is the one whose
 * value is being typed, or "" while its name is; null where nothing can be completed. */
export function wordAt(text, caret) {
  const before = text.slice(0, caret);
  let start = 0;
  let inQuotes = false;
  for (let at = 0; at < caret; at += 1) {
    if (before[at] === '"') inQuotes = !inQuotes;
    else if (!inQuotes && /[\s(]/.test(before[at])) start = at + 1;
  }
  const typed = before.slice(start);
  const [head, field = ""] = TYPED.exec(typed);
  if (!field && !FIELD.test(typed)) return null;
  const negation = !field && typed.startsWith("-") ? 1 : 0;
  const begin = start + (field ? head.length + lastValue(typed.slice(head.length)) : negation);
  return { start: begin, end: caret, field, prefix: before.slice(begin).replace(/^"/, "") };
}

/** Return where the last one of values with commas between them begins. */
function lastValue(values) {
  let end = 0;
  let inQuotes = false;
  for (let at = 0; at < values.length; at += 1) {
    if (values[at] === '"') inQuotes = !inQuotes;
    else if (!inQuotes && values[at] === ",") end = at + 1;
  }
  return end;
}

/** Return the texts that a field's name may become; `known` are paths that messages have. */
export function fieldsFor(prefix, known = []) {
  if (prefix.length < LEAST) return [];
  const wanted = prefix.toLowerCase();
  const all = [...NAMES, ...known.filter((name) => name.includes(".")), ...ROOTS.map((root) => `${root}.`)];
  const found = [...new Set(all)].filter((name) => name.toLowerCase().startsWith(wanted));
  return found.slice(0, MOST).map((name) => (name.endsWith(".") ? name : `${name}:`));
}

/** Return the texts that a field's value may become, of the values that are known. */
export function valuesFor(field, prefix, known) {
  const wanted = prefix.toLowerCase();
  const found = known.filter((value) => String(value).toLowerCase().startsWith(wanted));
  const written = found.map((value) => condition(field, JSON.stringify(value))?.slice(field.length + 1));
  return written.filter(Boolean).slice(0, MOST);
}
