/* Highlighting of the words of a search. Words in double quotes belong together. */
import { END, searchable, traced, words } from "./folding.js";

/** Return the phrases of `query`, each a list of words that stand together; null without any. */
export function marksOf(query) {
  const found = new Map();
  for (const [, quoted, plain] of query.matchAll(/"([^"]*)"?|((?:[^"\s]|\ufeff)+)/g)) {
    const all = words(searchable(quoted ?? plain)).map(({ text }) => text);
    const parts = all.filter((text) => text !== END);
    const phrases = quoted === undefined ? parts.map((part) => [part]) : [parts];
    for (const phrase of phrases) if (phrase.length) found.set(phrase.join(" "), phrase);
  }
  return found.size ? [...found.values()] : null;
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
  if (phrase.length > 1) yield* sideBySide(phrase, all);
  else for (const word of all) yield* inside(phrase[0], word);
}

function* inside(part, { text, index }) {
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) {
    yield [index + at, index + at + part.length];
  }
}

/**
 * Find where the words of a phrase follow each other; punctuation may stand in between.
 *
 * `reached[place]` is where a phrase began whose words before `place` have been found: all are
 * followed at once, so that each word of the text is read once.
 */
function* sideBySide(phrase, all) {
  let reached = [];
  for (const { text, index, punctuation } of all) {
    if (!reached.length && !text.includes(phrase[0])) continue;
    const next = [];
    const reach = (place, from) => (next[place] = Math.min(from, next[place] ?? from));
    for (let place = phrase.length - 1; place >= 0; place -= 1) {
      const at = text.indexOf(phrase[place]);
      const from = place ? reached[place] : index + at;
      if (from === undefined) continue;
      if (at < 0 && punctuation && place) reach(place, from);
      else if (at >= 0 && place + 1 < phrase.length) reach(place + 1, from);
      else if (at >= 0) yield [from, index + at + phrase[place].length];
    }
    reached = next;
  }
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
