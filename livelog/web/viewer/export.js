/* Export of messages as NDJSON, to the clipboard or into a file: each as it was delivered. */
import { textOf } from "./exact.js";
import { count } from "./format.js";

export function ndjson(rows) {
  const messages = rows.filter(({ type }) => type !== "gap");
  return messages.map((message) => `${textOf(message)}\n`).join("");
}

async function copy(text) {
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

/** Copies texts, and tells its reader. */
export class Copying {
  #notice;

  constructor(notice) {
    this.#notice = notice;
  }

  messages(messages) {
    return this.text(ndjson(messages), `${count(messages.length, "message")} copied.`);
  }

  async text(text, done) {
    try {
      await copy(text);
      this.#notice.show(done);
    } catch (error) {
      this.#notice.show(`Not copied: ${error.message}`, "bad");
    }
  }
}

export function download(text, name = "livelog", kind = "ndjson") {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: kind === "json" ? "application/json" : "application/x-ndjson" }));
  link.download = `${name}-${new Date().toISOString().replace(/[:.]/g, "-")}.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
