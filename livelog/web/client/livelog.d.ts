/* The client's classes and options, for TypeScript; `livelog.js` describes the behaviour.
 * Messages and events of the server are declared in `protocol.d.ts`. */
import type {
  AnalysisEvent,
  AnalyzeCommand,
  AuthenticatedEvent,
  CountsEvent,
  Filters,
  GetHistoryCommand,
  HistoryEvent,
  Message,
  MessageType,
  OnlineChangedEvent,
  OnlineEvent,
  PresenceCommand,
  PublishCommand,
  PublishedEvent,
  RateLimitEvent,
  SearchCommand,
  SearchResultsEvent,
} from "./protocol.js";

export * from "./protocol.js";

/** Fields that tell commands and answers apart on the wire; the client fills them in itself. */
type Envelope = "action" | "request_id";

/** A message to be published; the server fills in the optional fields. */
export type NewMessage = PublishCommand["message"];

/** Part of the matches: by count from the newest, or beside a seq. */
export type Page = Omit<GetHistoryCommand, Envelope> & { signal?: AbortSignal };

/** Part of the matches of a search. */
export type SearchPage = Omit<SearchCommand, Envelope | "query"> & { signal?: AbortSignal };

/** The counts that are asked for. */
export type Question = Omit<AnalyzeCommand, Envelope> & { signal?: AbortSignal };

/** The users that are listed; `follow` makes or ends `online_changed` events on this connection. */
export type PresencePage = Omit<PresenceCommand, Envelope> & { signal?: AbortSignal };

export type Online = Omit<OnlineEvent, Envelope>;
export type OnlineChanged = Omit<OnlineChangedEvent, Envelope>;
export type Analysis = Omit<AnalysisEvent, Envelope>;
export type History = Omit<HistoryEvent, Envelope>;
export type SearchResults = Omit<SearchResultsEvent, Envelope>;
export type Receipt = Omit<PublishedEvent, Envelope>;

/** State of the connection; `attempt` counts those to reconnect since the last stable one. */
export type State =
  | { name: "connecting" | "connected"; attempt: number }
  | {
      name: "waiting";
      attempt: number;
      /** When the next attempt is due, by the clock's `now`. */
      retryAt: number;
      /** The close code, and the reason as far as it is known. */
      code: number;
      reason: string;
    }
  | { name: "stopped"; attempt: number; code: number; reason: string };

/** Messages after `from` and up to `to` are gone; `to` is null when the log itself was replaced. */
export interface Gap {
  from: number;
  to: number | null;
}

export interface Latency {
  latencyMs: number;
  seq: number;
}

/** Event of the client → its detail. */
export interface Events {
  state: State;
  gap: Gap;
  /** The content of messages was taken away: forget it. It names messages of the types that are
   * followed, also those that never came, and may come again after a lost connection. */
  redacted: { seqs: number[]; reason: string; at: number };
  /** Back after a lost connection, with the gaps that could not be filled. */
  resumed: { from: number; gaps: Gap[] };
  latency: Latency;
  /** A limit was reached; the command goes out after `seconds`. */
  throttled: { seconds: number; action: string };
  rate_limit: RateLimitEvent;
  /** Users have come or gone. After `presence` with `follow`, follow again after a reconnect: on
   * `connected` of `state`. */
  online_changed: OnlineChanged;
  /** The token was accepted; `expires` is missing when it holds for good. */
  authenticated: Omit<AuthenticatedEvent, Envelope>;
  /** The token expires in so many seconds; with a function as `token` it is renewed by itself. */
  token_expiring: { expires: string; seconds: number };
  error: LiveLogError;
}

export interface Clock {
  now(): number;
  /** Milliseconds that go on while the machine sleeps; without it those of `now` count. */
  wall?(): number;
  setTimeout(call: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

export interface Options {
  /** By default that of the browser or of Node, which has one from version 22 on, and from 20.10 on
   * with the flag `--experimental-websocket`. The class that the package `ws` exports will do. */
  WebSocket?: unknown;
  clock?: Clock;
  /** From 0 up to 1, as `Math.random`. */
  random?: () => number;
  /** Milliseconds of silence after which the server is pinged. */
  heartbeatMs?: number;
  /** Milliseconds that a pong may take, and that it may take to connect. */
  timeoutMs?: number;
  /** Milliseconds after which a connection is stable: the next loss starts a new schedule. */
  stableMs?: number;
  /** A token or an API key, or a function that returns one. The function is called for every
   * connection, and when a token is about to expire. */
  token?: string | (() => string | Promise<string>) | null;
  /** Whether several messages may come in one frame, which costs less and delays them by up to 25
   * milliseconds; true when left out. It makes no difference to listeners. */
  batch?: boolean;
}

/** Messages to follow. */
export interface Wanted<Type extends MessageType> {
  /** All types when left out. */
  types?: readonly Type[];
  filters?: Omit<Filters, "type">;
  /** A seq: the messages after it come first. */
  since?: number | null;
}

/** Messages to count. */
export interface Watched {
  /** The field whose values are counted: `type` when left out. */
  group_by?: string;
  /** 1 to 3600; 1 when left out. */
  interval_seconds?: number;
  filters?: Filters;
}

export type Counts = Omit<CountsEvent, Envelope | "id">;

export interface Subscription {
  /** Resolves when the server has confirmed it, rejects when the server has refused it. */
  ready: Promise<void>;
  stop(): void;
}

export const TYPES: MessageType[];
export const BACKOFF_MS: number[];
export const FINAL_CODES: Record<number, string>;

/** The JSON of a message as it was delivered, with all digits of its numbers. */
export function rawOf(message: Message): string | undefined;

export class LiveLogError extends Error {
  constructor(code: number, issue: string, details?: Record<string, unknown>);
  code: number;
  field: string;
  details: Record<string, unknown>;
}

export class LiveLog {
  /** Without a `url`: the server that this module came from, or else the page. An array names the
   * servers of one log: the client begins at any, and goes on at the next whenever one fails. */
  constructor(url?: string | URL | readonly (string | URL)[], options?: Options);
  readonly state: State;
  readonly seq: number | null;
  on<Name extends keyof Events>(name: Name, handler: (detail: Events[Name]) => void): () => void;
  listen<Type extends MessageType = MessageType>(
    wanted: Wanted<Type>,
    onMessage: (message: Extract<Message, { type: Type }>) => void,
  ): Subscription;
  watch(
    wanted: Watched,
    onCounts: (counts: Counts) => void,
    onGap?: (gap: { from: number; to: number }) => void,
  ): Subscription;
  history(page?: Page): Promise<History>;
  search(query: string | null, page?: SearchPage): Promise<SearchResults>;
  analyze(question?: Question): Promise<Analysis>;
  presence(page?: PresencePage): Promise<Online>;
  watchPresence(
    page: { limit?: number },
    onChange: (change: Online | OnlineChanged) => void,
  ): Subscription;
  publish(message: NewMessage, options?: { signal?: AbortSignal }): Promise<Receipt>;
  ping(): Promise<Latency>;
  reconnect(): void;
  close(): void;
}
