//! Holds in the store: what keeps partitions from being read, for all replicas and over restarts.
//!
//! A few rows, read once a second by each process. One scope has one row of each kind; placing it again replaces it.

use super::StoreError;
use crate::domain::hold::{Hold, HoldKind, HoldScope};
use futures::future::BoxFuture;

/// The part of a store that keeps holds.
pub trait HoldStore {
    /// All holds, also those whose time is over and that nobody has released yet.
    fn holds(&self) -> BoxFuture<'_, Result<Vec<Hold>, StoreError>>;

    /// Places a hold, in the place of the one of the same scope and kind.
    fn place_hold<'a>(&'a self, hold: &'a Hold) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Releases a hold; gives back whether there was one.
    fn release_hold<'a>(&'a self, scope: &'a HoldScope, kind: HoldKind) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Releases those whose time is over at `now_ms` (milliseconds since the epoch), and gives back how many.
    fn release_holds_over(&self, now_ms: i64) -> BoxFuture<'_, Result<usize, StoreError>>;
}

/// A scope as both stores keep it: its word, topic or consumer id, partition or -1, replica id or nothing.
pub(super) type ScopeColumns<'a> = (&'static str, &'a str, i32, &'a str);

/// The columns of a scope.
pub(super) fn columns(scope: &HoldScope) -> ScopeColumns<'_> {
    match scope {
        HoldScope::Partition { topic, partition } => ("partition", topic, *partition, ""),
        HoldScope::Consumer { consumer_id, replica_id } => ("consumer", consumer_id, -1, replica_id),
    }
}

/// Scope and kind of these columns; `None` for a word that a newer drover wrote.
pub(super) fn scope_and_kind(
    scope: &str,
    name: String,
    partition: i32,
    replica_id: String,
    kind: &str,
) -> Option<(HoldScope, HoldKind)> {
    let scope = match scope {
        "partition" => HoldScope::Partition { topic: name, partition },
        "consumer" => HoldScope::Consumer { consumer_id: name, replica_id },
        _ => return None,
    };
    Some((scope, HoldKind::from_name(kind)?))
}
