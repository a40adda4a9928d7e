/* The panels beside the rows. Where there is room for one alone, that one is in sight which was opened
 * last; the others are marked as covered, and come back when it is closed.
 */
let opened = []; // the one opened last is the last one

/** Show a panel, over the others that are open. */
export function showPanel(panel) {
  panel.hidden = false;
  stack([...others(panel), panel]);
}

export function hidePanel(panel) {
  panel.hidden = true;
  stack(others(panel));
}

/** The panel that was opened last; undefined while none is open. */
export function topPanel() {
  return opened.at(-1);
}

function others(panel) {
  return opened.filter((one) => one !== panel);
}

function stack(panels) {
  opened = panels;
  for (const panel of panels) panel.toggleAttribute("data-covered", panel !== topPanel());
}
