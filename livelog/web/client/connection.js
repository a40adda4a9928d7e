/* One WebSocket that carries JSON objects. */

export class Connection {
  #socket;
  #closed = false;

  /** Open it; `on`: handlers for event (an object from the server), closed (code and reason). */
  constructor(WebSocket, url, on) {
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#closed || on.event(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#closed || on.closed(code, reason);
    socket.onerror = () => {}; // `close` follows and says more
  }

  send(command) {
    this.#socket.send(JSON.stringify(command));
  }

  /** Close it; from now on it reports no event, not even its end. */
  close() {
    this.#closed = true;
    this.#socket.close();
  }
}
