//! What the supervisor and its children say of themselves: the one form that logs, metrics, the API and the page share.
//!
//! Pure data. A snapshot holds one entry per child and partition, so its size is bounded by the configuration.

use super::hold::Hold;
use serde::{Deserialize, Serialize};

/// The state of a supervised child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// Built, not yet at work.
    Starting,
    /// At work.
    Running,
    /// Waiting by order: an operator's pause, or the breaker is open.
    Paused,
    /// Its group is handing out partitions.
    Rebalancing,
    /// Ended; the next start is scheduled.
    BackingOff,
    /// Finishing what is in flight.
    Draining,
    /// Ended by order.
    Stopped,
    /// Ended, and not started again without an operator.
    Failed,
}

impl ChildState {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::Running,
        Self::Paused,
        Self::Rebalancing,
        Self::BackingOff,
        Self::Draining,
        Self::Stopped,
        Self::Failed,
    ];

    /// The name used everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Rebalancing => "rebalancing",
            Self::BackingOff => "backing_off",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// The kinds of children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChildKind {
    /// A logical consumer.
    Consumer,
    /// A writer of the pool.
    DbWriter,
    /// The publisher of dead letters.
    DeadLetter,
    /// The sampler of lag, queues and progress.
    Metrics,
    /// The schedule of the audit.
    Audit,
    /// The heartbeat of the process among the replicas of the group.
    Replica,
}

impl ChildKind {
    /// The name used everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::DbWriter => "db_writer",
            Self::DeadLetter => "dead_letter",
            Self::Metrics => "metrics",
            Self::Audit => "audit",
            Self::Replica => "replica",
        }
    }
}

/// Why a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// Its work was done.
    Finished,
    /// It was told to.
    Requested,
    /// It returned an error.
    Error,
    /// It panicked.
    Panicked,
    /// It made no progress and was ended.
    Stalled,
    /// Another member took its place.
    Fenced,
}

impl ExitReason {
    /// The name used everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Requested => "requested",
            Self::Error => "error",
            Self::Panicked => "panicked",
            Self::Stalled => "stalled",
            Self::Fenced => "fenced",
        }
    }
}

/// One end of a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ExitRecord {
    /// Why.
    pub reason: ExitReason,
    /// The error or panic message.
    pub message: String,
    /// Source location of a panic, `file:line`.
    pub location: Option<String>,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The generation that ended.
    pub generation: u64,
}

/// One child as the supervisor sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ChildStatus {
    /// Unique name: the consumer id, `writer-1`, `dead-letter`, `metrics`.
    pub id: String,
    /// Kind.
    pub kind: ChildKind,
    /// State.
    pub state: ChildState,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: i64,
    /// How often it was built.
    pub generation: u64,
    /// How often it was started again after an end.
    pub restarts: u64,
    /// Restarts that are left within the period.
    pub budget_left: u32,
    /// When a child that is backing off starts again, in milliseconds since the epoch.
    pub next_start_ms: Option<i64>,
    /// The last end.
    pub last_exit: Option<ExitRecord>,
}

/// One owned partition as its consumer sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PartitionStatus {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The next offset that is not stored yet: the position in the database as this owner believes.
    pub next_offset: i64,
    /// The next offset that is taken from Kafka: what lies between the stored position and it is being written. `None` while
    /// the partition is not read.
    #[serde(default)]
    pub read_offset: Option<i64>,
    /// The last stable offset of the log, where it is known.
    pub end_offset: Option<i64>,
    /// Records between the two; `None` while the end is unknown.
    pub lag: Option<i64>,
    /// Timestamp of the newest record that its consumer stored, in milliseconds since the epoch.
    #[serde(default)]
    pub newest_timestamp_ms: Option<i64>,
    /// Why the partition is not read on.
    pub stopped: Option<PartitionStop>,
    /// By whose order it is not read.
    pub held: Option<Hold>,
}

/// Why a partition is not read on, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PartitionStop {
    /// A [`crate::domain::failure::StopCode`] by its stable name.
    pub code: String,
    /// What was found and what to do.
    pub message: String,
    /// Milliseconds since the epoch.
    pub since_ms: i64,
}

/// What one consumer did since the process started, and what it owns now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ConsumerStatus {
    /// Consumer id.
    pub id: String,
    /// Rows stored.
    pub stored: u64,
    /// Records dead-lettered.
    pub dead_letters: u64,
    /// Records skipped because they were stored already.
    pub duplicates: u64,
    /// The order by which all that it owns is not read.
    #[serde(default)]
    pub held: Option<Hold>,
    /// Owned partitions.
    pub partitions: Vec<PartitionStatus>,
}

/// The breaker in front of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BreakerStatus {
    /// Open: the store is away, nothing is written.
    pub open: bool,
    /// What opened it.
    pub cause: Option<String>,
    /// When it opened, in milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// When the next probe is due, in milliseconds since the epoch.
    pub next_probe_ms: Option<i64>,
    /// How often it opened since the process started.
    pub trips: u64,
}
