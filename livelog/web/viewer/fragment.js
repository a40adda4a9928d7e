/* The named parts of the address' fragment: `#density=compact&audit=block`. */

/** Return the parts; those without a value have an empty one. */
export function fragment() {
  return new URLSearchParams(location.hash.slice(1));
}

/** Give some parts values, or remove those whose value is null; the others stay as they are. */
export function changeFragment(values) {
  const own = fragment();
  for (const [name, value] of Object.entries(values)) {
    if (value === null) own.delete(name);
    else own.set(name, value);
  }
  const text = String(own).replace(/=(?=&|$)/g, "");
  const hash = text && `#${text}`;
  if (location.hash !== hash) history.replaceState(history.state, "", location.pathname + location.search + hash);
}
