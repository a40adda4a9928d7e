/* Surroundings of the client: clock, page, and the events of a browser. */

export const systemClock = {
  now: () => performance.now(),
  setTimeout: (call, ms) => setTimeout(call, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** The WebSocket's address on the server that the page came from. */
export function defaultUrl() {
  const { protocol, host } = globalThis.location;
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}/ws/live-log`;
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
