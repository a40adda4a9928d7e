/* Highlighting of the words of a search. Words in double quotes belong together. */

/** Return an expression that finds every word of `query`; null when there is none. */
export function marksOf(query) {
  const found = [...query.matchAll(/"([^"]*)"?|[^\s"]+/g)].map(([all, quoted]) => quoted ?? all);
  const parts = found.map((part) => part.trim()).filter(Boolean).map(pattern);
  return parts.length ? new RegExp(parts.join("|"), "giu") : null;
}

/** Return the text as nodes, each match in a <mark>. */
export function highlighted(text, marks) {
  if (!marks) return [document.createTextNode(text)];
  const nodes = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(marks)) {
    const mark = document.createElement("mark");
    mark.textContent = found;
    nodes.push(document.createTextNode(text.slice(end, index)), mark);
    end = index + found.length;
  }
  nodes.push(document.createTextNode(text.slice(end)));
  return nodes;
}

function pattern(part) {
  const escaped = part.replace(/[\\^$.*+?()[\]{}|/]/gu, "\\$&");
  return escaped.replace(/\s+/gu, "[\\s\\p{P}]+");
}
