/* Commands, events and messages as they are on the wire. Generated, do not edit. */

export type Command =
  | SubscribeCommand
  | UnsubscribeCommand
  | GetHistoryCommand
  | SearchCommand
  | AnalyzeCommand
  | WatchCommand
  | UnwatchCommand
  | PresenceCommand
  | PingCommand
  | PublishCommand
  | AuthenticateCommand
  | AdminCommand;

export type ServerEvent =
  | ConnectedEvent
  | AuthenticatedEvent
  | TokenExpiringEvent
  | SubscribedEvent
  | UnsubscribedEvent
  | PublishedEvent
  | PongEvent
  | HistoryEvent
  | SearchResultsEvent
  | AnalysisEvent
  | WatchingEvent
  | UnwatchedEvent
  | CountsEvent
  | OnlineEvent
  | OnlineChangedEvent
  | GapEvent
  | RedactedEvent
  | RateLimitEvent
  | AdminResultEvent
  | ErrorEvent
  | DisconnectedEvent;

export type Message =
  | DeliveredUser
  | DeliveredSystem
  | DeliveredDirect
  | DeliveredRaid
  | DeliveredParty
  | DeliveredGuild;

export type MessageType =
  | "user"
  | "system"
  | "dm"
  | "raid"
  | "party"
  | "guild";

/** Subscribe to these types, with these filters, from now on or from after `since`. */
export interface SubscribeCommand {
  action: "subscribe";
  request_id?: string | number;
  message_types: MessageType[];
  filters?: Filters;
  since?: number;
}

/** Conditions on a message; a message matches when all given ones hold. */
export interface Filters {
  type?: MessageType | MessageType[];
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
  date_from?: string;
  date_to?: string;
  text?: string;
  where?: string | Record<string, unknown>;
}

/** Unsubscribe from these types. */
export interface UnsubscribeCommand {
  action: "unsubscribe";
  request_id?: string | number;
  message_types: MessageType[];
}

/** Ask for a page of past messages, newest first: from `offset` on, or next to a seq. */
export interface GetHistoryCommand {
  action: "get_history";
  request_id?: string | number;
  limit?: number;
  offset?: number;
  before?: number;
  after?: number;
  around?: number;
  filters?: Filters;
}

/**
 * Ask for a page of past messages that contain the words of `query`, newest first.
 *
 * With `filters.where` it may be left out.
 */
export interface SearchCommand {
  action: "search";
  request_id?: string | number;
  query?: string;
  limit?: number;
  offset?: number;
  filters?: Filters;
}

/** Ask for exact counts of past messages: by the values of a field, over time, or both. */
export interface AnalyzeCommand {
  action: "analyze";
  request_id?: string | number;
  filters?: Filters;
  group_by?: string;
  limit?: number;
  interval_seconds?: number;
  timezone?: string;
  distinct?: string;
}

/**
 * Ask for `counts` in each interval: how many messages there were, by the values of a field.
 *
 * The messages themselves are not sent. Intervals are aligned to the epoch. The same `id` again
 * replaces a watch; a connection may have 16.
 */
export interface WatchCommand {
  action: "watch";
  request_id?: string | number;
  id: string;
  group_by?: string;
  interval_seconds?: number;
  filters?: Filters;
}

/** End a watch. */
export interface UnwatchCommand {
  action: "unwatch";
  request_id?: string | number;
  id: string;
}

/** Ask how many users are on line, and with the scope `presence` who; or for the changes. */
export interface PresenceCommand {
  action: "presence";
  request_id?: string | number;
  limit?: number;
  offset?: number;
  follow?: boolean;
}

/** Ask for a `pong`. */
export interface PingCommand {
  action: "ping";
  request_id?: string | number;
}

/** Append a message to the log. */
export interface PublishCommand {
  action: "publish";
  request_id?: string | number;
  message: UserMessage | SystemMessage | DirectMessage | RaidMessage | PartyMessage | GuildMessage;
}

/** A chat message of a user. */
export interface UserMessage {
  type: "user";
  id?: string;
  timestamp?: string;
  user_id: string;
  username: string;
  user_avatar?: string | null;
  user_badge?: string | null;
  content: string;
  metadata?: Record<string, unknown>;
}

/** An event of the game server. */
export interface SystemMessage {
  type: "system";
  id?: string;
  timestamp?: string;
  event:
    | "error"
    | "raid_started"
    | "server_maintenance"
    | "user_joined"
    | "user_left"
    | "user_leveled_up";
  data?: Record<string, unknown>;
  severity?: "critical" | "error" | "info" | "warning";
}

/** A private message from one user to another. */
export interface DirectMessage {
  type: "dm";
  id?: string;
  timestamp?: string;
  from_user_id: string;
  from_username: string;
  to_user_id: string;
  content: string;
  read?: boolean;
}

/** The state of a raid. */
export interface RaidMessage {
  type: "raid";
  id?: string;
  timestamp?: string;
  raid_id: string;
  raid_name: string;
  boss_name: string;
  difficulty: string;
  participants?: Participant[];
  status: "in_progress" | "preparing" | "victory" | "wipe";
  health_percentage?: number | null;
  duration_seconds?: number | null;
}

