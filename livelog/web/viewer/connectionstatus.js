/* The state of the connection in plain words. */

const RESUMED_MS = 15_000; // how long a happy return is told

export class Status {
  #live;
  #text;
  #now;
  #light;
  #latency = null;
  #news = "";
  #timer = 0;

  constructor(live, { text, now, light }) {
    this.#live = live;
    this.#text = text;
    this.#now = now;
    this.#light = light;
    now.addEventListener("click", () => live.reconnect());
    live.on("state", ({ name }) => {
      if (name === "connected") live.ping().catch(() => undefined); // lost: the state says so
      this.show();
    });
    live.on("latency", ({ latencyMs }) => {
      this.#latency = latencyMs;
      this.show();
    });
    live.on("resumed", ({ gaps }) => this.#returned(gaps));
    this.show();
  }

  #returned(gaps) {
    this.#news = gaps.length ? "resumed, with a gap" : "resumed without loss";
    setTimeout(() => {
      this.#news = "";
      this.show();
    }, RESUMED_MS);
    this.show();
  }

  show() {
    const { state } = this.#live;
    clearTimeout(this.#timer);
    this.#light.dataset.state = state.name;
    this.#now.hidden = state.name !== "waiting";
    this.#say(this.#words[state.name](state));
    if (state.name === "waiting") this.#timer = setTimeout(() => this.show(), 250);
  }

  /** A screen reader is told when the words change, so they change as rarely as they can. */
  #say(words) {
    if (this.#text.textContent !== words) this.#text.textContent = words;
  }

  #words = {
    connecting: ({ attempt }) => {
      return attempt ? `Reconnecting, attempt ${attempt} …` : "Connecting …";
    },
    connected: () => {
      const latency = this.#latency === null ? "" : `${Math.max(1, Math.round(this.#latency))} ms`;
      return ["Connected", this.#news, latency].filter(Boolean).join(" · ");
    },
    waiting: ({ attempt, retryAt }) => {
      const seconds = Math.max(0, Math.ceil((retryAt - performance.now()) / 1000));
      return `Connection lost. Attempt ${attempt} in ${seconds} s`;
    },
    stopped: ({ reason, code }) => `Stopped: ${reason} (${code}). Reload the page to try again.`,
  };
}
