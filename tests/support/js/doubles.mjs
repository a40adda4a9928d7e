/* Stand-ins for the surroundings of the client: a clock and a WebSocket led by a test. */

export class TestClock {
  time = 0;
  timers = new Map();

  now = () => this.time;

  wall = () => this.time;

  setTimeout = (call, ms) => {
    const id = this.timers.size + this.time + Math.random();
    this.timers.set(id, { call, due: this.time + ms });
    return id;
  };

  clearTimeout = (id) => this.timers.delete(id);

  advance(ms, late = 0) {
    this.time += ms + late;
    for (const [id, { call, due }] of [...this.timers]) {
      if (due <= this.time && this.timers.delete(id)) call();
    }
  }
}

export class TestSocket {
  static all = [];
  sent = [];

  constructor() {
    TestSocket.all.push(this);
  }

  /** The one that was opened last. */
  static get last() {
    return TestSocket.all.at(-1);
  }

  send = (text) => this.sent.push(JSON.parse(text));

  close() {}

  receive = (event) => this.onmessage({ data: JSON.stringify(event) });
}