/** One member of a raid; `class` is `class_` in Python. */
export interface Participant {
  user_id: string;
  username: string;
  role?: string | null;
  class?: string | null;
}

/** An event in a party. */
export interface PartyMessage {
  type: "party";
  id?: string;
  timestamp?: string;
  party_id: string;
  leader_id: string;
  leader_name: string;
  member_count: number;
  event: "disbanded" | "level_bonus" | "member_joined" | "member_left" | "member_promoted";
  event_data?: Record<string, unknown>;
}

/** An event in a guild. */
export interface GuildMessage {
  type: "guild";
  id?: string;
  timestamp?: string;
  guild_id: string;
  guild_name: string;
  guild_level: number;
  event:
    | "conquest_complete"
    | "conquest_started"
    | "member_joined"
    | "member_left"
    | "treasury_deposit"
    | "upgrade_complete"
    | "war_declared";
  event_data?: Record<string, unknown>;
}

/** Authenticate, or renew a token before it expires; takes one of the two fields. */
export interface AuthenticateCommand {
  action: "authenticate";
  request_id?: string | number;
  token?: string;
  api_key?: string;
}

/** Carry out a command of an operator or a moderator; its own fields stand beside it. */
export interface AdminCommand {
  action: "admin";
  request_id?: string | number;
  command: string;
}

/** The first event on every connection. */
export interface ConnectedEvent {
  action: "connected";
  request_id?: string | number;
  connection_id: string;
  message: string;
  max_message_bytes?: number;
}

/** The connection is authenticated. */
export interface AuthenticatedEvent {
  action: "authenticated";
  request_id?: string | number;
  id: string;
  scopes: string[];
  expires?: string;
}

/** The token expires within a minute; without a new `authenticate` the connection is closed. */
export interface TokenExpiringEvent {
  action: "token_expiring";
  request_id?: string | number;
  expires: string;
  expires_in_seconds: number;
}

/**
 * The whole subscription now in force.
 *
 * `seq`: all subscribed messages up to here have been sent, the subscription holds for those after
 * it, and it is a safe `since`.
 */
export interface SubscribedEvent {
  action: "subscribed";
  request_id?: string | number;
  message_types: MessageType[];
  filters?: Record<string, Filters>;
  where_ast?: Record<string, Record<string, unknown>>;
  seq: number;
}

/** The whole subscription now in force. */
export interface UnsubscribedEvent {
  action: "unsubscribed";
  request_id?: string | number;
  message_types: MessageType[];
  filters?: Record<string, Filters>;
  where_ast?: Record<string, Record<string, unknown>>;
  seq: number;
}

/** The message has been appended to the log. */
export interface PublishedEvent {
  action: "published";
  request_id?: string | number;
  id: string;
  seq: number;
}

/**
 * The answer to `ping`; `seq`: all subscribed messages up to here have been sent.
 *
 * With authentication it is that of a message which the client may read, as in `subscribed`; a
 * client that has not authenticated yet is told none.
 */
export interface PongEvent {
  action: "pong";
  request_id?: string | number;
  timestamp: string;
  seq?: number;
}

/** A page of `get_history`. */
export interface HistoryEvent {
  action: "history";
  request_id?: string | number;
  messages: (Message | Stub)[];
  total_count: number;
  limit: number;
  offset: number;
  truncated?: boolean;
  next_offset?: number;
  incomplete?: boolean;
  where?: string;
  where_ast?: Record<string, unknown>;
}

/** A page of `search`. */
export interface SearchResultsEvent {
  action: "search_results";
  request_id?: string | number;
  query?: string;
  results: (Message | Stub)[];
  count: number;
  limit: number;
  offset: number;
  truncated?: boolean;
  next_offset?: number;
  incomplete?: boolean;
  where?: string;
  where_ast?: Record<string, unknown>;
}

/** The counts that `analyze` asked for. */
export interface AnalysisEvent {
  action: "analysis";
  request_id?: string | number;
  total_count: number;
  groups?: Group[];
  others?: number;
  missing?: number;
  distinct?: number;
  buckets?: Bucket[];
  incomplete?: boolean;
  where?: string;
  where_ast?: Record<string, unknown>;
}

/** A value of a field, and the number of messages that have it. */
export interface Group {
  value: string;
  count: number;
}

/** A stretch of time with messages, and their number. */
export interface Bucket {
  start: string;
  count: number;
  groups?: Record<string, number>;
  distinct?: number;
}

/** The watch is in force; messages after `seq` are counted. */
export interface WatchingEvent {
  action: "watching";
  request_id?: string | number;
  id: string;
  seq: number;
}

/** The watch has ended: as `unwatch` asked, or because a new token does not allow it. */
export interface UnwatchedEvent {
  action: "unwatched";
  request_id?: string | number;
  id: string;
}

