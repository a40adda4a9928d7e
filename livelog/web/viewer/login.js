/* The login, when the server requires one: the reader signs in at the issuer, if the server names one,
 * or gives a token or an API key. */
import { credential } from "./credential.js";
import { nameOf } from "./oauth.js";
import { serviceHere, signIn } from "./signin.js";

const CLOSED_HERE = 1000;
const TOKEN_INVALID = 4001;
const TOKEN_EXPIRED = 4002;

/** Codes of the API that another token can change → the reason to ask for one. */
const REASONS = {
  4000: "This server requires a token",
  [TOKEN_INVALID]: "The token is not valid",
  [TOKEN_EXPIRED]: "The token has expired",
};

/** Whether a code asks for another token; the login tells of it, and nothing else has to. */
export function isOfLogin(code) {
  return Object.hasOwn(REASONS, code);
}

/** Whether a connection that ended with this code waits for the login, which may have closed it. */
export function needsLogin(code) {
  return code === CLOSED_HERE || isOfLogin(code);
}

export class Login {
  #live;
  #parts;
  #service = null;
  #issue = ""; // the last one, in the server's words

  /** `parts`: dialog, form, reason, token, place and button (of signing in). */
  constructor(live, parts) {
    this.#live = live;
    this.#parts = parts;
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      credential.give(parts.token.value.trim());
      location.reload(); // the address holds the view
    });
    parts.button.addEventListener("click", () => this.#signIn());
    live.on("error", ({ code, message, details }) => {
      if (isOfLogin(code)) this.#issue = details.issue ?? message;
    });
    live.on("state", ({ name, code }) => {
      if (name === "stopped" || name === "waiting") this.refused(code);
      if (this.#parts.dialog.open) this.#disconnect();
    });
  }

  /** A request was refused with this code: ask for another token if that can change it. `issue` is
   * what was wrong, in the server's words. */
  refused(code, issue = this.#issue) {
    if (!isOfLogin(code)) return;
    const { session } = credential;
    if (session && clocksDiffer(code, issue)) return this.ask(wordsOnClocks(session));
    if (code === TOKEN_EXPIRED && credential.isRenewable) return; // the client renews it
    this.ask(issue && code === TOKEN_INVALID ? `${REASONS[code]}: ${issue}.` : `${REASONS[code]}.`);
  }

  /** Ask for a credential, for a reason. */
  ask(reason) {
    if (this.#parts.dialog.open) return; // the first reason says most
    credential.forget();
    this.#parts.reason.textContent = reason;
    this.#parts.dialog.showModal();
    this.#disconnect();
    this.#offer();
  }

  /** Show the login again, after the reader has closed it. */
  open() {
    if (!this.#parts.dialog.open) this.#parts.dialog.showModal();
  }

  /** Close the connection, which has nothing to wait for any more; not while it is being made, for
   * browsers complain of that. */
  #disconnect() {
    if (this.#live.state.name !== "connecting") this.#live.close();
  }

  async #offer() {
    const { place, button, token } = this.#parts;
    this.#service = await serviceHere();
    place.hidden = this.#service === null;
    if (this.#service === null) return;
    button.textContent = `Sign in at ${nameOf(this.#service)}`;
    if (!token.value) button.focus();
  }

  async #signIn() {
    const { button, reason } = this.#parts;
    button.disabled = true;
    try {
      await signIn(this.#service);
    } catch (error) {
      reason.textContent = error.message;
    }
    button.disabled = false; // also for a reader who comes back by the browser's own button
  }
}

/** Whether a token that has just come is refused for its times. */
function clocksDiffer(code, issue) {
  if (code === TOKEN_INVALID) return issue.endsWith("in the future");
  return code === TOKEN_EXPIRED && credential.isTooYoungToExpire();
}

function wordsOnClocks({ service }) {
  const clocks = `The clocks of ${nameOf(service)} and of this server differ`;
  return `${clocks}: a token that has just come is not valid here.`;
}
