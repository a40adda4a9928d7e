/* JSON as text: its parts and tokens as they are written, so that numbers keep all their digits.
 * The text has been parsed before, so it is known to be JSON. */

const OPEN = "{[";
const CLOSE = "}]";
const BETWEEN = ",: \t\r\n";
const ENDS = OPEN + CLOSE + BETWEEN;

/** Return the elements of the array with this name in an object, each as it is written. */
export function elementsOf(text, name) {
  const key = JSON.stringify(name);
  const members = partsOf(text, text.indexOf("{"));
  for (let place = members.length - 2; place >= 0; place -= 2) {
    // The last one of members with equal names counts.
    if (members[place] === key) return partsOf(members[place + 1], 0);
  }
  return [];
}

/** Return the elements of an array, each as it is written. */
export function itemsOf(text) {
  return partsOf(text, text.indexOf("["));
}

/** Return the texts of the values directly inside of the bracket at `at`; names count as values. */
function partsOf(text, at) {
  const parts = [];
  let end = at + 1;
  while (end < text.length && !CLOSE.includes(text[end])) {
    const begin = end;
    end = BETWEEN.includes(text[begin]) ? begin + 1 : valueEnd(text, begin);
    if (!BETWEEN.includes(text[begin])) parts.push(text.slice(begin, end));
  }
  return parts;
}

function valueEnd(text, at) {
  let depth = 0;
  let end = at;
  do {
    if (OPEN.includes(text[end])) depth += 1;
    else if (CLOSE.includes(text[end])) depth -= 1;
    end = tokenEnd(text, end);
  } while (depth > 0 && end < text.length);
  return end;
}

/** Return the tokens of a text: brackets, commas, colons, strings, numbers and words. */
export function tokensOf(text) {
  const tokens = [];
  for (let at = 0, end = 0; at < text.length; at = end) {
    end = tokenEnd(text, at);
    if (text.charCodeAt(at) > 32) tokens.push(text.slice(at, end));
  }
  return tokens;
}

function tokenEnd(text, at) {
  if (text[at] === '"') return stringEnd(text, at);
  let end = at + 1;
  if (!ENDS.includes(text[at])) while (end < text.length && !ENDS.includes(text[end])) end += 1;
  return end;
}

function stringEnd(text, at) {
  let end = at;
  do end = text.indexOf('"', end + 1);
  while (end > 0 && isEscaped(text, end));
  return end < 0 ? text.length : end + 1;
}

function isEscaped(text, at) {
  let begin = at;
  while (text[begin - 1] === "\\") begin -= 1;
  return (at - begin) % 2 === 1;
}
