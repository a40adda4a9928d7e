/* The state of the connection, in words. */
import { needsLogin } from "./login.js";

const RESUMED_MS = 15_000; // how long the result of a resume is shown

export class ConnectionStatus {
  #live;
  #text;
  #reconnect;
  #light;
  #latency = null;
  #result = "";
  #timer = 0;

  constructor(live, { text, reconnect, light }) {
    this.#live = live;
    this.#text = text;
    this.#reconnect = reconnect;
    this.#light = light;
    reconnect.addEventListener("click", () => live.reconnect());
    live.on("state", ({ name }) => {
      if (name === "connected") live.ping().catch(() => undefined); // lost: the state says so
      this.show();
    });
    live.on("latency", ({ latencyMs }) => {
      this.#latency = latencyMs;
      this.show();
    });
    live.on("resumed", ({ gaps }) => this.#resumed(gaps));
    this.show();
  }

  #resumed(gaps) {
    this.#result = gaps.length ? "resumed, with a gap" : "resumed without loss";
    setTimeout(() => {
      this.#result = "";
      this.show();
    }, RESUMED_MS);
    this.show();
  }

  show() {
    const { state } = this.#live;
    clearTimeout(this.#timer);
    this.#light.dataset.state = state.name;
    this.#reconnect.hidden = state.name !== "waiting";
    this.#say(this.#words[state.name](state));
    if (state.name === "waiting") this.#timer = setTimeout(() => this.show(), 250);
  }

  /** A screen reader reads the words when they change, so they change as rarely as possible. */
  #say(words) {
    if (this.#text.textContent !== words) this.#text.textContent = words;
  }

  #words = {
    connecting: ({ attempt }) => {
      return attempt ? `Reconnecting, attempt ${attempt} …` : "Connecting …";
    },
    connected: () => {
      const latency = this.#latency === null ? "" : `${Math.max(1, Math.round(this.#latency))} ms`;
      return ["Connected", this.#result, latency].filter(Boolean).join(" · ");
    },
    waiting: ({ attempt, retryAt }) => {
      const seconds = Math.max(0, Math.ceil((retryAt - performance.now()) / 1000));
      return `Connection lost. Attempt ${attempt} in ${seconds} s`;
    },
    stopped: ({ reason, code }) => {
      if (needsLogin(code)) return "Not logged in";
      return `Stopped: ${reason} (${code}). Reload the page to try again.`;
    },
  };
}
