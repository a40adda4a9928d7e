/* The named parts of the address' fragment: `#density=compact&audit=block`. */
import { whenSettled } from "./steps.js";

/** Return the parts; those without a value have an empty one. */
export function fragment() {
  return new URLSearchParams(location.hash.slice(1));
}

const handlers = [];

/** Call `handler` each time that a part has changed, here or in the browser's address bar. */
export function followFragment(handler) {
  handlers.push(handler);
  addEventListener("hashchange", handler);
}

/** Give some parts values, or remove those whose value is null; the others stay as they are. */
export function changeFragment(values) {
  whenSettled(() => change(values));
}

function change(values) {
  const own = fragment();
  for (const [name, value] of Object.entries(values)) {
    if (value === null) own.delete(name);
    else own.set(name, value);
  }
  const text = String(own).replace(/=(?=&|$)/g, "");
  const hash = text && `#${text}`;
  if (location.hash === hash) return;
  history.replaceState(history.state, "", location.pathname + location.search + hash);
  for (const handler of handlers) handler();
}