/**
 * The messages after `from_seq` and up to `to_seq`, counted by the values of a field.
 *
 * They are sent in each interval, also when there was no message. A client that reads slowly gets
 * fewer of them, each over a longer time. Each begins where the one before has ended.
 */
export interface CountsEvent {
  action: "counts";
  request_id?: string | number;
  id: string;
  from_seq: number;
  to_seq: number;
  total_count: number;
  counts: Record<string, number>;
  others?: number;
  missing?: number;
  incomplete?: boolean;
}

/** The answer to `presence`: users with a connection, at all servers of the log. */
export interface OnlineEvent {
  action: "online";
  request_id?: string | number;
  count: number;
  users?: OnlineUser[];
  offset?: number;
  age_seconds?: number;
}

/** A user that is on line. */
export interface OnlineUser {
  id: string;
  connections: number;
  since: string;
}

/** Users have come or gone; at most once a second. */
export interface OnlineChangedEvent {
  action: "online_changed";
  request_id?: string | number;
  count: number;
  joined?: OnlineUser[];
  left?: string[];
  incomplete?: boolean;
}

/** Messages after `from` and up to `to` are no longer stored; later ones follow. */
export interface GapEvent {
  action: "gap";
  request_id?: string | number;
  from: number;
  to: number;
}

/**
 * The content of messages was taken away; forget it. Stubs stand in their place.
 *
 * It names all messages of the types that you subscribed to, also those that you never got, and up
 * to 1000 at once. A connection that resumes behind a redaction is told of it again.
 */
export interface RedactedEvent {
  action: "redacted";
  request_id?: string | number;
  seqs: number[];
  reason?: string;
  at: number;
}

/** A warning: use has reached 95 % of a limit. */
export interface RateLimitEvent {
  action: "rate_limit";
  request_id?: string | number;
  scope: string;
  current_requests: number;
  limit: number;
  window_seconds: number;
  reset_in_seconds: number;
}

/** The answer to `admin`. */
export interface AdminResultEvent {
  action: "admin_result";
  request_id?: string | number;
  command: string;
  result: Record<string, unknown>;
  nodes?: Record<string, string>;
}

/** A command was refused; the connection stays open unless `disconnected` follows. */
export interface ErrorEvent {
  action: "error";
  request_id?: string | number;
  error_code: number;
  error_message: string;
  details?: Record<string, unknown>;
}

/** The last event on a connection that the server closes. */
export interface DisconnectedEvent {
  action: "disconnected";
  request_id?: string | number;
  reason: "connection_timeout" | "normal_closure" | "protocol_error" | "server_error";
  reconnect_after_ms?: number;
  reconnect?: boolean;
}

/** A `UserMessage` with its place in the log. */
export interface DeliveredUser {
  type: "user";
  id: string;
  timestamp: string;
  user_id: string;
  username: string;
  user_avatar: string | null;
  user_badge: string | null;
  content: string;
  metadata: Record<string, unknown>;
  seq: number;
}

/** A `SystemMessage` with its place in the log. */
export interface DeliveredSystem {
  type: "system";
  id: string;
  timestamp: string;
  event:
    | "error"
    | "raid_started"
    | "server_maintenance"
    | "user_joined"
    | "user_left"
    | "user_leveled_up";
  data: Record<string, unknown>;
  severity: "critical" | "error" | "info" | "warning";
  seq: number;
}

/** A `DirectMessage` with its place in the log. */
export interface DeliveredDirect {
  type: "dm";
  id: string;
  timestamp: string;
  from_user_id: string;
  from_username: string;
  to_user_id: string;
  content: string;
  read: boolean;
  seq: number;
}

/** A `RaidMessage` with its place in the log. */
export interface DeliveredRaid {
  type: "raid";
  id: string;
  timestamp: string;
  raid_id: string;
  raid_name: string;
  boss_name: string;
  difficulty: string;
  participants: Participant[];
  status: "in_progress" | "preparing" | "victory" | "wipe";
  health_percentage: number | null;
  duration_seconds: number | null;
  seq: number;
}

/** A `PartyMessage` with its place in the log. */
export interface DeliveredParty {
  type: "party";
  id: string;
  timestamp: string;
  party_id: string;
  leader_id: string;
  leader_name: string;
  member_count: number;
  event: "disbanded" | "level_bonus" | "member_joined" | "member_left" | "member_promoted";
  event_data: Record<string, unknown>;
  seq: number;
}

/** A `GuildMessage` with its place in the log. */
export interface DeliveredGuild {
  type: "guild";
  id: string;
  timestamp: string;
  guild_id: string;
  guild_name: string;
  guild_level: number;
  event:
    | "conquest_complete"
    | "conquest_started"
    | "member_joined"
    | "member_left"
    | "treasury_deposit"
    | "upgrade_complete"
    | "war_declared";
  event_data: Record<string, unknown>;
  seq: number;
}

/** A message without its content, which was redacted. */
export interface Stub {
  redacted: true;
  type: MessageType;
  id: string;
  timestamp: string;
  reason?: string;
  from_user_id?: string;
  to_user_id?: string;
  seq: number;
}
