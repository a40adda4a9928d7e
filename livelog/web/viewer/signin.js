/* The way to the issuer and back, for a reader who signs in. Between the two pages this tab keeps what
 * the answer is compared with, and the page to come back to.
 */
import { begun, checkIsThere } from "./oauth.js";

const PENDING = "livelog.signin";
const PROBLEM = "livelog.signin.problem";

/** Return how to sign in here; null where a token or an API key is all there is. */
export async function serviceHere() {
  try {
    const service = await (await fetch("./api/sign-in", { cache: "no-store" })).json();
    return service.issuer ? service : null;
  } catch {
    return null; // the server is away, or one of an earlier version
  }
}

/** Leave for the service, with the whole tab, for it is not shown in a frame. The answer comes to the
 * page `sign-in.html`. */
export async function signIn(service) {
  const redirect = new URL("./viewer/sign-in.html", document.baseURI).href;
  const { address, pending } = await begun(service, redirect);
  await checkIsThere(service);
  sessionStorage.setItem(PENDING, JSON.stringify({ ...pending, back: top.location.href }));
  top.location.assign(address);
}

/** The sign-in whose answer comes, which is good for one answer; null without one. */
export function takePending() {
  return JSON.parse(taken(PENDING) ?? "null");
}

/** Tell the viewer what went wrong; it shows that once, on its next start. */
export function tellProblem(words) {
  sessionStorage.setItem(PROBLEM, words);
}

/** The words of a problem that were told; null without. */
export function takeProblem() {
  return taken(PROBLEM);
}

function taken(name) {
  const text = sessionStorage.getItem(name);
  sessionStorage.removeItem(name);
  return text;
}
