//! Changing positions by an operator's order: back, past what is given up, to the next incarnation of a topic, and to
//! another cluster or group.
//!
//! Each change is one transaction with its entry in the audit log, and moves a position only from where it was seen: where
//! a process of the group is at work after all, the change is refused and nothing happens. Fails as the store does.

use super::audit_log::AuditEntry;
use super::{StoreError, StoreIdentity};
use futures::future::BoxFuture;
use std::collections::BTreeMap;

/// A move of one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionMove {
    /// Partition.
    pub partition: i32,
    /// Incarnation that was seen.
    pub incarnation: i32,
    /// Position that was seen.
    pub from: i64,
    /// The new one.
    pub to: i64,
}

/// What an operator orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OffsetChange {
    /// Positions go back, so that records are read again; what is stored stays and is skipped as a duplicate. Gaps
    /// from there on are taken back: whoever reads again writes them down again.
    Rewind {
        /// Topic.
        topic: String,
        /// Each with `to` below `from`.
        moves: Vec<PositionMove>,
    },
    /// A position goes forward; what is passed and not stored is written down as a gap with the reason `skipped`.
    Skip {
        /// Topic.
        topic: String,
        /// With `to` above `from`.
        of: PositionMove,
    },
    /// A topic gets its next incarnation, or its first one: what is stored stays beside it.
    Restart {
        /// Topic.
        topic: String,
        /// Kafka's id of the topic now.
        topic_id: Option<String>,
        /// The incarnation that was seen; `None` for a topic that the store does not know.
        seen: Option<i32>,
        /// The position of each partition that was seen.
        positions: BTreeMap<i32, i64>,
        /// Where each of its partitions starts. Partitions that are not here are no longer read.
        starts: BTreeMap<i32, i64>,
    },
    /// The store belongs to another cluster or group from now on.
    Claim {
        /// What was seen.
        seen: StoreIdentity,
        /// The cluster.
        cluster_id: String,
        /// The group.
        group: String,
        /// Ids of topics whose offsets mean the same in the new cluster; the others stop as recreated.
        topic_ids: BTreeMap<String, Option<String>>,
    },
}

/// The part of a store that moves positions by order.
pub trait OffsetStore: Send + Sync + 'static {
    /// Whose store this is; `None` before its first use.
    fn identity(&self) -> BoxFuture<'_, Result<Option<StoreIdentity>, StoreError>>;

    /// Does what was ordered and writes the entry down, in one transaction.
    ///
    /// # Errors
    /// Class fenced when the store is not as it was seen.
    fn change_offsets<'a>(
        &'a self,
        change: &'a OffsetChange,
        entry: &'a AuditEntry,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Why a change is refused.
pub(super) fn moved_meanwhile(what: &str) -> String {
    format!("{what} is not as it was seen: a process of the group works, or somebody else changed it; look again")
}
