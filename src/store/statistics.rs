//! How much was stored in the last minutes: from the rollups that each transaction keeps, never from the events.
//!
//! Bound: the rollups of the minutes that are asked for, [`MOST_TYPES`] types, and [`MOST_DEAD_LETTERS`] dead letters looked at.
//! Fails as the store does.

use super::StoreError;
use futures::future::BoxFuture;
use std::time::Duration;

/// Event types that are told apart, at most: the most frequent ones.
pub const MOST_TYPES: usize = 100;
/// Dead letters that are counted, at most.
pub const MOST_DEAD_LETTERS: i64 = 20_000;

/// What was stored since some minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredStatistics {
    /// Rows.
    pub stored: i64,
    /// Dead letters, at most [`MOST_DEAD_LETTERS`].
    pub dead_letters: i64,
    /// Rows by event type, the most frequent first, at most [`MOST_TYPES`].
    pub by_type: Vec<(String, i64)>,
    /// Rows by minute (milliseconds since the epoch), oldest first; minutes without rows are left out.
    pub per_minute: Vec<(i64, i64)>,
}

/// The part of a store that counts.
pub trait StatisticsStore: Send + Sync + 'static {
    /// What was stored since this minute (milliseconds since the epoch). The server gives up after `limit`.
    fn statistics(&self, since_ms: i64, limit: Duration) -> BoxFuture<'_, Result<StoredStatistics, StoreError>>;
}
