/* What livelog.js offers, for TypeScript; the behaviour is described in livelog.js. */

export type MessageType = "user" | "system" | "dm" | "raid" | "party" | "guild";

/** Every message as it is delivered; the other fields depend on `type`. */
export interface Message {
  type: MessageType;
  id: string;
  timestamp: string;
  seq: number;
  [field: string]: unknown;
}

/** Conditions on a message; all that are given must hold. */
export interface Filters {
  user_id?: string;
  username?: string;
  channel?: string;
  server?: string;
  event?: string;
  severity?: string;
  status?: string;
  raid_id?: string;
  party_id?: string;
  guild_id?: string;
  /** RFC 3339 with a time zone, inclusive, as is `date_to`. */
  date_from?: string;
  date_to?: string;
  text?: string;
}

/** Which part of the matches: by count from the newest, or beside a seq. */
export interface Page {
  limit?: number;
  offset?: number;
  before?: number;
  after?: number;
  around?: number;
  filters?: Filters & { type?: MessageType | MessageType[] };
  signal?: AbortSignal;
}

export interface History {
  messages: Message[];
  total_count: number;
  limit: number;
  offset: number;
}

export interface SearchResults {
  query: string;
  results: Message[];
  count: number;
  limit: number;
  offset: number;
}

export interface State {
  name: "connecting" | "connected" | "waiting" | "stopped";
  /** How many attempts to reconnect there were since the last lasting connection. */
  attempt: number;
  /** In `waiting`: when the next attempt is due, by the clock's `now`. */
  retryAt?: number;
  /** In `waiting` and `stopped`: the close code and what is known of the reason. */
  code?: number;
  reason?: string;
}

/** Messages after `from` and up to `to` are gone; `to` is null when the log itself was replaced. */
export interface Gap {
  from: number;
  to: number | null;
}

export interface Latency {
  latencyMs: number;
  seq: number;
}

export interface Events {
  state: State;
  gap: Gap;
  /** Back after a lost connection, with what could not be had. */
  resumed: { from: number; gaps: Gap[] };
  latency: Latency;
  /** A limit was reached; what waits goes out after `seconds`. */
  throttled: { seconds: number; action: string };
  rate_limit: Record<string, unknown>;
  /** The server knows who we are; `expires` is missing when that holds for good. */
  authenticated: { id: string; scopes: string[]; expires?: string };
  /** The token expires in so many seconds; with a function as `token` it is renewed by itself. */
  token_expiring: { expires: string; seconds: number };
  error: LiveLogError;
}

export interface Clock {
  now(): number;
  setTimeout(call: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

export interface Options {
  /** For Node before 22: the class that the package `ws` exports. */
  WebSocket?: unknown;
  clock?: Clock;
  /** From 0 up to 1, as `Math.random`. */
  random?: () => number;
  /** Silence after which the server is asked for a sign of life. */
  heartbeatMs?: number;
  /** How long it then has, and how long a connection may take. */
  patienceMs?: number;
  /** A connection that lasted this long starts the schedule of reconnects anew. */
  lastingMs?: number;
  /** Who we are: a token or an API key, or a function that returns one. The function is called for
   * every connection, and when a token is about to expire. */
  token?: string | (() => string | Promise<string>) | null;
}

export interface Following {
  /** Resolves when the server has confirmed it, rejects when the server has refused it. */
  ready: Promise<void>;
  stop(): void;
}

export const TYPES: MessageType[];
export const BACKOFF_MS: number[];
export const FINAL_CODES: Record<number, string>;

export class LiveLogError extends Error {
  code: number;
  field: string;
  details: Record<string, unknown>;
}

export class LiveLog {
  /** Without a `url`: the server that the page came from. */
  constructor(url?: string | URL, options?: Options);
  readonly state: State;
  readonly seq: number | null;
  on<Name extends keyof Events>(name: Name, handler: (detail: Events[Name]) => void): () => void;
  listen(
    what: { types?: MessageType[]; filters?: Filters; since?: number | null },
    onMessage: (message: Message) => void,
  ): Following;
  history(page?: Page): Promise<History>;
  search(query: string, page?: Page): Promise<SearchResults>;
  publish(
    message: { type: MessageType; [field: string]: unknown },
    options?: { signal?: AbortSignal },
  ): Promise<{ id: string; seq: number }>;
  ping(): Promise<Latency>;
  reconnect(): void;
  close(): void;
}
