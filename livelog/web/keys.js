/* The keyboard: a table, key → act. What is typed into a field is the field's, but for Escape. */

export function listenToKeys(acts) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { target, key } = event;
    if (target.closest("dialog")) return; // a dialog closes itself
    const typing = target.matches("input:not([type=checkbox]), select, textarea");
    if (key === "Escape" && typing) target.blur();
    else if (typing) return;
    else if (key === "Enter" && target.matches("button, summary, a")) return;
    else if (key in acts) acts[key]();
    else return;
    event.preventDefault();
  });
}
