/* Expressions of the search box as text: the conditions that all must hold, and one more or less.
 *
 * The server reads them (livelog/index/where); here they are only taken apart at the top, where
 * white space separates conditions, and what is added is quoted so that it means itself.
 */

const QUOTES = '"“”„';
const NEGATED = /^-(?=[\p{L}_(“”„"])/u;
const BARE_VALUE = /^[\p{L}_][\p{L}\p{N}_@-]*$/u;
const BARE_NAME = /^[\p{L}_][\p{L}\p{N}_-]*$/u;
const LITERAL = /^(?:-?\d[\d.eE+-]*|true|false)$/;
const MAX_VALUE = 500; // characters; an expression has at most 2000

/** Names of the schema that a condition can begin with, and roots of paths. */
export const NAMES = [
  ...["type", "id", "timestamp", "user_id", "username", "user_avatar", "user_badge", "content"],
  ...["event", "severity", "from_user_id", "from_username", "to_user_id", "read", "raid_id"],
  ...["raid_name", "boss_name", "difficulty", "status", "health_percentage", "duration_seconds"],
  ...["party_id", "leader_id", "leader_name", "member_count", "guild_id", "guild_name"],
  ...["guild_level", "channel", "server", "author_id"],
];
export const ROOTS = ["metadata", "data", "event_data", "participants"];

/** Return the field that a path into a message is; null where none can be named. */
export function fieldOf(path) {
  const [root, ...rest] = path.filter((segment) => typeof segment === "string");
  if (rest.length ? !ROOTS.includes(root) : !NAMES.includes(root)) return null;
  return [root, ...rest.map((name) => (BARE_NAME.test(name) ? name : quoted(name)))].join(".");
}

const NAME = /^[\p{L}_][\p{L}\p{N}_-]*(?:\.(?:[\p{L}_][\p{L}\p{N}_-]*|"(?:[^"\\]|\\.)*"))*$/u;
const UNCOUNTED = ["id", "timestamp", "content"];

/** Whether messages can be counted by the values of a field: whether there is such a field, and its
 * values are not as many as messages. */
export function isCounted(field) {
  const [root] = field.toLowerCase().split(".");
  if (!NAME.test(field)) return false;
  if (field.includes(".")) return ROOTS.includes(root);
  return NAMES.includes(root) && !UNCOUNTED.includes(root);
}

/** Return the condition that a field has a value, which is given as JSON; null if it cannot be
 * written. */
export function condition(field, json) {
  if (json === "null") return `-${field}:*`;
  if (LITERAL.test(json)) return `${field}:${json}`;
  const text = JSON.parse(json);
  if (typeof text !== "string" || text.length > MAX_VALUE) return null;
  return `${field}:${isBare(text) ? text : quoted(text)}`;
}

/** Whether a text means itself without quotes. The server folds letters before it looks for a boolean. */
function isBare(text) {
  const folded = text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  return BARE_VALUE.test(text) && !LITERAL.test(folded);
}

export function quoted(text) {
  return `"${text.replace(/["“”„\\]/g, "\\$&")}"`;
}

/** Return the conditions that must all hold. An expression with OR at the top is one of them. */
export function conditionsOf(text) {
  const whole = closed(text.trim());
  const parts = partsOf(whole);
  if (parts.includes("OR")) return [`(${whole})`];
  // In a text that is all capitals NOT is a word.
  const isShouted = !/\p{Ll}|:/u.test(whole);
  const found = [];
  let not = false;
  for (const part of parts) {
    if (part === "AND") continue;
    if (part === "NOT" && !isShouted) not = !not;
    else {
      found.push(not ? negation(part) : part);
      not = false;
    }
  }
  return found;
}

export function isNegated(condition) {
  return NEGATED.test(condition);
}

/** Return the opposite of a condition. */
export function negation(condition) {
  if (isNegated(condition)) return condition.slice(1);
  const negated = `-${condition}`;
  return isNegated(negated) ? negated : `-(${condition})`;
}

/** Return an expression with one condition more; its opposite is taken out. */
export function including(text, condition) {
  return [...without(text, condition), condition].join(" ");
}

export function excluding(text, condition) {
  return without(text, condition).join(" ");
}

/** Return the expression with the opposite of one of its conditions in the same place. */
export function opposing(text, condition) {
  return conditionsOf(text).map((one) => (one === condition ? negation(one) : one)).join(" ");
}

function without(text, condition) {
  const out = [condition, negation(condition)];
  return conditionsOf(text).filter((one) => !out.includes(one));
}

/** Close a quote that is still being typed. */
function closed(text) {
  const marks = text.replace(/\\./gs, "").match(/["“”„]/g) ?? [];
  return marks.length % 2 ? `${text}"` : text;
}

/** Return what stands between white space outside of quotes and parentheses. */
function partsOf(text) {
  const parts = [];
  let part = "";
  let depth = 0;
  let inQuotes = false;
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at];
    if (inQuotes && sign === "\\") part += text[at++];
    else if (QUOTES.includes(sign)) inQuotes = !inQuotes;
    else if (!inQuotes && sign === "(") depth += 1;
    else if (!inQuotes && sign === ")") depth = Math.max(0, depth - 1);
    if (!inQuotes && !depth && /\s/.test(sign)) {
      if (part) parts.push(part);
      part = "";
    } else part += text[at] ?? "";
  }
  return part ? [...parts, part] : parts;
}
