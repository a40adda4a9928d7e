/* The view: types, filters, words, dates, the place, and the columns; to and from the page's address.
 *
 * The rule: a view is plain data, equal views have equal addresses, and the address holds all of
 * it, so that a view can be bookmarked and shared. Other parameters of an address are ignored.
 */
import { TYPES } from "../client/livelog.js";
import { including } from "./expression.js";
import { dateOf } from "./time.js";

/** The filters that compare one field with one value. */
export const FIELDS = [
  "user_id",
  "username",
  "channel",
  "server",
  "event",
  "severity",
  "status",
  "raid_id",
  "party_id",
  "guild_id",
];

export const EVERYTHING = { types: TYPES, text: "", fields: {}, from: "", to: "", at: null, columns: [] };

const MAX_COLUMN = 200; // characters of a field's name
const MOST_COLUMNS = 12;

export function fromAddress(search) {
  const given = new URLSearchParams(search);
  const named = (given.get("types") ?? "").split(",");
  const types = TYPES.filter((type) => named.includes(type));
  const fields = FIELDS.filter((name) => given.get(name)).map((name) => [name, given.get(name)]);
  const at = Number(given.get("at"));
  return {
    types: types.length ? types : TYPES,
    text: (given.get("q") ?? "").trim(),
    fields: Object.fromEntries(fields),
    from: momentOf(given.get("from")),
    to: momentOf(given.get("to")),
    at: Number.isSafeInteger(at) && at > 0 ? at : null,
    columns: columnsIn(given.getAll("column")),
  };
}

/** Return the columns in what was given: names of fields, each once. */
export function columnsIn(given) {
  if (!Array.isArray(given)) return [];
  const names = given.filter((name) => typeof name === "string" && name && name.length <= MAX_COLUMN);
  return [...new Set(names)].slice(0, MOST_COLUMNS);
}

export function toAddress({ types, text, fields, from, to, at, columns }) {
  const all = types.length === TYPES.length;
  const parts = { types: all ? "" : types.join(), q: text, ...fields, from, to, at: at ?? "" };
  const pairs = [...Object.entries(parts), ...columns.map((column) => ["column", column])];
  const given = pairs.filter(([, value]) => value !== "");
  // A comma and a colon are allowed in a query, and are easier to read so.
  const encoded = new URLSearchParams(given).toString();
  const search = encoded.replaceAll("%2C", ",").replaceAll("%3A", ":");
  return search ? `?${search}` : "";
}

/** Finds the signs of an expression: an operator, a field, a parenthesis, a word left out or one that
 * is only begun. */
const EXPRESSION =
  /(?<![^\s(])(?:(?:AND|OR|NOT)(?!\S)|[-(]|[\p{L}_](?:[^\s:"()]|"[^"]*")*:\S)|[\p{L}\p{N}_"]\*(?![^\s)])/u;

/** Finds what is no word to look for: what is left out, fields, operators. */
const NO_WORDS =
  /(?<![^\s(])(?:(?:-|NOT\s+|[\p{L}_](?:[^\s:"()]|"[^"]*")*:(?![:/]))(?:[^\s()"]|"[^"]*"?|\([^)]*\)?)+|(?:AND|OR)(?!\S))/gu;

/** Whether a search is an expression, not words alone. */
export function isExpression(text) {
  return EXPRESSION.test(text);
}

/** The words of a search that are marked in what it finds. */
export function wordsOf({ text }) {
  return isExpression(text) ? text.replace(NO_WORDS, " ") : text;
}

/** The conditions besides the types, as the protocol names them. */
export function filtersOf({ text, fields, from, to }) {
  const words = isExpression(text) ? { where: text } : { text };
  const filters = { ...fields, ...words, date_from: from, date_to: to };
  return Object.fromEntries(Object.entries(filters).filter(([, value]) => value !== ""));
}

/** Return a view with one condition more; a type alone is one of the types, as the boxes show it. */
export function narrowed(view, wanted) {
  const [, not, type] = /^(-?)type:(\w+)$/.exec(wanted) ?? [];
  if (!TYPES.includes(type)) return { ...view, text: including(view.text, wanted), at: null };
  const others = view.types.filter((one) => one !== type);
  return { ...view, types: not ? (others.length ? others : TYPES) : [type], at: null };
}

/** The whole address of a message in a view. */
export function linkTo(view, { seq }) {
  return `${location.origin}${location.pathname}${toAddress({ ...view, at: seq })}`;
}

/** A view in a few words, without its columns; "" if it is of everything. */
export function nameOf({ types, text, fields, from, to }) {
  const some = types.length < TYPES.length ? types.join(", ") : "";
  const range = from || to ? `${from.slice(0, 16)} – ${to.slice(0, 16)}` : "";
  return [text, some, ...Object.values(fields), range].filter(Boolean).join(" · ");
}

/** Count the conditions besides types and words. */
export function countFilters({ fields, from, to }) {
  return Object.keys(fields).length + (from ? 1 : 0) + (to ? 1 : 0);
}

function momentOf(text) {
  const date = dateOf(text);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}
