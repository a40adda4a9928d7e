/* The addresses of the servers of one log: where the client is, and where it goes next.
 *
 * The order is drawn anew for each client, so that the clients of a server that dies spread over
 * all the others. */
export class Addresses {
  #urls;
  #place = 0;

  /** `urls`: an address or an array of them; `random` returns numbers from 0 up to 1. Throw a
   * TypeError where there is none, or one among several is no address. */
  constructor(urls, random) {
    this.#urls = [...new Set([urls].flat().map(String))];
    if (!this.length) throw new TypeError("pass the address of a server");
    if (!this.several) return; // WebSocket itself says what is wrong with it
    const drawn = this.#urls.map((url) => ({ place: random(), url: checked(url) }));
    this.#urls = drawn.sort((one, other) => one.place - other.place).map(({ url }) => url);
  }

  get length() {
    return this.#urls.length;
  }

  get several() {
    return this.length > 1;
  }

  /** The address to connect to. */
  get current() {
    return this.#urls[this.#place];
  }

  /** Go on to the next address. */
  leave() {
    this.#place = (this.#place + 1) % this.#urls.length;
  }
}

function checked(url) {
  return new URL(url, globalThis.location?.href).href;
}
