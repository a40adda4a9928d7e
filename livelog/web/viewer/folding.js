/* Folding and splitting of text, as the server does it (livelog/index/folding.py and text.py). */

const SPACE = "\\s\\x00-\\x1f\\x7f-\\x9f";
export const END = "\0"; // ends a passage, and is a word that no query has
const LETTERS = "\\p{L}\\p{N}_\\u{20000}-\\u{3ffff}";
const FLAGS = "\\u{1f1e6}-\\u{1f1ff}";
const EMOJI = "\\p{So}\\u{e000}-\\u{f8ff}\\u{1f000}-\\u{1faff}\\u{f0000}-\\u{10ffff}";
const HEBREW_POINTS = "\\u0591-\\u05bd\\u05bf\\u05c1\\u05c2\\u05c4\\u05c5\\u05c7\\ufb1e";
const ARABIC_POINTS =
  "\\u0610-\\u061a\\u064b-\\u0652\\u0656-\\u065f\\u0670\\u06d6-\\u06dc\\u06df-\\u06e4\\u06e7\\u06e8" +
  "\\u06ea-\\u06ed\\u0898-\\u089f\\u08ca-\\u08e1\\u08e3-\\u08ff";
const TATWEEL = "\\u0640";
// Belonging to the character before: marks, and the parts of a Korean syllable.
const BELONGING =
  `\\p{M}\\p{Default_Ignorable_Code_Point}${TATWEEL}\\uff9e\\uff9f` +
  "\\u1160-\\u11ff\\ud7b0-\\ud7ff\\u3133\\u3135\\u3136\\u313a-\\u313f\\u314f-\\u3163" +
  "\\uffa3\\uffa5\\uffa6\\uffaa-\\uffaf\\uffc2-\\uffdc";

const IGNORABLE = /\p{Default_Ignorable_Code_Point}+/gu;
const POINTS = new RegExp(`[${HEBREW_POINTS}${ARABIC_POINTS}${TATWEEL}]+`, "gu");
const DOT_OF_I = /([i\u1ecb\u012f\u1e2d])\u0307+/gu;
const LONG_RUN = /([\p{M}\uff9e\uff9f]{30})[\p{M}\uff9e\uff9f]+/gu;
const CHARACTER = new RegExp(`[^${BELONGING}][${BELONGING}]*|[${BELONGING}]+`, "gu");
const WORD = new RegExp(
  `[${LETTERS}][${LETTERS}\\p{M}]*` +
    `|[${FLAGS}]{1,2}` +
    `|[${EMOJI}](?:(?![${FLAGS}])[${EMOJI}\\p{M}])*` +
    `|(?<punctuation>[^${LETTERS}${SPACE}${EMOJI}]+)` +
    `|${END}`,
  "gu",
);
const MAX_EXPANDED = 1000; // characters that become three or more; the others count as spaces
const IS_SPACE = new RegExp(`[${SPACE}]`, "u");
const ASCII = /^[\x00-\x7f]*$/;

/** Return NFKC_Casefold of a text, without the points that searches pass over. */
export function searchable(text) {
  let folded = text;
  if (folded.includes("\u0345")) folded = folded.normalize("NFKC");
  for (let before = null; before !== folded; ) {
    before = folded;
    folded = withoutPoints(foldedCase(folded)).replace(LONG_RUN, "$1").normalize("NFKC");
  }
  return folded;
}

function withoutPoints(text) {
  return text.replace(IGNORABLE, "").replace(POINTS, "").replace(DOT_OF_I, "$1");
}

/** Fold the case: capitals made small again, but for these letters; JavaScript has no call for it. */
function foldedCase(text) {
  const parts = text.replaceAll("\u1e9e", "ss").split("\u0131");
  return parts.map((part) => part.toUpperCase().toLowerCase().replaceAll("ς", "σ")).join("\u0131");
}

/** Fold a text and say where it comes from: `starts` and `ends` of each unit in the original. */
export function traced(text) {
  if (ASCII.test(text)) return { folded: text.toLowerCase(), starts: null, ends: null };
  const known = new Map();
  const starts = [];
  const ends = [];
  let folded = "";
  let expanded = 0;
  for (const { 0: character, index } of text.matchAll(CHARACTER)) {
    if (!known.has(character)) known.set(character, searchable(character));
    let made = known.get(character);
    if (made.length > character.length + 1 && ++expanded > MAX_EXPANDED) made = " ";
    folded += made;
    for (let unit = 0; unit < made.length; unit += 1) {
      starts.push(index);
      ends.push(index + character.length);
    }
  }
  return { folded, starts, ends };
}

/** Return the words of folded text with their places; punctuation counts only between spaces. */
export function words(folded) {
  const found = [];
  for (const { 0: text, index, groups } of folded.matchAll(WORD)) {
    const punctuation = groups.punctuation !== undefined;
    if (!punctuation || (isSpace(folded[index - 1]) && isSpace(folded[index + text.length]))) {
      found.push({ text, index, punctuation });
    }
  }
  return found;
}

function isSpace(unit) {
  return unit === undefined || IS_SPACE.test(unit);
}
