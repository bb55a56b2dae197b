//! The store: what drover needs of a database, as one trait with two implementations and one contract suite.
//!
//! [`Store`] answers questions and registers topics; [`StoreWriter`] runs the one transaction of a batch on a connection of
//! its own; [`Outbox`] hands out dead letters to publish. Nothing here queues: callers bound what they ask for. Every error
//! carries its [`FailureClass`], and what the class means is decided by the caller.

pub mod audit;
pub mod audit_log;
pub mod audit_marks;
pub mod bench;
pub mod events;
pub mod faulty;
pub mod headers;
pub mod holds;
pub mod lease;
pub mod offsets;
pub mod postgres;
pub mod replicas;
pub mod row;
pub mod row_maker;
mod rules;
pub mod sqlite;
pub mod statistics;
pub mod tiles;

use crate::config::{StoreConfig, hide_password};
use crate::domain::audit::Gap;
use crate::domain::batch::Batch;
use crate::domain::failure::FailureClass;
use crate::domain::record::OwnedRecord;
use audit_log::AuditLogStore;
use audit_marks::AuditStore;
use events::EventStore;
use futures::future::BoxFuture;
use holds::HoldStore;
use lease::LeaseStore;
use offsets::OffsetStore;
use postgres::connect::PgSettings;
use replicas::ReplicaStore;
use rules::{identity_refused, migration_state, topic_unknown};
use statistics::StatisticsStore;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What follows from it.
    pub class: FailureClass,
    /// SQLSTATE or SQLite result code, where there is one.
    pub code: Option<String>,
    /// What was tried, what the database said and what to do. Never a password.
    pub message: String,
}

/// The store that the configuration names by the scheme of its URL. Connects to nothing yet.
///
/// # Errors
/// Class configuration for another scheme, or a URL of SQLite that names no file.
pub fn open(config: &StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    let url = config.url.as_str();
    if url.starts_with("sqlite:") {
        return Ok(Arc::new(sqlite::SqliteStore::open(url)?));
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Arc::new(postgres::PostgresStore::new(pg_settings(config))));
    }
    Err(StoreError {
        class: FailureClass::Configuration,
        code: None,
        message: format!(
            "store.url {:?} names no store: expected postgres://user:password@host:port/database or sqlite:PATH",
            hide_password(url)
        ),
    })
}

fn pg_settings(config: &StoreConfig) -> PgSettings {
    PgSettings {
        url: config.url.clone(),
        schema: config.schema.clone(),
        transaction_timeout: config.transaction_timeout,
        lock_timeout: config.lock_timeout,
    }
}

/// What a store knows itself by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Random id of this store; it travels in the metadata of offsets that drover commits to Kafka.
    pub store_id: String,
    /// Cluster whose offsets are stored.
    pub cluster_id: String,
    /// Group whose offsets are stored.
    pub group: String,
}

/// How far one partition is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Incarnation of the topic when the partition was registered.
    pub incarnation: i32,
    /// First offset that belongs to the store.
    pub first_offset: i64,
    /// First offset that is not stored yet.
    pub next_offset: i64,
}

/// What the store knows of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicProgress {
    /// Kafka's id of the topic when it was registered; `None` where the broker has none.
    pub topic_id: Option<String>,
    /// Incarnation, from 1.
    pub incarnation: i32,
    /// Progress by partition.
    pub partitions: BTreeMap<i32, Progress>,
}

/// What a transaction stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Rows inserted.
    pub rows: u64,
    /// Rows skipped because they were stored already, equal to what was read.
    pub duplicates: u64,
    /// Dead letters inserted.
    pub dead_letters: u64,
}

/// Why a batch was not stored.
#[derive(Debug, Clone)]
pub enum WriteError {
    /// The database refuses this row for its data; nothing was stored. `index` counts in [`Batch::metas`].
    Row {
        /// Index of the row.
        index: usize,
        /// SQLSTATE.
        code: String,
        /// What the database said.
        message: String,
    },
    /// A stored row differs from the one that was read again; nothing was stored.
    Differs {
        /// Slot of its partition in the batch.
        slot: u16,
        /// Which row, of class row differs.
        error: StoreError,
    },
    /// Anything else. Whether the transaction committed may be unknown: [`StoreWriter::recover`] tells.
    Store(StoreError),
}

impl WriteError {
    /// The stored row at this offset differs from the one in the batch.
    fn differs(batch: &Batch, topic: &str, partition: i32, offset: i64) -> Self {
        let place = batch.advances().iter().position(|a| a.partition == partition && a.topic == topic);
        let message = format!(
            "topic \"{topic}\" partition {partition}: the row that is stored for offset {offset} differs from the record that was \
             read again"
        );
        Self::Differs {
            slot: place.and_then(|place| u16::try_from(place).ok()).unwrap_or_default(),
            error: StoreError { class: FailureClass::RowDiffers, code: None, message },
        }
    }
}

/// What became of a batch whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Its transaction committed: all positions are at their `to`.
    Committed,
    /// It did not: all positions are at their `from`.
    NotCommitted,
    /// Another owner moved a position.
    Moved,
}

/// A connection that runs batch transactions, one at a time.
pub trait StoreWriter: Send {
    /// Stores a batch in one transaction: compare-and-swap of the positions, rows, dead letters, gaps and rollups.
    /// Connects when there is no connection.
    fn write<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Receipt, WriteError>>;

    /// After an error: ends the old connection for good (also on the server), connects again and reads what became of the
    /// batch. Must succeed before the batch may be written again.
    fn recover<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Resolution, StoreError>>;
}

