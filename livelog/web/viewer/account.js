/* The account: who the server says the reader is, and the way out. */
import { credential } from "./credential.js";
import { element } from "./element.js";
import { needsLogin } from "./login.js";
import { endOf, nameOf } from "./oauth.js";
import { moment } from "./time.js";

export class Account {
  #live;
  #parts;
  #who = null;

  /** `parts`: button, dialog, values, and the button out; `logIn()` opens the login. */
  constructor(live, parts, logIn) {
    this.#live = live;
    this.#parts = parts;
    live.on("authenticated", (who) => {
      // A server without authentication takes any token, and knows nobody.
      if (who.id) this.#know(who, who.id, `Signed in as ${who.id}`);
    });
    live.on("state", ({ name, code }) => {
      if (name === "stopped" && needsLogin(code)) this.#know(null, "Log in", "");
    });
    parts.button.addEventListener("click", () => (this.#who ? this.#open() : logIn()));
    parts.out.addEventListener("click", () => this.#signOut());
  }

  #know(who, words, title) {
    this.#who = who;
    Object.assign(this.#parts.button, { hidden: false, textContent: words, title });
  }

  #open() {
    const { id, scopes, expires } = this.#who;
    const { session } = credential;
    const rest = credential.isRenewable ? ", then it is renewed" : "";
    const values = {
      user: id,
      "signed in": session ? `at ${nameOf(session.service)}` : "with a token or an API key",
      scopes: scopes.join(" ") || "none",
      ...(expires ? { "token until": `${moment(expires)}${rest}` } : {}),
    };
    const shown = Object.entries(values).flatMap(([name, value]) => [
      element("dt", "", name),
      element("dd", "", value),
    ]);
    this.#parts.values.replaceChildren(...shown);
    this.#parts.dialog.showModal();
  }

  /** Forget the credential, and sign out at the issuer if it has a way to. */
  #signOut() {
    const { session } = credential;
    credential.forget();
    this.#live.close();
    // A browser may keep the page, and show it to the next who goes back.
    addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
    const end = session && endOf(session, new URL("./", document.baseURI).href);
    if (end) top.location.assign(end);
    else top.location.reload();
  }
}
