/* Keyboard shortcuts: a table, key → action. Keys typed into a field stay there, but for Escape. */

/** Where Escape closes what the field is in. */
const CLOSED = ".panel, #more";
/** Where a key moves what has the focus, it does nothing else. */
const SCROLLED = ".scrolled, #json, #counts-values";
const SCROLLING = ["ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End"];

export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { target, key } = event;
    // A dialog closes itself; once closed it may still have the focus, until the page is drawn.
    if (target.closest("dialog[open]")) return;
    const typing = target.matches("input:not([type=checkbox]), select, textarea") && target.checkVisibility();
    if (key === "Escape" && typing && !target.closest(CLOSED)) target.blur();
    else if (key === "Escape") actions.Escape();
    else if (typing) return;
    else if (SCROLLING.includes(key) && target.closest(SCROLLED)) return;
    else if (key === "Enter" && target.matches("button, summary, a")) return;
    else if (key in actions) actions[key]();
    else return;
    event.preventDefault();
  });
}
