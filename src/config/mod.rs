//! The validated configuration: one sub-struct per part of drover that consumes it.
//!
//! Built once at start from defaults < `drover.toml` < environment < flags, read only by `app.rs` and `commands/`, which
//! hand each part its own slice. All problems of a configuration are reported together. Durations are
//! [`std::time::Duration`], sizes are bytes unless the name says otherwise.

mod error;
mod file;
pub mod forbidden;
mod guards;
mod http;
pub mod keys;
mod load;
mod raw;
mod reader;
mod rules;
pub mod table;
pub mod units;
mod validate;

#[cfg(test)]
mod tests;

pub use error::{ConfigError, Problem, Source};
pub use file::ConfigFile;
pub use guards::{StormConfig, WatchdogConfig};
pub use http::HttpConfig;
pub use load::{Inputs, Resolution, Setting, load, resolve};
pub use raw::{Override, RawValue};
pub use validate::{MOST_CONSUMERS, MOST_WRITERS, Needs};

use std::collections::BTreeMap;
use std::time::Duration;

/// Everything that drover can be told, checked and complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The id of this process among the replicas of the group. `None`: the host name, and membership is dynamic.
    pub replica_id: Option<String>,
    /// The brokers, topics and group that are read.
    pub kafka: KafkaConfig,
    /// The logical consumers of this process.
    pub consumers: ConsumersConfig,
    /// How a record becomes a row.
    pub events: EventsConfig,
    /// Where rows go.
    pub store: StoreConfig,
    /// What happens to records that cannot be rows.
    pub dead_letters: DeadLettersConfig,
    /// When the audit runs by itself.
    pub audit: AuditConfig,
    /// Bounds of memory and size.
    pub limits: LimitsConfig,
    /// When a partition whose records fail is quarantined.
    pub storm: StormConfig,
    /// When something counts as stalled.
    pub watchdog: WatchdogConfig,
    /// Restart policies per kind of child.
    pub supervision: SupervisionConfig,
    /// Faults made on purpose.
    pub drills: DrillsConfig,
    /// The HTTP server.
    pub http: HttpConfig,
    /// How a start waits for what is not there yet.
    pub startup: StartupConfig,
    /// How a stop drains.
    pub shutdown: ShutdownConfig,
    /// What is logged and how.
    pub log: LogConfig,
}

/// The brokers, topics and group that are read. [`std::fmt::Debug`] hides secret librdkafka properties.
#[derive(Clone, PartialEq)]
pub struct KafkaConfig {
    /// `host:port` list, comma separated (`kafka.brokers`, `KAFKA_BOOTSTRAP_SERVERS`).
    pub brokers: String,
    /// Topics to read, at least one, no duplicates.
    pub topics: Vec<String>,
    /// The consumer group.
    pub group: String,
    /// Where a topic that was never seen starts when no other program committed a position for the group.
    pub start_from: StartFrom,
    /// Create missing topics at start.
    pub create_topics: bool,
    /// Partitions of a topic that drover creates (`TOPIC_PARTITIONS`).
    pub partitions: i32,
    /// Replication factor of a topic that drover creates; -1 is the broker's default.
    pub replication: i32,
    /// The rebalance protocol of the group.
    pub protocol: GroupProtocol,
    /// Session timeout of a group member, 30 s by default; not sent with the `consumer` protocol, where the broker decides.
    pub session_timeout: Duration,
    /// Further librdkafka properties of consumers, already checked against the forbidden list.
    pub consumer: BTreeMap<String, String>,
    /// Further librdkafka properties of producers.
    pub producer: BTreeMap<String, String>,
}

impl std::fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hidden = |properties: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            let hide = |name: &str, value: &str| if forbidden::is_secret(name) { "***".into() } else { value.into() };
            properties.iter().map(|(name, value)| (name.clone(), hide(name, value))).collect()
        };
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("topics", &self.topics)
            .field("group", &self.group)
            .field("start_from", &self.start_from)
            .field("create_topics", &self.create_topics)
            .field("partitions", &self.partitions)
            .field("replication", &self.replication)
            .field("protocol", &self.protocol)
            .field("session_timeout", &self.session_timeout)
            .field("consumer", &hidden(&self.consumer))
            .field("producer", &hidden(&self.producer))
            .finish()
    }
}

/// Where reading starts in a topic that was never seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// At the oldest record that Kafka still has.
    Earliest,
    /// After the newest record.
    Latest,
    /// At the first record at or after this time, in milliseconds since the epoch.
    Time(i64),
}

/// The rebalance protocol of a consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The classic protocol with cooperative-sticky assignment.
    Classic,
    /// KIP-848: the broker assigns.
    Consumer,
}

/// The logical consumers of this process.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumersConfig {
    /// Ids of the consumers, unique, at least one.
    pub ids: Vec<String>,
    /// Batches of one consumer that may be in flight at once, each on partitions of its own.
    pub lanes: usize,
    /// Minimum age of a batch before it is written; zero commits as soon as a writer is free.
    pub min_batch_age: Duration,
}

/// How records of all topics, and of single topics, become rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventsConfig {
    /// The mapping of topics without one of their own.
    pub default: FieldMapping,
    /// Mappings of single topics.
    pub topics: BTreeMap<String, FieldMapping>,
}

/// Which JSON fields of a document fill the columns of `events`, and which must be there.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldMapping {
    /// Name of the JSON field that fills `event_type`.
    pub event_type: String,
    /// Name of the JSON field that fills `user_id`.
    pub user_id: String,
    /// Name of the JSON field that fills `element_id`.
    pub element_id: String,
    /// Name of the JSON field that fills `occurred_at`.
    pub timestamp: String,
    /// Names of JSON fields that must be there and not null.
    pub required: Vec<String>,
    /// Store a record without a value (a tombstone) as a row with a null payload, instead of dead-lettering it.
    pub store_tombstones: bool,
}

