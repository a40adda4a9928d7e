/* One WebSocket that carries JSON objects. */
import { ABNORMAL } from "./errors.js";
import { decode } from "./frames.js";

/** Milliseconds in which `close` follows an `error` of an open connection, if it does. */
const CLOSE_MS = 100;

export class Connection {
  #socket;
  #clock;
  #on;
  #opened = false;
  #closed = false;
  #failed = 0; // timer, from an `error` to the `close` that says more

  /** Open it; `on`: handlers for frame (the object in it, or null, and its text), closed (code and
   * reason). */
  constructor(WebSocket, url, clock, on) {
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#clock = clock;
    this.#on = on;
    socket.onmessage = ({ data }) => this.#closed || on.frame(decode(data), data);
    socket.onclose = ({ code, reason }) => this.#ended(code, reason);
    socket.onopen = () => {
      this.#opened = true;
    };
    socket.onerror = () => this.#erred();
  }

  /** Send the text of a command. */
  send(text) {
    this.#socket.send(text);
  }

  /** Close it; from now on it reports no event, not even its end. */
  close() {
    this.#closed = true;
    this.#clock.clearTimeout(this.#failed);
    this.#socket.close();
  }

  /** End after an error, even without a `close`: Node's own WebSocket has none when it fails to
   * connect (nodejs/undici#3546). Where there is one, it says more about an open connection. */
  #erred() {
    if (!this.#opened) this.#ended(ABNORMAL, "");
    else this.#failed ||= this.#clock.setTimeout(() => this.#ended(ABNORMAL, ""), CLOSE_MS);
  }

  #ended(code, reason) {
    if (!this.#closed) this.#on.closed(code, reason);
  }
}
