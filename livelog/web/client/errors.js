/* Errors of the client, and the close codes that it treats in a special way. */

/** The connection ended without a close frame, or there is none. */
export const ABNORMAL = 1006;
export const GOING_AWAY = 1001;
export const PROTOCOL_ERROR = 1002;
export const TOO_BIG = 1009;
export const SERVER_ERROR = 1011;
export const AUTHENTICATION_FAILED = 4000;
export const TOKEN_INVALID = 4001;
export const TOKEN_EXPIRED = 4002;
export const RATE_LIMITED = 4003;

/** Close codes after which another attempt would end the same way, and their meaning. */
export const FINAL_CODES = {
  1002: "the server says that this client breaks the protocol",
  1003: "the server does not take this kind of data",
  1007: "the server could not read what this client sent",
  1010: "the server lacks an extension that this client wants",
  [AUTHENTICATION_FAILED]: "authentication failed",
  [TOKEN_INVALID]: "the token is not valid",
  [TOKEN_EXPIRED]: "the token has expired",
};

/** Reason why a command failed: the code of the API, the field concerned, the server's words. */
export class LiveLogError extends Error {
  constructor(code, issue, details = {}) {
    super(issue);
    this.name = "LiveLogError";
    this.code = code;
    this.field = details.field ?? "";
    this.details = details;
  }
}

/** Make an error of the server's `error` event, whatever is missing in it. */
export function errorOf({ error_code, error_message, details }) {
  const known = details !== null && typeof details === "object" ? details : {};
  const field = known.field ? `${known.field}: ` : "";
  const issue = known.issue ?? error_message ?? "refused by the server";
  return new LiveLogError(error_code ?? PROTOCOL_ERROR, `${field}${issue}`, known);
}

export function notConnected() {
  return new LiveLogError(ABNORMAL, "not connected");
}
