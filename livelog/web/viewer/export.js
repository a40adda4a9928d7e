/* Export of messages as NDJSON, to the clipboard or into a file: each as it was delivered. */
import { textOf } from "./exact.js";

export function ndjson(rows) {
  const messages = rows.filter(({ type }) => type !== "gap");
  return messages.map((message) => `${textOf(message)}\n`).join("");
}

export async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Without HTTPS browsers offer no clipboard, but still copy what is selected.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "offstage";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("the browser does not let this page copy");
}

export function download(text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/x-ndjson" }));
  link.download = `livelog-${new Date().toISOString().replace(/[:.]/g, "-")}.ndjson`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