impl Default for FieldMapping {
    fn default() -> Self {
        Self {
            event_type: "event_type".into(),
            user_id: "user_id".into(),
            element_id: "element_id".into(),
            timestamp: "timestamp".into(),
            required: vec!["event_type".into()],
            store_tombstones: false,
        }
    }
}

/// Where rows go.
#[derive(Clone, PartialEq)]
pub struct StoreConfig {
    /// `postgres://…` or `sqlite:PATH`. Holds a password: [`std::fmt::Debug`] hides it.
    pub url: String,
    /// PostgreSQL schema that holds drover's tables.
    pub schema: String,
    /// Writers, each with one connection.
    pub writers: usize,
    /// Migrate at start.
    pub migrate: bool,
    /// Client-side deadline of one batch transaction.
    pub transaction_timeout: Duration,
    /// How long a statement waits for a lock before the batch is retried.
    pub lock_timeout: Duration,
    /// First delay between probes while the store is away.
    pub probe_min: Duration,
    /// Longest delay between probes while the store is away.
    pub probe_max: Duration,
}

impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreConfig")
            .field("url", &hide_password(&self.url))
            .field("schema", &self.schema)
            .field("writers", &self.writers)
            .field("migrate", &self.migrate)
            .field("transaction_timeout", &self.transaction_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .field("probe_min", &self.probe_min)
            .field("probe_max", &self.probe_max)
            .finish()
    }
}

/// What happens to records that cannot be rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLettersConfig {
    /// Publish dead letters to a topic as well as keeping them in the table.
    pub publish: bool,
    /// Name of that topic; `{topic}` stands for the source topic.
    pub topic: String,
    /// Create that topic, with the source's partition count, when it is missing.
    pub create_topic: bool,
}

/// When the audit runs by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditConfig {
    /// Time between two audits of the group; zero: none by itself.
    pub interval: Duration,
}

/// Bounds of memory and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Bytes of all queues and buffers of the process together.
    pub memory: usize,
    /// Largest record that is stored; larger ones are dead letters with their bytes.
    pub record_bytes: usize,
    /// Most rows of one batch.
    pub batch_rows: usize,
    /// Most bytes of one batch. 2 MiB is the knee of the curve (docs/BENCHMARKS.md).
    pub batch_bytes: usize,
}

/// Restart policies per kind of child.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SupervisionConfig {
    /// Consumers.
    pub consumer: RestartConfig,
    /// Writers of the pool.
    pub db_writer: RestartConfig,
    /// The dead-letter actor.
    pub dead_letter: RestartConfig,
    /// The metrics actor.
    pub metrics: RestartConfig,
    /// The heartbeat of the process among the replicas.
    pub replica: RestartConfig,
    /// What happens when a child spends its restarts.
    pub escalation: Escalation,
}

/// When and how often a child is started again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RestartConfig {
    /// First delay.
    pub min: Duration,
    /// Longest delay.
    pub max: Duration,
    /// Growth of the delay per attempt, at least 1.
    pub factor: f64,
    /// Share of the delay that is random, 0 to 1.
    pub jitter: f64,
    /// Time of undisturbed running after which the delay starts at `min` again.
    pub reset_after: Duration,
    /// Restarts within `period` past which the child is `failed`.
    pub intensity: u32,
    /// The window of `intensity`.
    pub period: Duration,
}

/// What happens when a child spends its restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escalation {
    /// The others keep running and readiness turns red.
    KeepOthers,
    /// The process drains and exits non-zero, so that its own supervisor restarts it.
    Exit,
}

/// Faults made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrillsConfig {
    /// Whether drills may be run here, and events obeyed that ask to be slow or to fail.
    pub enabled: bool,
}

/// How a start waits for what is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartupConfig {
    /// How long a start waits for a broker or a database that does not answer.
    pub wait: Duration,
}

/// How a stop drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownConfig {
    /// How long a stop waits for what is in flight.
    pub grace: Duration,
    /// Give up the place in the group at once, also as a static member.
    pub leave: bool,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// A `tracing` filter such as `info` or `drover=debug,info`.
    pub filter: String,
    /// Text or JSON lines.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The URL with its password replaced by `***`, in the user part and in the parameters. Of a text that has the form of
/// no URL of a store nothing is shown, because a password may stand anywhere in it.
#[must_use]
pub fn hide_password(url: &str) -> String {
    if url.is_empty() || (url.starts_with("sqlite:") && !url.contains('@')) {
        return url.to_owned();
    }
    let Some(user) = url.find("://").map(|at| at + 3) else {
        return "***".into();
    };
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    // The last '@' ends the user part also when the password holds an unescaped '@', '/' or '?'.
    let Some((base, query)) = (match (base.rfind('@'), query.contains('@')) {
        (_, true) => None,
        (Some(at), false) if at >= user => match base[user..at].find(':') {
            Some(colon) => Some((format!("{}***{}", &base[..=user + colon], &base[at..]), query)),
            None => Some((base.to_owned(), query)),
        },
        (_, false) => Some((base.to_owned(), query)),
    }) else {
        return format!("{}***", &url[..user]);
    };
    if query.is_empty() {
        return base;
    }
    let hidden = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}=***"),
        _ => parameter.to_owned(),
    });
    format!("{base}?{}", hidden.collect::<Vec<_>>().join("&"))
}
