//! What is audited next, when, and what the findings mean.
//!
//! Pure. [`next_range`] and [`wait`] decide the work of the audit; the types are what it finds, in the one form that the
//! command, the API, the board and the table of results share.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Why offsets have neither row nor dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// Kafka delivered the record before and the record behind, and nothing between: markers, aborted records, compaction.
    Jump,
    /// Kafka passed them at the end of the log without a record.
    Tail,
    /// An operator gave them up: a known loss.
    Skipped,
    /// Retention removed them unread, and an operator wrote that down: a known loss.
    Expired,
    /// A reason that this version does not know.
    Other,
}

impl GapReason {
    /// The reason of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "jump" => Self::Jump,
            "tail" => Self::Tail,
            "skipped" => Self::Skipped,
            "expired" => Self::Expired,
            _ => Self::Other,
        }
    }

    /// The name that the table holds.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jump => "jump",
            Self::Tail => "tail",
            Self::Skipped => "skipped",
            Self::Expired => "expired",
            Self::Other => "other",
        }
    }

    /// Whether records are known to be lost there. Kafka may well have them, so such a gap is not read again.
    #[must_use]
    pub fn is_loss(self) -> bool {
        matches!(self, Self::Skipped | Self::Expired)
    }
}

/// A range of offsets that has neither rows nor dead letters, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First offset.
    pub first: i64,
    /// First offset behind it.
    pub next: i64,
    /// Why.
    pub reason: GapReason,
}

/// A range of offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OffsetRange {
    /// First offset.
    pub first: i64,
    /// First offset behind it.
    pub next: i64,
}

/// What reading the gaps of a partition again has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GapCheck {
    /// Gaps in which Kafka delivered nothing.
    pub confirmed: u64,
    /// Gaps that Kafka no longer has: nothing can be said of them.
    pub expired: u64,
    /// Records that Kafka delivers inside a gap: they were lost.
    pub lost: u64,
    /// Offsets of the first of them.
    pub lost_offsets: Vec<i64>,
}

/// The offsets of a partition that an audit looks at: all of them, or those behind the last clean point.
///
/// A mark outside the partition's offsets belongs to another history (a position that was set back, a store that was
/// restored, a store that begins earlier now): then everything is looked at.
#[must_use]
pub fn next_range(first: i64, next: i64, mark: Option<i64>, full: bool) -> OffsetRange {
    let from = mark.filter(|mark| !full && (first..=next).contains(mark)).unwrap_or(first);
    OffsetRange { first: from, next }
}

/// How long until the next audit is due, after one that finished at `last_ms`; times are milliseconds since the epoch. A
/// time in the future is a clock that was set back: it counts as now.
#[must_use]
pub fn wait(last_ms: Option<i64>, now_ms: i64, interval: Duration) -> Duration {
    let age = last_ms.map(|last| u64::try_from(now_ms - last).unwrap_or(0));
    age.map_or(Duration::ZERO, |age| interval.saturating_sub(Duration::from_millis(age)))
}

/// What an audit found in one partition, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PartitionResult {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Incarnation of the topic.
    pub incarnation: i32,
    /// The offsets that were looked at.
    pub audited: OffsetRange,
    /// Offsets that nothing accounts for, and records that Kafka delivers inside gaps.
    pub unaccounted: i64,
    /// Offsets that more than one thing accounts for.
    pub overlapping: i64,
}

/// What the last audit of all topics found, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditResult {
    /// When it finished, in milliseconds since the epoch.
    pub finished_at_ms: i64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Who made it: a replica, or `user@host` of a command line.
    pub by: String,
    /// Whether it looked at everything, not only at what is new.
    pub full: bool,
    /// Whether each offset is accounted for, once.
    pub clean: bool,
    /// Offsets that were looked at.
    pub offsets: i64,
    /// Offsets that nothing accounts for, and records that Kafka delivers inside gaps.
    pub unaccounted: i64,
    /// Offsets that more than one thing accounts for.
    pub overlapping: i64,
    /// Each partition.
    pub partitions: Vec<PartitionResult>,
}

impl AuditResult {
    /// One sentence for each partition that is not clean.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let unclean = self.partitions.iter().filter(|one| one.unaccounted > 0 || one.overlapping > 0);
        unclean
            .map(|one| {
                format!(
                    "the audit found {} offsets of {}/{} that nothing accounts for and {} that are there twice; see \
                     `drover audit`",
                    one.unaccounted, one.topic, one.partition, one.overlapping
                )
            })
            .collect()
    }

    /// Offsets that nothing accounts for, by topic and partition over all incarnations.
    #[must_use]
    pub fn unaccounted_by_partition(&self) -> BTreeMap<(String, i32), i64> {
        let mut sums = BTreeMap::new();
        for one in &self.partitions {
            *sums.entry((one.topic.clone(), one.partition)).or_default() += one.unaccounted;
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_lies_behind_the_mark_is_always_looked_at(first in 0_i64..50, len in 0_i64..50, mark in prop::option::of(-10_i64..120), full: bool) {
            let next = first + len;
            let range = next_range(first, next, mark, full);
            prop_assert_eq!(range.next, next);
            prop_assert!((first..=next).contains(&range.first));
            // Nothing is left out that a mark within the partition does not vouch for.
            prop_assert!(range.first == first || (!full && mark == Some(range.first)));
        }
    }

    #[test]
    fn an_audit_goes_on_from_the_mark_and_a_foreign_mark_vouches_for_nothing() {
        let from = |mark, full| next_range(10, 20, mark, full).first;
        assert_eq!(from(Some(15), false), 15);
        assert_eq!(from(Some(20), false), 20, "nothing is new");
        assert_eq!(from(Some(15), true), 10);
        assert_eq!(from(None, false), 10);
        assert_eq!(from(Some(21), false), 10, "the position was set back");
        assert_eq!(from(Some(9), false), 10, "the store begins later now");
    }

    #[test]
    fn the_next_audit_counts_from_the_end_of_the_last_one_whoever_made_it() {
        let interval = Duration::from_secs(600);
        assert_eq!(wait(None, 1_000_000, interval), Duration::ZERO);
        assert_eq!(wait(Some(1_000_000), 1_000_000, interval), interval);
        assert_eq!(wait(Some(1_000_000), 1_400_000, interval), Duration::from_secs(200));
        assert_eq!(wait(Some(1_000_000), 9_000_000, interval), Duration::ZERO);
        assert_eq!(wait(Some(9_000_000), 1_000_000, interval), interval, "a clock that was set back");
    }

    #[test]
    fn every_reason_has_its_name() {
        for reason in [GapReason::Jump, GapReason::Tail, GapReason::Skipped, GapReason::Expired, GapReason::Other] {
            assert_eq!(GapReason::from_name(reason.as_str()), reason);
        }
        assert_eq!(GapReason::from_name("of a later version"), GapReason::Other);
    }
}
