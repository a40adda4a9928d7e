/* Ids made by the client. */

/** Return a function that counts: the ids of the requests of one client. */
export function requestIds() {
  let count = 0;
  return () => {
    count += 1;
    return `js-${count}`;
  };
}

/** A random id for a message, so that publishing it twice stores it once. */
export function messageId() {
  // `randomUUID` is missing on pages that came over plain HTTP from another machine.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `js_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
