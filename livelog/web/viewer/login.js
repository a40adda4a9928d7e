/* The login: a token or an API key, asked for when the server requires one.
 *
 * It is kept for this tab only, and sent in a command and in a header, never in an address.
 */
const STORAGE_KEY = "livelog.token";

/** Codes of the API that another token can change → the reason to ask for one. */
const REASONS = {
  4000: "This server requires a token.",
  4001: "The token is not valid.",
  4002: "The token has expired.",
};

export function token() {
  return sessionStorage.getItem(STORAGE_KEY);
}

/** Headers that carry the token over HTTP. */
export function authorization() {
  return token() === null ? {} : { Authorization: `Bearer ${token()}` };
}

export class Login {
  #parts;

  /** `parts`: dialog, form, reason, token. */
  constructor(live, parts) {
    this.#parts = parts;
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(STORAGE_KEY, parts.token.value.trim());
      location.reload(); // the address holds the view
    });
    live.on("state", ({ name, code }) => {
      if (name === "stopped") this.refused(code);
    });
  }

  /** A request was refused with this code: ask for another token if that can change it. */
  refused(code) {
    if (code in REASONS) this.#ask(REASONS[code]);
  }

  #ask(reason) {
    if (this.#parts.dialog.open) return; // the first reason says most
    sessionStorage.removeItem(STORAGE_KEY);
    this.#parts.reason.textContent = reason;
    this.#parts.dialog.showModal();
  }
}
