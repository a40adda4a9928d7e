/* Who looks: a token or an API key, asked for when the server wants one.
 *
 * It is kept for this tab only, and shown to the server in band and in a header, never in an
 * address.
 */
const KEPT = "livelog.token";

/** Codes that another token can change. */
const REFUSED = {
  4000: "This server asks who you are.",
  4001: "The token is not valid.",
  4002: "The token has expired.",
};

export function token() {
  return sessionStorage.getItem(KEPT);
}

/** What says over HTTP who we are. */
export function proof() {
  return token() === null ? {} : { Authorization: `Bearer ${token()}` };
}

export class Identity {
  #parts;

  /** `parts`: dialog, form, why, token. */
  constructor(live, parts) {
    this.#parts = parts;
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEPT, parts.token.value.trim());
      location.reload(); // the address holds what is looked at
    });
    live.on("state", ({ name, code }) => {
      if (name === "stopped") this.refused(code);
    });
  }

  /** Something was refused: if another token can change that, it is asked for. */
  refused(code) {
    if (code in REFUSED) this.#ask(REFUSED[code]);
  }

  #ask(why) {
    if (this.#parts.dialog.open) return; // the first reason says most
    sessionStorage.removeItem(KEPT);
    this.#parts.why.textContent = why;
    this.#parts.dialog.showModal();
  }
}
