/* Surroundings of the client: clock, page, and the events of a browser. */

export const systemClock = {
  now: () => performance.now(),
  wall: () => Date.now(), // goes on while the machine sleeps
  setTimeout: (call, ms) => setTimeout(call, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** The WebSocket's address on the server that this module came from, below the same prefix; for a
 * module that came from no server, as in a bundle, on the server that the page came from. */
export function defaultUrl(module = import.meta.url, page = globalThis.location?.href) {
  const served = /^https?:/.test(module);
  if (!served && !/^https?:/.test(page)) throw new TypeError("no server here, pass its address");
  const url = served ? new URL("../ws/live-log", module) : new URL("ws/live-log", page);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** Call `online` when the network is back and `visible` when the visibility of the page changes.
 * Return a function that ends it. Outside of a browser there are no such events. */
export function watchBrowser({ online, visible }) {
  const ends = [
    listen(globalThis, "online", online),
    listen(globalThis.document, "visibilitychange", visible),
  ];
  return () => ends.forEach((end) => end());
}

function listen(target, name, handler) {
  if (typeof target?.addEventListener !== "function") return () => {};
  target.addEventListener(name, handler);
  return () => target.removeEventListener(name, handler);
}
