/* The values of a message one by one, as they were delivered: where each stands, and its JSON. */
import { textOf } from "./exact.js";
import { fieldOf } from "./expression.js";
import { tokensOf } from "../client/jsontext.js";

/** Return `{ label, field, json }` for each value of a message: its place for readers, the field
 * that expressions name it by or null, and its JSON. Empty objects and lists are values, too. */
export function valuesOf(message) {
  const tokens = tokensOf(textOf(message));
  const found = [];
  const path = [];
  let at = 0;
  const add = (json, field) => found.push({ label: labelOf(path), field, json });

  const value = () => {
    const token = tokens[at++];
    if (token !== "{" && token !== "[") add(token, fieldOf(path));
    else if ("}]".includes(tokens[at])) add(token + tokens[at++], null);
    else inside(token === "{");
  };
  const inside = (isObject) => {
    for (let place = 0; ; place += 1) {
      path.push(isObject ? JSON.parse(tokens[at]) : place);
      if (isObject) at += 2; // the name and its colon
      value();
      path.pop();
      if (tokens[at++] !== ",") return;
    }
  };
  value();
  return found;
}

/** Return the fields that rows have; a gap row has none. */
export function fieldsIn(rows) {
  const messages = rows.filter(({ type }) => type !== "gap");
  return messages.flatMap((message) => valuesOf(message).flatMap(({ field }) => field ?? []));
}

/** Return a value as its reader sees it: a string without quotes, all else as it is written. */
export function shownOf(json) {
  return json[0] === '"' ? JSON.parse(json) : json;
}

/** Return the parts of a text, of which those with `href` are addresses of http or https. */
export function linksIn(text) {
  const parts = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(/\bhttps?:\/\/[^\s<>"'`]*[^\s<>"'`.,;:!?)\]}]/gi)) {
    if (!URL.canParse(found)) continue;
    if (index > end) parts.push({ text: text.slice(end, index) });
    parts.push({ text: found, href: new URL(found).href });
    end = index + found.length;
  }
  if (end < text.length || !parts.length) parts.push({ text: text.slice(end) });
  return parts;
}

function labelOf(path) {
  return path.map((part, place) => (typeof part === "number" ? `[${part}]` : `${place ? "." : ""}${part}`)).join("");
}
