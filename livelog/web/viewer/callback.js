/* The page to which the service sends its answer: exchanges the code for a token, and goes back to the
 * page that began, which takes its place in the history. */
import { credential } from "./credential.js";
import { codeIn, exchanged } from "./oauth.js";
import { takePending, tellProblem } from "./signin.js";

async function take(answer) {
  history.replaceState(null, "", location.pathname); // the code stands in no address any more
  const pending = takePending();
  try {
    const tokens = await exchanged(codeIn(answer, pending), pending);
    credential.forget();
    credential.keep(tokens, pending.service);
  } catch (error) {
    tellProblem(error.message);
  }
  location.replace(pending?.back ?? new URL("../", document.baseURI));
}

take(new URLSearchParams(location.search));
