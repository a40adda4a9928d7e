/* Steps in the browser's history: a view that is left, and a panel that is opened.
 *
 * Back undoes the last one. Of a panel it closes the panel and nothing else: what the view has become
 * meanwhile stays. A panel that is closed in another way takes its step back by itself; among views
 * side by side, which share one history, it leaves the entry for the next step to use.
 */
import { isPane } from "./frame.js";

let entry = { depth: 0 }; // where the page is; with the `panel` whose opening has made it
let hash = "";
let isLeaving = false; // a step back is under way, so that nothing may be written
const waiting = []; // writes for the time after it
const shown = new Set(); // panels, by id
let on;

/** `on`: handlers for address (returns that of the view), moved (to the address of another view), and
 * closed (a panel, by the step back). */
export function followSteps(handlers) {
  on = handlers;
  entry = { depth: 0, ...history.state };
  hash = location.hash;
  addEventListener("popstate", moved);
}

/** Write into the history that another view is shown. */
export function stepTo(address) {
  whenSettled(() => make({}, (address || location.pathname) + location.hash));
}

/** Give the entry the address that the view has now. */
export function keepAddress(address) {
  whenSettled(() => history.replaceState(entry, "", (address || location.pathname) + location.hash));
}

/** Note that a panel is open. That is no step if the address of the page has led to it. */
export function stepInto(panel, isLed) {
  shown.add(panel);
  if (!isLed) whenSettled(() => make({ panel }, location.href));
}

/** Note that a panel is closed; its step is undone, unless another one takes its entry in the same
 * task. */
export function stepOut(panel) {
  shown.delete(panel);
  queueMicrotask(settle);
}

/** Write into the history, as soon as no step is under way. */
export function whenSettled(write) {
  if (isLeaving) return waiting.push(write);
  write();
  hash = location.hash;
}

function make(what, address) {
  const isFree = hasClosed();
  entry = { ...what, depth: entry.depth + (isFree ? 0 : 1) };
  history[isFree ? "replaceState" : "pushState"](entry, "", address);
}

/** Whether the entry is that of a panel which is closed. */
function hasClosed() {
  return entry.panel !== undefined && !shown.has(entry.panel);
}

function settle() {
  if (isPane || isLeaving || !hasClosed()) return;
  isLeaving = true;
  history.back();
}

function moved() {
  const left = entry;
  entry = { depth: 0, ...history.state };
  isLeaving = false;
  if (left.panel !== undefined && entry.depth === left.depth - 1) undo(left.panel);
  else on.moved();
  for (const write of waiting.splice(0)) whenSettled(write);
  hash = location.hash;
  queueMicrotask(settle);
}

function undo(panel) {
  history.replaceState(entry, "", (on.address() || location.pathname) + hash);
  if (shown.has(panel)) on.closed(panel);
}
