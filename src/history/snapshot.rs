//! What a process looks like at one moment: what the page shows, and what the stream sends each second.
//!
//! Pure data; one entry per child, consumer and owned partition. Times that end in `_ms` are milliseconds since the epoch. What
//! is not known is null.

use crate::board::Readiness;
use crate::domain::audit::AuditResult;
use crate::domain::hold::Hold;
use crate::domain::limiting::Stage;
use crate::domain::status::{BreakerStatus, ChildState, ChildStatus, ExitRecord, PartitionStatus};
use serde::Serialize;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Snapshot {
    /// When it was made.
    pub now_ms: i64,
    /// Version of drover.
    pub version: String,
    /// The id of this process among the replicas of the group.
    pub replica_id: String,
    /// Consumer group.
    pub group: String,
    /// Topics that are read.
    pub topics: Vec<String>,
    /// The kind of store: `postgres` or `sqlite`.
    pub store: String,
    /// When the process started.
    pub started_at_ms: i64,
    /// It is stopping.
    pub draining: bool,
    /// Whether it does its work, and why not.
    pub readiness: Readiness,
    /// The breaker in front of the store.
    pub breaker: BreakerStatus,
    /// The last audit of the group, of its partitions only those that are not clean; null before the first.
    pub audit: Option<AuditResult>,
    /// Processes of the group that give signs of life; null while that is not known.
    pub replicas: Option<usize>,
    /// Counts since the process started.
    pub totals: Totals,
    /// What comes of them a second, over the last three.
    pub rates: Rates,
    /// Records behind in all owned partitions; null while that of one is not known.
    pub lag: Option<i64>,
    /// Age of the oldest record that is not stored; null while it is not known.
    pub lag_seconds: Option<f64>,
    /// How much the lag grew a second, over the last half minute.
    pub lag_trend_per_s: Option<f64>,
    /// Seconds until nothing is behind when it goes on like this; null where it does not shrink.
    pub time_to_zero_s: Option<f64>,
    /// The stage that limits.
    pub limiting_stage: Stage,
    /// The writers.
    pub writers: Writers,
    /// The byte budget.
    pub memory: Memory,
    /// The consumers of this process.
    pub consumers: Vec<ConsumerView>,
    /// All that the supervisor watches.
    pub children: Vec<ChildStatus>,
    /// Who looks at the stream.
    pub stream: StreamView,
}

/// Counts since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Totals {
    /// Records taken from Kafka.
    pub consumed: u64,
    /// Rows stored.
    pub stored: u64,
    /// Records dead-lettered.
    pub dead_letters: u64,
    /// Records skipped because they were stored already.
    pub duplicates: u64,
    /// What failed and was no fault of a record: repeated tries of processor and store, refused commits of the hint, and
    /// ends of children that nobody ordered.
    pub errors: u64,
    /// Children that were started again.
    pub restarts: u64,
}

/// What happens a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Rates {
    /// Records taken from Kafka.
    pub consumed_per_s: f64,
    /// Rows stored.
    pub stored_per_s: f64,
    /// Records dead-lettered.
    pub dead_letters_per_s: f64,
    /// Errors as in [`Totals::errors`].
    pub errors_per_s: f64,
    /// Bytes of keys and values taken from Kafka.
    pub bytes_per_s: f64,
}

/// The writers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Writers {
    /// Batches that are being written or wait for a writer.
    pub busy: i64,
    /// Writers.
    pub count: i64,
}

/// The byte budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Memory {
    /// Bytes that are reserved.
    pub used_bytes: i64,
    /// Bytes that may be.
    pub limit_bytes: i64,
}

/// Who looks at the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct StreamView {
    /// Open streams.
    pub clients: i64,
    /// Rows of the feed that a client was too slow for, since the process started.
    pub dropped: u64,
}

/// A consumer: what it says of itself, and what its supervisor says of it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ConsumerView {
    /// Its id.
    pub id: String,
    /// State; null for one that nobody supervises any more.
    pub state: Option<ChildState>,
    /// Since when it is in this state.
    pub since_ms: Option<i64>,
    /// How often it was started again.
    pub restarts: u64,
    /// Restarts that are left within the period.
    pub budget_left: Option<u32>,
    /// When it starts again, while it is backing off.
    pub next_start_ms: Option<i64>,
    /// How often it was built.
    pub generation: u64,
    /// Rows stored.
    pub stored: u64,
    /// Records dead-lettered.
    pub dead_letters: u64,
    /// Records skipped because they were stored already.
    pub duplicates: u64,
    /// Errors as in [`Totals::errors`].
    pub errors: u64,
    /// Rows stored a second, over the last three.
    pub stored_per_s: f64,
    /// Records behind in its partitions; null while that of one is not known.
    pub lag: Option<i64>,
    /// Age of its oldest record that is not stored.
    pub lag_seconds: Option<f64>,
    /// The order by which all that it owns is not read.
    pub held: Option<Hold>,
    /// Its last end.
    pub last_exit: Option<ExitRecord>,
    /// What it owns.
    pub partitions: Vec<PartitionView>,
}

/// An owned partition.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PartitionView {
    /// As its consumer sees it.
    #[serde(flatten)]
    pub status: PartitionStatus,
    /// Age of its oldest record that is not stored; null while it is not known.
    pub lag_seconds: Option<f64>,
}
