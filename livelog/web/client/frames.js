/* Frames: commands on their way out, checked before anything is sent or kept, and events and
 * messages on their way in, as far as this client can read them.
 */
import { LiveLogError, PROTOCOL_ERROR, TOO_BIG } from "./errors.js";
import { tokensOf } from "./jsontext.js";

/** Levels beyond which a parser may give up before it has found the request's id. The server takes
 * fewer, but says so itself. */
const MAX_DEPTH = 256;

/** Return a command as JSON. Throws a `LiveLogError` if JSON or UTF-8 has no form for it. */
export function encode(command) {
  const text = toJson(command);
  if (isDeep(text)) throw refused("", `nested deeper than ${MAX_DEPTH} levels`);
  // JSON writes the half of a surrogate pair as an escape, which no server can read as text.
  if (text.includes("\\ud")) refuseHalfPairs(JSON.parse(text), []);
  return text;
}

function toJson(command) {
  try {
    return JSON.stringify(command);
  } catch (error) {
    throw refused("", `cannot be written as JSON: ${error?.message ?? error}`);
  }
}

function isDeep(text) {
  let depth = 0;
  let deepest = 0;
  // Brackets in strings count as well, but few texts have so many.
  if (text.split(/[[{]/, MAX_DEPTH + 1).length <= MAX_DEPTH) return false;
  for (const token of tokensOf(text)) {
    if (token === "{" || token === "[") depth += 1;
    else if (token === "}" || token === "]") depth -= 1;
    deepest = Math.max(deepest, depth);
  }
  return deepest > MAX_DEPTH;
}

/** With the flag `u`, only halves without their other half are surrogates. */
const HALF_PAIR = /\p{Surrogate}/u;

function refuseHalfPairs(value, path) {
  if (typeof value === "string") {
    if (HALF_PAIR.test(value)) throw halfPair(path);
  } else if (typeof value === "object") {
    for (const [name, inner] of Object.entries(value ?? {})) {
      if (HALF_PAIR.test(name)) throw halfPair(path);
      refuseHalfPairs(inner, [...path, name]);
    }
  }
}

function halfPair(path) {
  const issue = "holds half of a surrogate pair, which is no text: a cut emoji, for example";
  return refused(path.join("."), issue);
}

/** Make the error of a command that is not sent. */
export function refused(field, issue) {
  const words = field ? `${field}: ${issue}` : issue;
  return new LiveLogError(PROTOCOL_ERROR, words, { field, issue });
}

/** Return the object in a frame, or the array of messages; null if there is none that this client
 * can read. */
export function decode(data) {
  if (typeof data !== "string") return null; // binary frames are not used
  try {
    const value = JSON.parse(data);
    return value !== null && typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

/** Whether a value is a position in the log. */
export function isSeq(value) {
  return Number.isSafeInteger(value) && value >= 0;
}

/** Number of bytes of a text in UTF-8. */
export function byteLength(text) {
  return new TextEncoder().encode(text).length;
}

/** The size of the longest message that the server takes, as far as it has named one. */
export class SizeLimit {
  #bytes = Infinity;

  /** Note what a `connected` event says. */
  learn({ max_message_bytes: bytes }) {
    this.#bytes = Number.isSafeInteger(bytes) && bytes > 0 ? bytes : Infinity;
  }

  /** Return the error of a text that is too long; null if it may be sent. */
  refusal(text) {
    // A UTF-16 unit has at most three bytes, so most texts need not be measured.
    if (text.length * 3 <= this.#bytes) return null;
    const bytes = byteLength(text);
    return bytes > this.#bytes ? tooBig(bytes, `the server takes ${this.#bytes}`) : null;
  }
}

/** Make the error of a command with so many bytes. */
export function tooBig(bytes, bound) {
  return new LiveLogError(TOO_BIG, `the command has ${bytes} bytes; ${bound}`, { bytes });
}
