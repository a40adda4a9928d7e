/* The credential of this tab: a token or an API key given by hand, or the token that signing in has
 * brought.
 *
 * It is kept for this tab only, and sent in a command and in a header, never in an address. A token
 * that came with a refresh token is renewed before it expires. Its lifetime is counted here from the
 * moment it came, so that it does not matter whether this browser's clock is right. The pages in the
 * frames of a tab share all this, and one of them renews the token for all.
 */
import { renewed } from "./oauth.js";

const TOKEN = "livelog.token";
const SESSION = "livelog.session"; // that came with the token
const EARLY_MS = 75_000; // before the end: the server warns a minute before
const NEEDED_MS = 5000; // a token that lasts so long is good for a request
const PATIENCE_MS = 4000; // the server waits for a token for 5 seconds
const YOUNG_MS = 10_000;

export class Credential {
  #surroundings;
  #on = { ended: () => undefined, failed: () => undefined };
  #warning = null; // that the server has given: the token, and the seconds that it has left
  #renewal = null; // under way

  /** `surroundings`: storage, now, sleep, renew (as `renewed` of oauth.js), and alone, which runs work
   * while no other page does. */
  constructor(surroundings = {}) {
    this.#surroundings = {
      storage: () => sessionStorage,
      now: () => Date.now(),
      sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      renew: renewed,
      alone: (work) => navigator.locks?.request("livelog.renewal", work) ?? work(),
      ...surroundings,
    };
  }

  /** `on`: handlers for ended (the session at the issuer is over) and failed (a token could not be
   * renewed for now); both get words for the reader. */
  listen(on) {
    this.#on = on;
  }

  get token() {
    return this.#storage.getItem(TOKEN);
  }

  /** The service at which the reader has signed in, and what it gave; null for a token by hand. */
  get session() {
    return JSON.parse(this.#storage.getItem(SESSION) ?? "null");
  }

  get isRenewable() {
    return Boolean(this.session?.refresh_token);
  }

  /** Headers that carry the token over HTTP. */
  get headers() {
    return this.token === null ? {} : { Authorization: `Bearer ${this.token}` };
  }

  /** The credential as the client takes it: none, the token, or a function that returns one. */
  source() {
    return this.isRenewable ? () => this.#next() : this.token;
  }

  /** Keep a token or an API key that was given by hand. */
  give(token) {
    this.forget();
    this.#storage.setItem(TOKEN, token);
  }

  /** Keep the answer of the service's token endpoint. */
  keep(answer, service) {
    const { refresh_token, id_token } = { ...this.session, ...answer }; // a new one, or the old one
    const lifetime = 1000 * Number(answer.expires_in ?? Infinity);
    const since = this.#surroundings.now();
    this.#storage.setItem(TOKEN, answer.access_token);
    this.#keepSession({ service, refresh_token, id_token, since, until: since + lifetime, lifetime });
  }

  forget() {
    this.#storage.removeItem(TOKEN);
    this.#storage.removeItem(SESSION);
  }

  /** The server says that the token expires in `seconds`; return whether it will be renewed. */
  warn(seconds) {
    if (!this.isRenewable) return false;
    this.#warning = { token: this.token, seconds };
    return true;
  }

  /** The server says that the token has expired. Return whether that is a surprise: one that has just
   * come is refused where clocks differ. */
  isTooYoungToExpire() {
    const { session } = this;
    if (!session) return false;
    const age = this.#surroundings.now() - session.since;
    if (age < Math.min(YOUNG_MS, (session.lifetime ?? Infinity) / 2)) return true;
    this.#keepSession({ ...session, until: session.since });
    return false;
  }

  /** Return the token at hand while it lasts, else a new one; it is renewed early, beside the work. */
  async current() {
    if (!this.isRenewable || !this.#isDue) return this.token;
    const renewal = this.#renew();
    renewal.catch(() => undefined); // it is told by then
    return this.#left > NEEDED_MS ? this.token : this.#inTime(renewal);
  }

  // The client's next token: after a warning another one, when half of the time left has passed. At
  // once would be too often for tokens that live shorter than the time of the warning.
  async #next() {
    const warning = this.#warning;
    this.#warning = null;
    if (warning === null) return this.current();
    if (!this.#isDue) await this.#surroundings.sleep(warning.seconds * 500);
    return this.token === warning.token ? this.#renew() : this.token;
  }

  #renew() {
    const old = this.token;
    // Another page of the tab may have been first: its refresh token would be used a second time.
    const work = async () => (this.token === old ? this.#renewed() : this.token);
    this.#renewal ??= this.#surroundings.alone(work).finally(() => {
      this.#renewal = null;
    });
    return this.#renewal;
  }

  async #renewed() {
    const { session } = this;
    try {
      this.keep(await this.#surroundings.renew(session.service, session.refresh_token), session.service);
      return this.token;
    } catch (error) {
      if (error.isFinal) this.#end(error.message);
      else this.#on.failed(`The token could not be renewed: ${error.message}`);
      throw error;
    }
  }

  #end(words) {
    this.#keepSession({ ...this.session, refresh_token: undefined });
    this.#on.ended(words);
  }

  async #inTime(renewal) {
    const late = this.#surroundings.sleep(PATIENCE_MS).then(() => {
      throw new Error("a new one has not come yet");
    });
    return Promise.race([renewal, late]);
  }

  get #storage() {
    return this.#surroundings.storage();
  }

  #keepSession(session) {
    this.#storage.setItem(SESSION, JSON.stringify(session));
  }

  /** Milliseconds that the token lasts; a lifetime that is not known is null when it was kept. */
  get #left() {
    return (this.session?.until ?? Infinity) - this.#surroundings.now();
  }

  get #isDue() {
    return this.#left <= Math.min(EARLY_MS, (this.session?.lifetime ?? Infinity) / 2);
  }
}

export const credential = new Credential();
