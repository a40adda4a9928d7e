/* Who looks: a token or an API key, asked for when the server wants one.
 *
 * It is kept for this tab only, and shown to the server in band and in a header, never in an
 * address.
 */
const KEPT = "livelog.token";

/** Close codes that another token can change. */
const REFUSED = { 4000: "This server asks who you are.", 4001: "", 4002: "" };

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
    live.on("state", ({ name, code, reason }) => {
      if (name === "stopped" && code in REFUSED) this.#ask(REFUSED[code] || `Not taken: ${reason}.`);
    });
  }

  #ask(why) {
    sessionStorage.removeItem(KEPT);
    this.#parts.why.textContent = why;
    if (!this.#parts.dialog.open) this.#parts.dialog.showModal();
  }
}
