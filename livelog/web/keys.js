/* The keyboard: a table, key → act. Keys typed into a field belong to the field, but for Escape. */

export function listenToKeys(acts) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { target, key } = event;
    if (target.closest("dialog")) return; // a dialog closes itself
    if (key === "Escape" && target.matches("input, select")) target.blur();
    else if (target.matches("input, select, textarea")) return;
    else if (key === "Enter" && target.matches("button, summary, a")) return;
    else if (key in acts) acts[key]();
    else return;
    event.preventDefault();
  });
}
