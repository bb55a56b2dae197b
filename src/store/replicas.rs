//! Replicas: one row for each process of the group, with its heartbeat and what it says of itself.
//!
//! One row a process, written every few seconds; ages are told by the clock of the store, so that the clocks of hosts do
//! not matter. Fails as the store does; nothing depends on these rows but what is shown.

use super::StoreError;
use futures::future::BoxFuture;
use std::time::Duration;

/// What a process says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaBeat {
    /// Its name among the processes of the group.
    pub replica_id: String,
    /// When it started, in milliseconds since the epoch, by its own clock.
    pub started_at_ms: i64,
    /// Version of drover.
    pub version: String,
    /// The rest, as JSON.
    pub snapshot: serde_json::Value,
}

/// What a process said of itself, and how long ago.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReplica {
    /// What it said.
    pub beat: ReplicaBeat,
    /// Time since then, by the clock of the store.
    pub age: Duration,
}

/// The position of a partition, whoever owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPosition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// First offset that is not stored yet.
    pub next_offset: i64,
}

/// The part of a store through which the processes of a group see each other.
pub trait ReplicaStore: Send + Sync + 'static {
    /// Writes the row of a process.
    fn beat<'a>(&'a self, beat: &'a ReplicaBeat) -> BoxFuture<'a, Result<(), StoreError>>;

    /// All rows, by name.
    fn replicas(&self) -> BoxFuture<'_, Result<Vec<StoredReplica>, StoreError>>;

    /// Removes the row of a process that stops.
    fn remove_replica<'a>(&'a self, replica_id: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Removes rows without a heartbeat for this long; gives back how many.
    fn prune_replicas(&self, silent_for: Duration) -> BoxFuture<'_, Result<usize, StoreError>>;

    /// The positions of all registered partitions, by topic and partition.
    fn positions(&self) -> BoxFuture<'_, Result<Vec<StoredPosition>, StoreError>>;
}
