/* OAuth2 for a page: the authorization code flow of a public client (RFC 6749 section 4.1) with PKCE
 * (RFC 7636), and the renewal of its tokens (section 6).
 *
 * `service` is the answer of `./api/sign-in`: the issuer, the client that this page is there, the
 * endpoints, and the `target` of the token, which goes with each request. All that goes wrong is a `SignInError`, whose message is for the reader.
 */
const WAIT_MS = 10_000;
const LONGEST = 200; // characters of the service's own words that are shown

/** Code of the service (RFC 6749 sections 4.1.2.1 and 5.2, RFC 8707) → the reason in words. */
const WORDS = {
  access_denied: "has refused: you, or its rules, did not allow this page to sign you in",
  invalid_scope: "does not grant the scopes that this server asks for (--viewer-scopes)",
  invalid_grant: "no longer takes this sign-in: it was used already, is too old, or was ended",
  invalid_client: "does not take this page as a client (--viewer-client-id); it has to be a public one",
  invalid_target: "gives no token for what this server asks for (--viewer-resource, --viewer-audience)",
  unauthorized_client: "does not let this client (--viewer-client-id) sign anybody in with a code",
  server_error: "has a fault at the moment; try again later",
  temporarily_unavailable: "is overloaded at the moment; try again later",
};

export class SignInError extends Error {
  /** `isFinal`: the service has answered, and another attempt would end the same way. */
  constructor(message, isFinal = false) {
    super(message);
    this.name = "SignInError";
    this.isFinal = isFinal;
  }
}

/** The name of the service, for people. */
export function nameOf(service) {
  return new URL(service.issuer).host;
}

/** Begin to sign in: return the `address` to go to, and the `pending` sign-in, which is needed for the
 * answer. The answer comes to the address `redirect`. */
export async function begun(service, redirect) {
  if (!globalThis.crypto?.subtle) {
    throw new SignInError("Signing in needs an address of this page with https, or localhost.");
  }
  const pending = { service, redirect, state: random(), verifier: random() };
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(pending.verifier));
  const address = withParameters(service.authorization_endpoint, {
    response_type: "code",
    client_id: service.client_id,
    ...service.target,
    redirect_uri: redirect,
    scope: service.scopes,
    state: pending.state,
    code_challenge: encoded(new Uint8Array(digest)),
    code_challenge_method: "S256",
  });
  return { address, pending };
}

/** The code in the answer to a pending sign-in; null stands for none. */
export function codeIn(answer, pending) {
  if (!pending) {
    throw new SignInError("This sign-in was not begun in this tab, or was used already. Sign in again.");
  }
  if (answer.get("state") !== pending.state) {
    throw new SignInError("The answer belongs to another sign-in and was not used. Sign in again.");
  }
  const { service } = pending;
  const issuer = answer.get("iss"); // RFC 9207
  if (issuer === null ? service.names_issuer : issuer !== service.issuer) {
    throw new SignInError(`The answer is not from ${nameOf(service)} and was not used. Sign in again.`);
  }
  if (answer.has("error")) throw refusal(service, Object.fromEntries(answer));
  if (!answer.get("code")) throw new SignInError(`${nameOf(service)} has answered without a code.`);
  return answer.get("code");
}

/** Exchange a code for the tokens. */
export function exchanged(code, { service, redirect, verifier }) {
  const form = { code, redirect_uri: redirect, code_verifier: verifier };
  return ask(service, { grant_type: "authorization_code", ...form });
}

/** Exchange a refresh token for new tokens. */
export function renewed(service, refresh_token) {
  return ask(service, { grant_type: "refresh_token", refresh_token });
}

/** The address at which the reader signs out at the service, and comes back from; null without. */
export function endOf({ service, id_token }, back) {
  if (!service.end_session_endpoint) return null;
  return withParameters(service.end_session_endpoint, {
    client_id: service.client_id,
    post_logout_redirect_uri: back,
    ...(id_token ? { id_token_hint: id_token } : {}),
  });
}

/** Make sure that the service is there, before the page is left for it. */
export async function checkIsThere(service) {
  if (!(await isThere(service))) throw away(service);
}

async function ask(service, form) {
  const request = {
    method: "POST",
    body: new URLSearchParams({ client_id: service.client_id, ...service.target, ...form }),
    headers: { Accept: "application/json" },
    credentials: "omit",
    cache: "no-store",
    signal: AbortSignal.timeout(WAIT_MS),
  };
  const response = await fetch(service.token_endpoint, request).catch(() => null);
  if (!response) throw (await isThere(service)) ? locked(service) : away(service);
  const answer = (await response.json().catch(() => null)) ?? {};
  if (response.ok && isToken(answer)) return answer;
  if (response.status >= 500 || typeof answer.error !== "string") {
    throw new SignInError(`${nameOf(service)} has answered without a token (HTTP status ${response.status}).`);
  }
  throw refusal(service, answer);
}

function isToken({ access_token, token_type }) {
  return typeof access_token === "string" && String(token_type).toLowerCase() === "bearer";
}

/** Whether the service answers; the page may not see what. */
async function isThere({ token_endpoint }) {
  const request = { mode: "no-cors", credentials: "omit", cache: "no-store" };
  const signal = AbortSignal.timeout(WAIT_MS);
  return fetch(token_endpoint, { ...request, signal }).then(() => true, () => false);
}

function away(service) {
  return new SignInError(`${nameOf(service)} cannot be reached. Try again later.`);
}

function locked(service) {
  const issue = `does not let this page ask it for a token: it does not allow the origin ${location.origin}`;
  return new SignInError(
    `${nameOf(service)} ${issue} (CORS). Until its operator does, use a token or an API key.`,
  );
}

function refusal(service, { error, error_description: description }) {
  const words = Object.hasOwn(WORDS, error) ? WORDS[error] : `has refused (${shortened(error)})`;
  const own = description ? ` It says: ${shortened(description)}` : "";
  return new SignInError(`${nameOf(service)} ${words}.${own}`, true);
}

function shortened(text) {
  return String(text).slice(0, LONGEST);
}

function withParameters(endpoint, parameters) {
  const address = new URL(endpoint);
  for (const [name, value] of Object.entries(parameters)) address.searchParams.set(name, value);
  return address.href;
}

/** 256 random bits. */
function random() {
  return encoded(crypto.getRandomValues(new Uint8Array(32)));
}

/** Bytes in base64url, without padding (RFC 7636 appendix A). */
function encoded(bytes) {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
