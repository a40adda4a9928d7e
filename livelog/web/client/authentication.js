/* The token of the client, sent in a command, so that none stands in an address. */
import { encode } from "./frames.js";

export class Authentication {
  #token;
  #nextId;

  /** `token`: a string, a function that returns one or a promise of one, or null for none. */
  constructor(token, nextId) {
    this.#token = token;
    this.#nextId = nextId;
  }

  get needed() {
    return this.#token !== null;
  }

  /** Whether another token can be had once this one has expired. */
  get renewable() {
    return typeof this.#token === "function";
  }

  /** Send the token over the connection that `current` returns, unless it is replaced while the
   * token is fetched. An error on the way goes to `failed`. */
  async send(current, failed) {
    const connection = current();
    try {
      const token = this.renewable ? await this.#token() : this.#token;
      if (current() !== connection) return;
      const request_id = this.#nextId();
      connection.send(encode({ action: "authenticate", token: String(token), request_id }));
    } catch (error) {
      if (current() === connection) failed(error);
    }
  }
}
