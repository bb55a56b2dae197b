// The API's types, as docs/openapi.json describes them. `_ms` is milliseconds since the epoch, or a duration where the
// name says so; null means unknown.

export type ChildState =
  | "starting"
  | "running"
  | "paused"
  | "rebalancing"
  | "backing_off"
  | "draining"
  | "stopped"
  | "failed";

export type ChildKind = "consumer" | "db_writer" | "dead_letter" | "metrics" | "audit" | "replica";

export interface ExitRecord {
  reason: "finished" | "requested" | "error" | "panicked" | "stalled" | "fenced";
  message: string;
  location: string | null;
  at_ms: number;
  generation: number;
}

export interface ChildStatus {
  id: string;
  kind: ChildKind;
  state: ChildState;
  since_ms: number;
  generation: number;
  restarts: number;
  budget_left: number;
  next_start_ms: number | null;
  last_exit: ExitRecord | null;
}

export interface Hold {
  kind: "paused" | "quarantined";
  reason: string;
  by: string;
  since_ms: number;
  until_ms: number | null;
}

export interface PartitionStatus {
  topic: string;
  partition: number;
  next_offset: number;
  end_offset: number | null;
  lag: number | null;
  lag_seconds: number | null;
  stopped: { code: string; message: string; since_ms: number } | null;
  held: Hold | null;
}

export interface ConsumerSnapshot {
  id: string;
  state: ChildState | null;
  since_ms: number | null;
  restarts: number;
  budget_left: number | null;
  next_start_ms: number | null;
  generation: number | null;
  stored: number;
  dead_letters: number;
  duplicates: number;
  errors: number;
  stored_per_s: number | null;
  lag: number | null;
  lag_seconds: number | null;
  held: Hold | null;
  last_exit: ExitRecord | null;
  partitions: PartitionStatus[];
}

export interface BreakerStatus {
  open: boolean;
  cause: string | null;
  since_ms: number | null;
  next_probe_ms: number | null;
  trips: number;
}

export interface AuditResult {
  finished_at_ms: number;
  took_ms: number;
  by: string;
  full: boolean;
  clean: boolean;
  offsets: number;
  unaccounted: number;
  overlapping: number;
}

export type Stage = "idle" | "fetch" | "decode" | "write" | "commit" | "held" | "store_away";

export interface Snapshot {
  now_ms: number;
  version: string;
  replica_id: string;
  group: string;
  topics: string[];
  store: string;
  started_at_ms: number;
  draining: boolean;
  readiness: { ready: boolean; reasons: string[] };
  breaker: BreakerStatus;
  audit: AuditResult | null;
  replicas: number | null;
  totals: {
    consumed: number;
    stored: number;
    dead_letters: number;
    duplicates: number;
    errors: number;
    restarts: number;
  };
  rates: {
    consumed_per_s: number | null;
    stored_per_s: number | null;
    dead_letters_per_s: number | null;
    errors_per_s: number | null;
    bytes_per_s: number | null;
  };
  lag: number | null;
  lag_seconds: number | null;
  lag_trend_per_s: number | null;
  time_to_zero_s: number | null;
  limiting_stage: Stage;
  writers: { busy: number; count: number };
  memory: { used_bytes: number | null; limit_bytes: number | null };
  consumers: ConsumerSnapshot[];
  children: ChildStatus[];
  stream: { clients: number; dropped: number };
}

export interface EventRow {
  topic: string;
  partition: number;
  offset: number;
  key: string | null;
  user_id: string | null;
  event_type: string | null;
  element_id: string | null;
  occurred_at_ms: number | null;
  stored_at_ms: number;
  consumer_id: string | null;
  source: string | null;
  status: "stored" | "dead_letter";
  code: string | null;
}

export interface FeedRow extends EventRow {
  latency_ms: number | null;
}

export interface FeedMessage {
  rows: FeedRow[];
  dropped: number;
}

export interface EventDetail extends FeedRow {
  payload: string | null;
  payload_truncated: boolean;
  incarnation: number | null;
}

export type EventStatus =
  | "stored"
  | "dead_letter"
  | "being_written"
  | "not_read_yet"
  | "expired"
  | "skipped"
  | "unknown";

export interface DeadLetterDetail {
  code: string;
  message: string;
  stage: string;
  attempts: number;
  consumer_id: string;
  incarnation: number;
  failed_at_ms: number;
  published_at_ms: number | null;
  publish_outcome: string | null;
  publish_error: string | null;
  key: string | null;
  value: string | null;
  value_truncated: boolean;
  value_bytes: number | null;
  timestamp_ms: number | null;
  headers: { name: string; value: string | null }[];
}

export interface EventAnswer {
  status: EventStatus;
  event: EventDetail | null;
  /** Of a dead letter, which has no `event`. */
  dead_letter: DeadLetterDetail | null;
  position: { next_offset: number | null; end_offset: number | null; low_offset: number | null } | null;
  detail: string;
}

export interface EventPage {
  events: EventRow[];
  next: string | null;
  looked_back_to_ms: number | null;
  complete: boolean;
}

export interface History {
  step_ms: number;
  from_ms: number;
  points: number;
  series: Record<"stored_per_s" | "dead_letters_per_s" | "errors_per_s" | "lag" | "lag_seconds", (number | null)[]>;
  consumers: Record<string, { stored_per_s: (number | null)[]; lag: (number | null)[] }>;
}

export interface Session {
  role: "operator" | "viewer" | null;
  login_required: boolean;
  read_only: boolean;
  actions: boolean;
  drills: boolean;
  version: string;
  base_path: string;
}

export interface TopEntry {
  name: string;
  count: number;
  error: number;
}

export interface Statistics {
  /** Dead letters are counted up to a limit; `capped` says that it was reached. */
  totals: { stored: number; dead_letters: number; dead_letters_capped?: boolean };
  by_type: { event_type: string; count: number }[];
  per_minute: { minute_ms: number; count: number }[];
  top_elements: TopEntry[];
  top_users: TopEntry[];
  sketch_since_ms: number | null;
}

export interface Queue {
  waiting: number | null;
  being_written: number | null;
  stored: number;
  dead_letters: number;
  /** Since when this process counts. */
  since_ms: number;
  /** Of transactions, each a batch of records. */
  processing_ms: { mean: number | null; p95: number | null; count: number };
}

export interface Sent {
  topic: string;
  partition: number;
  offset: number;
  source: string | null;
}

export interface BurstStatus {
  count: number;
  sent: number;
  failed: number;
  /** Why the last one failed. */
  error: string | null;
  done: boolean;
  /** The last that were delivered, newest first. */
  last: { topic: string; partition: number; offset: number; poison: boolean }[];
}

export interface ProblemBody {
  title?: string;
  status?: number;
  detail?: string;
  code?: string;
}
