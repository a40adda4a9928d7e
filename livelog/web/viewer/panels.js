/* The panels beside the rows, and the filters. Where there is room for one panel alone, that one is in
 * sight which was opened last; the others are marked as covered, and come back when it is closed.
 */
import { stepInto, stepOut } from "./steps.js";

let opened = []; // { panel, close, opener, home }; the one opened last is the last one

/** Show a panel, over the others that are open. `on`: `close()` closes it; `home`: the element that
 * gets the focus then, if the one that has it now is gone; `isLed`: the address has led to it. */
export function showPanel(panel, { close, home, isLed = false }) {
  const known = opened.find((one) => one.panel === panel);
  panel.hidden = false;
  stack([...others(panel), known ?? { panel, close, opener: document.activeElement, home }]);
  if (!known) stepInto(panel.id, isLed);
}

export function hidePanel(panel) {
  const known = opened.find((one) => one.panel === panel);
  if (!known) return;
  const { activeElement } = document;
  const hadFocus = panel.contains(activeElement) || activeElement === document.body;
  panel.hidden = true;
  stack(others(panel));
  if (hadFocus) giveBack(known);
  stepOut(panel.id);
}

/** Close the panel that was opened last. */
export function closePanel() {
  opened.at(-1)?.close();
}

/** Close the panel with this id. */
export function closePanelOf(id) {
  opened.find(({ panel }) => panel.id === id)?.close();
}

function giveBack({ opener, home }) {
  const isThere = opener !== document.body && opener?.isConnected && opener.checkVisibility();
  (isThere ? opener : home).focus({ preventScroll: true });
}

function others(panel) {
  return opened.filter((one) => one.panel !== panel);
}

function stack(panels) {
  opened = panels;
  const beside = panels.map(({ panel }) => panel).filter((panel) => panel.matches(".panel"));
  for (const panel of beside) panel.toggleAttribute("data-covered", panel !== beside.at(-1));
}
