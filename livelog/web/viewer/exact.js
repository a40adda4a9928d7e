/* Messages as they were delivered. A browser's numbers have 53 bits; those of a message may have
 * more, and its text has all of them. */
import { rawOf } from "../client/livelog.js";
import { tokensOf } from "../client/jsontext.js";

/** Texts with a number that may be changed by reading it; others need not be taken apart. */
const SUSPECT = /9\d{15}|[\d.]{17}|\d[eE]|-0/;
const NUMBER = /^[-\d]/;

/** Return the JSON of a message in one line. */
export function textOf(message) {
  const text = rawOf(message);
  if (text === undefined) return JSON.stringify(message);
  return /[\r\n]/.test(text) ? tokensOf(text).join("") : text;
}

/** Return a message in which numbers that would be changed are texts with all their digits. */
export function exactly(message) {
  const text = rawOf(message);
  if (text === undefined || !SUSPECT.test(text)) return message;
  const tokens = tokensOf(text);
  if (!tokens.some(isChanged)) return message;
  return JSON.parse(tokens.map((token) => (isChanged(token) ? `"${token}"` : token)).join(""));
}

/** Return the first number in a JSON text that this page could not send as it is written. */
export function unsendable(text) {
  return tokensOf(text).find((token) => isChanged(token) && !isExact(token));
}

function isChanged(token) {
  return NUMBER.test(token) && String(Number(token)) !== token;
}

/** Whether a number keeps its value, though perhaps not its form, such as 1.0 and 1e3. */
function isExact(token) {
  const number = Number(token);
  return /^-?\d+$/.test(token) ? Number.isSafeInteger(number) : Number.isFinite(number);
}

/** Return JSON with a line for each part, indented. */
export function indented(text) {
  let depth = 0;
  let shown = "";
  const tokens = tokensOf(text);
  const lineBreak = () => `\n${"  ".repeat(depth)}`;
  tokens.forEach((token, place) => {
    const empty = "{[".includes(token) && "}]".includes(tokens[place + 1]);
    const closed = "}]".includes(token) && "{[".includes(tokens[place - 1]);
    if ("}]".includes(token)) {
      depth -= 1;
      shown += closed ? token : lineBreak() + token;
    } else if ("{[".includes(token)) {
      depth += 1;
      shown += empty ? token : token + lineBreak();
    } else if (token === ",") shown += token + lineBreak();
    else shown += token === ":" ? ": " : token;
  });
  return shown;
}