/// A dead letter as the store holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDeadLetter {
    /// Id in the table, ascending in the order of storing.
    pub id: i64,
    /// The record, byte for byte.
    pub record: OwnedRecord,
    /// Incarnation of its topic.
    pub incarnation: i32,
    /// Stable code.
    pub code: String,
    /// Message.
    pub message: String,
    /// Stage: decode, process or store.
    pub stage: String,
    /// Tries before it was given up.
    pub attempts: i32,
    /// The consumer that met it.
    pub consumer_id: String,
    /// When it was stored, in milliseconds since the epoch.
    pub failed_at_ms: i64,
    /// When the broker answered for it, in milliseconds since the epoch.
    pub published_at_ms: Option<i64>,
    /// `published` or `refused`.
    pub publish_outcome: Option<String>,
    /// Why the broker refused it.
    pub publish_error: Option<String>,
}

/// How the broker answered for a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It is on the dead-letter topic.
    Published,
    /// The broker will never take it, for this reason (too large, for one). It stays in the table.
    Refused(String),
}

/// The right to publish dead letters, held by one process at a time.
pub trait Outbox: Send {
    /// Up to `limit` dead letters that wait, oldest first, and of those no more than 8 MiB of keys and values: at least one,
    /// however large. Those of the source topics in `except` are passed over.
    fn pending<'a>(
        &'a mut self,
        limit: u32,
        except: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StoredDeadLetter>, StoreError>>;

    /// Writes down how the broker answered.
    fn mark<'a>(&'a mut self, answers: &'a [(i64, PublishOutcome)]) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Which dead letters to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Only of this topic.
    pub topic: Option<String>,
    /// Only with this code.
    pub code: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// What lies in a range of offsets of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeContent {
    /// Rows of `events`.
    pub rows: i64,
    /// Dead letters.
    pub dead_letters: i64,
    /// Offsets within gaps.
    pub gap_offsets: i64,
    /// The gaps, cut at the ends of the range.
    pub gaps: Vec<Gap>,
    /// Ranges `[first, next)` that nothing accounts for; at most the first 100 are listed.
    pub unaccounted: Vec<(i64, i64)>,
    /// Offsets that nothing accounts for.
    pub unaccounted_offsets: i64,
    /// Offsets that more than one of row, dead letter and gap account for.
    pub overlapping: i64,
    /// The first of them.
    pub first_overlapping: Option<i64>,
}

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Name with its date.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

/// See the module.
pub trait Store:
    AuditLogStore
    + AuditStore
    + EventStore
    + HoldStore
    + LeaseStore
    + OffsetStore
    + ReplicaStore
    + StatisticsStore
    + Send
    + Sync
    + 'static
{
    /// `postgres` or `sqlite`, for logs.
    fn kind(&self) -> &'static str;

    /// Applies the migrations that are missing, one process at a time, and gives back their names.
    ///
    /// # Errors
    /// A schema newer than this binary is refused.
    fn migrate(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>>;

    /// Takes back the newest migration and gives back its name; `None` when there is none.
    fn revert_migration(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>>;

    /// All migrations, oldest first.
    fn migrations(&self) -> BoxFuture<'_, Result<Vec<Migration>, StoreError>>;

    /// Fails when the schema is missing, older or newer than this binary.
    fn check_schema(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Whether the store answers and takes writes.
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Writes down cluster and group at first use, and gives back what is written down.
    ///
    /// # Errors
    /// Another cluster or group is refused (class configuration).
    fn claim_identity<'a>(
        &'a self,
        cluster_id: &'a str,
        group: &'a str,
    ) -> BoxFuture<'a, Result<StoreIdentity, StoreError>>;

    /// What is known of a topic; `None` for one that was never seen.
    fn topic<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Option<TopicProgress>, StoreError>>;

    /// Registers a topic with the start of all its partitions in one transaction. The first process wins: the answer is
    /// what is written down, whoever wrote it.
    fn register_topic<'a>(
        &'a self,
        topic: &'a str,
        topic_id: Option<&'a str>,
        starts: &'a BTreeMap<i32, i64>,
    ) -> BoxFuture<'a, Result<TopicProgress, StoreError>>;

    /// Registers partitions that were added to a known topic. The first process wins.
    fn add_partitions<'a>(
        &'a self,
        topic: &'a str,
        starts: &'a BTreeMap<i32, i64>,
    ) -> BoxFuture<'a, Result<TopicProgress, StoreError>>;

    /// A writer with a connection of its own, made at its first use. `name` shows in the database's list of sessions.
    fn writer(&self, name: &str) -> Box<dyn StoreWriter>;

    /// The right to publish dead letters; `None` while another process has it.
    fn outbox(&self) -> BoxFuture<'_, Result<Option<Box<dyn Outbox>>, StoreError>>;

    /// Dead letters that wait to be published.
    fn unpublished(&self) -> BoxFuture<'_, Result<i64, StoreError>>;

    /// Dead letters, newest first.
    fn dead_letters<'a>(
        &'a self,
        filter: &'a DeadLetterFilter,
    ) -> BoxFuture<'a, Result<Vec<StoredDeadLetter>, StoreError>>;

    /// One dead letter of the topic's present incarnation.
    fn dead_letter<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        offset: i64,
    ) -> BoxFuture<'a, Result<Option<StoredDeadLetter>, StoreError>>;

    /// Names of all registered topics.
    fn topics(&self) -> BoxFuture<'_, Result<Vec<String>, StoreError>>;

    /// What lies in `[first, next)` of a partition, in a short transaction of its own.
    fn range_content<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        incarnation: i32,
        first: i64,
        next: i64,
    ) -> BoxFuture<'a, Result<RangeContent, StoreError>>;
}
