/* Values that the browser keeps for this page. Storage that is full, forbidden or damaged is no
 * fault: then a value lasts as long as the page. */
import { fragment } from "./fragment.js";

const PREFIX = "livelog.";

/** Return a value that was kept; undefined without one. */
export function stored(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name)) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Return the choices that were kept, and over them those in the address, which hold for this page
 * alone. */
export function keptChoices() {
  const own = [...fragment()];
  const known = { true: true, false: false };
  return { ...stored("settings"), ...Object.fromEntries(own.map(([name, value]) => [name, known[value] ?? value])) };
}

/** Keep a value; return whether it is kept beyond this page. */
export function store(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}
