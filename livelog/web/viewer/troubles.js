/* Troubles that the client reports, and those of signing in, told to the reader. */
import { credential } from "./credential.js";
import { isOfLogin } from "./login.js";
import { takeProblem } from "./signin.js";

/** Tell of the troubles of `live` by `notice`; `open()` opens the view anew. */
export function tellTroubles(live, notice, open) {
  live.on("throttled", ({ seconds, action }) => {
    if (action === "presence") return; // the number of users comes later; nothing else is delayed
    if (action.endsWith("watch")) return; // the counts of some types come later
    const wait = Math.max(1, Math.ceil(seconds));
    const effect =
      action === "publish" ? "The message goes out" : "Live messages of this view begin";
    const words = `The server allows only so many commands a minute. ${effect} in ${wait} s.`;
    notice.show(words, "", wait * 1000);
  });
  live.on("gap", ({ to }) => {
    if (to !== null) notice.show("Some messages could not be resumed; a row shows where.", "bad");
    else {
      // Its seqs do not continue those that are shown, so nothing can be joined to them.
      open();
      notice.show("The server has begun a new log; this is its beginning.", "bad");
    }
  });
  live.on("token_expiring", ({ seconds }) => {
    if (credential.warn(seconds)) return;
    const words = "Your token expires in a minute; you will be asked for another one then.";
    notice.show(words, "", seconds * 1000);
  });
  live.on("error", ({ code, message }) => {
    if (!isOfLogin(code)) notice.show(`${code}: ${message}`, "bad");
  });
}

/** Tell what went wrong when the reader signed in, and what will when the token is renewed. */
export function tellSignIn(login, notice) {
  const failed = (words) => notice.show(words, "bad");
  credential.listen({ ended: (words) => login.ask(words), failed });
  const problem = takeProblem();
  if (problem) (credential.token === null ? (words) => login.ask(words) : failed)(problem);
}
