/* The text of each message as the server has sent it. A message as an object has lost something:
 * numbers beyond 2^53 are rounded, names that look like numbers are in another order. */
import { elementsOf, itemsOf } from "./jsontext.js";

const sources = new WeakMap(); // message → its text, or a function that returns it

/** Return the JSON of a message as it was delivered; undefined for any other object. */
export function rawOf(message) {
  const source = sources.get(message);
  return typeof source === "function" ? source() : source;
}

/** Note the text of a message. */
export function keepText(message, text) {
  sources.set(message, text);
}

/** Note the text of a page, in which the messages are the array called `name`. It is taken apart
 * when one of them is asked for. */
export function keepPage(messages, name, text) {
  if (Array.isArray(messages)) keepParts(messages, () => elementsOf(text, name));
}

/** Note the text of an array of messages. */
export function keepBatch(messages, text) {
  keepParts(messages, () => itemsOf(text));
}

function keepParts(messages, takeApart) {
  let raws = null;
  const takenApart = () => (raws ??= takeApart());
  messages.forEach((message, place) => {
    if (message instanceof Object) sources.set(message, () => takenApart()[place]);
  });
}
