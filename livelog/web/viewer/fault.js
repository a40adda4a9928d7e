/* The fault of an expression: where it is, and what is wrong, under the search box. */
import { element } from "./element.js";

export class Fault {
  #search;
  #place;

  constructor(search, place) {
    this.#search = search;
    this.#place = place;
  }

  /** Show the fault that `error` tells of in `text`, if it is one of the expression; return whether
   * it is. */
  show(error, text) {
    const column = error?.details?.column;
    const found = Boolean(text && Number.isInteger(column));
    this.#place.hidden = !found;
    this.#search.setAttribute("aria-invalid", String(found));
    if (!found) return false;
    const [before, at, after] = splitAt(text, column);
    const issue = error.details.issue ?? error.message;
    const shown = element("code");
    shown.append(before, element("span", "here", at), after);
    this.#place.replaceChildren(shown, element("span", "", `Column ${column}: ${issue}`));
    return true;
  }
}

/** Divide a text at a column, which counts code points from 1 on: the word that begins there, at
 * least a space, is in the middle. */
export function splitAt(text, column) {
  const points = [...text];
  const before = points.slice(0, column - 1).join("");
  const rest = points.slice(column - 1).join("");
  const at = /^\S+/.exec(rest)?.[0] ?? " ";
  return [before, at, rest.slice(at.length)];
}
