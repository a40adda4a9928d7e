/* Highlighting of the words of a search. Words in double quotes belong together. */
import { searchable, traced, words } from "./folding.js";

/** Return the phrases of `query`, each a list of words that stand together; null without any. */
export function marksOf(query) {
  const found = [];
  for (const [, quoted, plain] of query.matchAll(/"([^"]*)"?|([^"\s]+)/g)) {
    const parts = words(searchable(quoted ?? plain)).map(({ text }) => text);
    if (quoted === undefined) found.push(...parts.map((part) => [part]));
    else if (parts.length) found.push(parts);
  }
  return found.length ? found : null;
}

/** Return the text as nodes, each match in a <mark>. */
export function highlighted(text, marks) {
  const nodes = [];
  let end = 0;
  for (const [from, to] of marks ? matches(text, marks) : []) {
    const mark = document.createElement("mark");
    mark.textContent = text.slice(from, to);
    nodes.push(document.createTextNode(text.slice(end, from)), mark);
    end = to;
  }
  nodes.push(document.createTextNode(text.slice(end)));
  return nodes;
}

/** Return where the phrases stand in `text`: starts and ends, in order and apart. */
export function matches(text, marks) {
  const { folded, starts, ends } = traced(text);
  const all = words(folded);
  const found = marks.flatMap((phrase) => [...places(phrase, all)]);
  const original = found.map(([from, to]) => (starts ? [starts[from], ends[to - 1]] : [from, to]));
  return joined(original);
}

function* places(phrase, all) {
  for (let at = 0; at < all.length; at += 1) {
    if (phrase.length === 1) yield* inside(phrase[0], all[at]);
    else if (all[at].text.includes(phrase[0])) {
      const end = endOf(phrase, all, at);
      if (end !== null) yield [all[at].index + all[at].text.indexOf(phrase[0]), end];
    }
  }
}

function* inside(part, { text, index }) {
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) {
    yield [index + at, index + at + part.length];
  }
}

/** Return where a phrase ends that begins in the word at `at`; punctuation may stand in between. */
function endOf(phrase, all, at) {
  let end = null;
  for (const part of phrase) {
    while (at < all.length && all[at].punctuation && !all[at].text.includes(part)) at += 1;
    if (at >= all.length || !all[at].text.includes(part)) return null;
    end = all[at].index + all[at].text.indexOf(part) + part.length;
    at += 1;
  }
  return end;
}

function joined(ranges) {
  const apart = [];
  for (const [from, to] of ranges.sort(([one], [other]) => one - other)) {
    const last = apart.at(-1);
    if (last && from < last[1]) last[1] = Math.max(last[1], to);
    else apart.push([from, to]);
  }
  return apart;
}
