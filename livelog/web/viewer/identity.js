/* The principal of this page and its scopes, as the server tells them.
 *
 * `authenticated` tells both, on each connection and with each new token. On a server without
 * authentication there is no principal: it takes any token, and answers without an id.
 */
import { credential } from "./credential.js";

export class Identity {
  id = null; // null until the server tells it and when the connection has stopped, "" on an open server

  #pages;
  #scopes = new Set();
  #handlers = [];

  constructor(live, pages) {
    this.#pages = pages;
    live.on("authenticated", ({ id, scopes }) => this.#learn(id, scopes));
    live.on("state", ({ name }) => {
      if (name === "connected" && credential.token === null) this.#look();
      if (name === "stopped") this.#learn(null, []);
    });
  }

  /** Whether the server has no authentication. */
  get isOpen() {
    return this.id === "";
  }

  /** Whether it may do what a scope allows. An open server takes no admin command from anybody. */
  may(scope) {
    return !this.isOpen && (this.#scopes.has(scope) || this.#scopes.has("admin"));
  }

  /** Call `handler` each time that the identity is told or taken away; it may be as before. */
  on(handler) {
    this.#handlers.push(handler);
  }

  /** Without a token the server tells nothing; but its health shows the head to all if it is open. */
  async #look() {
    const { head_seq: head } = await this.#pages.health().catch(() => ({}));
    if (head !== undefined) this.#learn("", []);
  }

  #learn(id, scopes) {
    this.id = id;
    this.#scopes = new Set(scopes);
    for (const handler of this.#handlers) handler();
  }
}

/** Show the elements that name a scope (`data-scope`) to those who have it, and to nobody else. */
export function showAllowed(identity, root = document) {
  for (const shown of root.querySelectorAll("[data-scope]")) {
    shown.hidden = !identity.may(shown.dataset.scope);
  }
}
