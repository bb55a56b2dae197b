//! Holds: orders that keep partitions from being read, an operator's pause or the storm guard's quarantine.
//!
//! Pure. A hold is a row of the store, so that whoever owns the partition obeys it, in any replica and after a restart.
//! One scope has at most one hold of each kind.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a hold concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "scope", rename_all = "snake_case")]
pub enum HoldScope {
    /// One partition, whoever owns it.
    Partition {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
    },
    /// All that one consumer of one process owns.
    Consumer {
        /// Consumer id.
        consumer_id: String,
        /// The process that it belongs to.
        replica_id: String,
    },
}

impl HoldScope {
    /// Whether a partition that this consumer of this replica owns is meant.
    #[must_use]
    pub fn covers(&self, topic: &str, partition: i32, consumer_id: &str, replica_id: &str) -> bool {
        match self {
            Self::Partition { topic: held, partition: number } => held == topic && *number == partition,
            Self::Consumer { .. } => self.is_consumer(consumer_id, replica_id),
        }
    }

    /// Whether this consumer of this replica is meant.
    #[must_use]
    pub fn is_consumer(&self, consumer: &str, replica: &str) -> bool {
        matches!(self, Self::Consumer { consumer_id, replica_id } if consumer_id == consumer && replica_id == replica)
    }
}

impl fmt::Display for HoldScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition { topic, partition } => write!(f, "partition {topic}/{partition}"),
            Self::Consumer { consumer_id, replica_id } => write!(f, "consumer {consumer_id} of replica {replica_id}"),
        }
    }
}

/// Why something is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldKind {
    /// An operator wants it so: all is in order.
    Paused,
    /// Too many records cannot be stored: somebody has to look, so readiness is red.
    Quarantined,
}

impl HoldKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Paused, Self::Quarantined];

    /// The name used everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Quarantined => "quarantined",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Hold {
    /// What is held.
    #[serde(flatten)]
    pub scope: HoldScope,
    /// Why, in one word.
    pub kind: HoldKind,
    /// Why, for people.
    pub reason: String,
    /// Who placed it: an operator's name, or `storm guard`.
    pub by: String,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: i64,
    /// When it ends by itself, in milliseconds since the epoch; `None`: when somebody releases it.
    pub until_ms: Option<i64>,
}

impl Hold {
    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self, now_ms: i64) -> bool {
        self.until_ms.is_some_and(|until| until <= now_ms)
    }

    /// Whether the other one would take its place in the store.
    #[must_use]
    pub fn is_same(&self, scope: &HoldScope, kind: HoldKind) -> bool {
        self.kind == kind && self.scope == *scope
    }
}

/// The hold that a partition of this consumer is under, if any: a quarantine before a pause, because it wants somebody, and
/// of two of a kind the partition's own.
#[must_use]
pub fn hold_of<'h>(
    holds: &'h [Hold],
    topic: &str,
    partition: i32,
    consumer_id: &str,
    replica_id: &str,
) -> Option<&'h Hold> {
    let covering = holds.iter().filter(|hold| hold.scope.covers(topic, partition, consumer_id, replica_id));
    covering.max_by_key(|hold| (hold.kind, matches!(hold.scope, HoldScope::Partition { .. })))
}

/// The hold that this consumer itself is under, if any, whatever it owns.
#[must_use]
pub fn hold_of_consumer<'h>(holds: &'h [Hold], consumer_id: &str, replica_id: &str) -> Option<&'h Hold> {
    holds.iter().filter(|hold| hold.scope.is_consumer(consumer_id, replica_id)).max_by_key(|hold| hold.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(scope: HoldScope, kind: HoldKind) -> Hold {
        Hold { scope, kind, reason: "r".into(), by: "b".into(), since_ms: 1, until_ms: Some(10) }
    }

    fn partition(number: i32) -> HoldScope {
        HoldScope::Partition { topic: "t".into(), partition: number }
    }

    fn consumer(id: &str, replica: &str) -> HoldScope {
        HoldScope::Consumer { consumer_id: id.into(), replica_id: replica.into() }
    }

    #[test]
    fn a_partition_is_held_whoever_owns_it_and_a_consumer_only_in_its_replica() {
        let of = |holds: &[Hold]| hold_of(holds, "t", 1, "consumer-1", "a").map(|hold| hold.kind);
        assert_eq!(of(&[hold(partition(1), HoldKind::Paused)]), Some(HoldKind::Paused));
        assert_eq!(of(&[hold(partition(2), HoldKind::Paused)]), None);
        assert_eq!(of(&[hold(consumer("consumer-1", "a"), HoldKind::Paused)]), Some(HoldKind::Paused));
        assert_eq!(of(&[hold(consumer("consumer-1", "b"), HoldKind::Paused)]), None);
        assert_eq!(of(&[hold(consumer("consumer-2", "a"), HoldKind::Paused)]), None);
    }

    #[test]
    fn a_quarantine_is_shown_before_a_pause() {
        let both = [hold(partition(1), HoldKind::Quarantined), hold(consumer("c", "a"), HoldKind::Paused)];
        assert_eq!(hold_of(&both, "t", 1, "c", "a").map(|hold| hold.kind), Some(HoldKind::Quarantined));
    }

    #[test]
    fn of_two_pauses_a_partition_shows_its_own_and_its_consumer_shows_the_other() {
        let (own, other) = (hold(partition(1), HoldKind::Paused), hold(consumer("c", "a"), HoldKind::Paused));
        for holds in [[own.clone(), other.clone()], [other.clone(), own.clone()]] {
            assert_eq!(hold_of(&holds, "t", 1, "c", "a"), Some(&own));
            assert_eq!(hold_of_consumer(&holds, "c", "a"), Some(&other));
            assert_eq!(hold_of_consumer(&holds, "c", "b"), None);
        }
    }

    #[test]
    fn a_hold_is_over_at_its_end_and_one_without_an_end_never() {
        let mut held = hold(partition(1), HoldKind::Paused);
        assert!(!held.is_over(9) && held.is_over(10));
        held.until_ms = None;
        assert!(!held.is_over(i64::MAX));
    }

    #[test]
    fn a_hold_is_one_flat_object_for_those_who_read_it() {
        let json = serde_json::to_value(hold(partition(1), HoldKind::Paused)).expect("it is plain data");
        assert_eq!(json["scope"], "partition");
        assert_eq!((json["topic"].as_str(), json["partition"].as_i64()), (Some("t"), Some(1)));
        assert_eq!(json["kind"], "paused");
    }
}
