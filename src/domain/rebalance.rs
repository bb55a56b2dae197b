//! What a rebalance moved, what was in hand, and who read what again: the record that logs, API and snapshots share.
//!
//! Pure. A [`RebalanceLog`] keeps the last [`KEPT`]; one record is as large as the assignment that it tells of.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Rebalances kept for whoever asks: a day of deployments, and small.
pub const KEPT: usize = 100;

/// What the group asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RebalanceKind {
    /// To take partitions.
    Assign,
    /// To give partitions up.
    Revoke,
    /// Nothing any more: partitions belong to somebody else already.
    Lost,
}

impl RebalanceKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Assign, Self::Revoke, Self::Lost];

    /// The name used everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assign => "assign",
            Self::Revoke => "revoke",
            Self::Lost => "lost",
        }
    }
}

/// One partition of a rebalance. What was read and not stored is counted in offsets, so that gaps count as well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct MovedPartition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The stored position: where reading begins, or was given up.
    pub position: i64,
    /// The offset that was to be read next when the partition was given up; the position when it was taken.
    pub read_to: i64,
    /// Read and not stored when the revoke began.
    pub in_flight: i64,
    /// Of these, stored before the partition was given up.
    pub drained: i64,
    /// Of these, not known to be stored when it was given up. A transaction that was under way may still have stored them.
    pub given_up: i64,
    /// Who took a partition that was given up, once that is known.
    pub taken: Option<Taken>,
}

/// Who took a partition that another consumer gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Taken {
    /// Its process.
    pub replica_id: String,
    /// The consumer.
    pub consumer_id: String,
    /// Offsets that the one before had read and this one reads again.
    pub re_read: i64,
    /// From the beginning of the revoke to the end of the assign, in milliseconds, by the clocks of the two hosts.
    pub idle_ms: i64,
}

/// One rebalance of one consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rebalance {
    /// Running number within the process, from 1.
    pub number: u64,
    /// The consumer.
    pub consumer_id: String,
    /// The generation of the group, or the member's epoch in the consumer protocol; `None` where the member has none
    /// any more.
    pub generation: Option<i32>,
    /// What the group asked.
    pub kind: RebalanceKind,
    /// When it began, in milliseconds since the epoch.
    pub at_ms: i64,
    /// From its beginning to the answer.
    pub duration_ms: i64,
    /// What was moved.
    pub partitions: Vec<MovedPartition>,
}

impl Rebalance {
    /// Offsets of all partitions that were drained, and those that were given up.
    #[must_use]
    pub fn drained_and_given_up(&self) -> (i64, i64) {
        self.partitions
            .iter()
            .fold((0, 0), |(drained, given_up), partition| (drained + partition.drained, given_up + partition.given_up))
    }
}

/// The last rebalances, oldest first.
#[derive(Debug, Default)]
pub struct RebalanceLog {
    kept: VecDeque<Rebalance>,
    last: u64,
}

impl RebalanceLog {
    /// Adds one and gives it its number.
    pub fn push(&mut self, mut rebalance: Rebalance) -> u64 {
        self.last += 1;
        rebalance.number = self.last;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(rebalance);
        self.last
    }

    /// The newest, oldest of them first.
    #[must_use]
    pub fn newest(&self, count: usize) -> Vec<Rebalance> {
        self.kept.iter().skip(self.kept.len().saturating_sub(count)).cloned().collect()
    }
}

/// A rebalance and its process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReplicaRebalance {
    /// The process.
    pub replica_id: String,
    /// What happened there.
    #[serde(flatten)]
    pub rebalance: Rebalance,
}

/// Puts the rebalances of all processes into the order of time and tells of each partition that was given up who took it.
/// The order is that of the hosts' clocks: where they are seconds apart, so is this.
#[must_use]
pub fn tell_who_took(mut all: Vec<ReplicaRebalance>) -> Vec<ReplicaRebalance> {
    all.sort_by_key(|entry| (entry.rebalance.at_ms, entry.rebalance.number));
    let mut rest = all.as_mut_slice();
    while let Some((entry, later)) = rest.split_first_mut() {
        if entry.rebalance.kind != RebalanceKind::Assign {
            for partition in &mut entry.rebalance.partitions {
                partition.taken = taken(partition, entry.rebalance.at_ms, later);
            }
        }
        rest = later;
    }
    all
}

fn taken(given_up: &MovedPartition, at_ms: i64, later: &[ReplicaRebalance]) -> Option<Taken> {
    later.iter().filter(|entry| entry.rebalance.kind == RebalanceKind::Assign).find_map(|entry| {
        let Rebalance { consumer_id, partitions, at_ms: taken_ms, duration_ms, .. } = &entry.rebalance;
        let is = |taken: &&MovedPartition| taken.partition == given_up.partition && taken.topic == given_up.topic;
        let taken = partitions.iter().find(is)?;
        Some(Taken {
            replica_id: entry.replica_id.clone(),
            consumer_id: consumer_id.clone(),
            re_read: (given_up.read_to - taken.position).max(0),
            idle_ms: (taken_ms + duration_ms - at_ms).max(0),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(replica: &str, at_ms: i64, kind: RebalanceKind, partition: MovedPartition) -> ReplicaRebalance {
        ReplicaRebalance {
            replica_id: replica.into(),
            rebalance: Rebalance {
                number: 0,
                consumer_id: format!("{replica}-consumer"),
                generation: Some(1),
                kind,
                at_ms,
                duration_ms: 10,
                partitions: vec![partition],
            },
        }
    }

    fn partition(position: i64, read_to: i64) -> MovedPartition {
        MovedPartition { topic: "t".into(), partition: 0, position, read_to, ..MovedPartition::default() }
    }

    #[test]
    fn a_partition_that_was_given_up_knows_who_took_it_and_what_was_read_again() {
        let told = tell_who_took(vec![
            entry("b", 300, RebalanceKind::Assign, partition(70, 70)),
            entry("c", 900, RebalanceKind::Assign, partition(80, 80)),
            entry("a", 200, RebalanceKind::Revoke, partition(50, 90)),
        ]);
        let taken = told[0].rebalance.partitions[0].taken.clone().expect("somebody took it");
        assert_eq!((taken.replica_id.as_str(), taken.consumer_id.as_str()), ("b", "b-consumer"));
        assert_eq!((taken.re_read, taken.idle_ms), (20, 110));
        assert_eq!(told[1].rebalance.partitions[0].taken, None, "it was taken, not given up");
    }

    #[test]
    fn nobody_took_what_was_taken_only_before() {
        let told = tell_who_took(vec![
            entry("b", 100, RebalanceKind::Assign, partition(0, 0)),
            entry("b", 200, RebalanceKind::Lost, partition(50, 90)),
        ]);
        assert_eq!(told[1].rebalance.partitions[0].taken, None);
    }

    #[test]
    fn the_log_keeps_the_newest_and_numbers_all() {
        let mut log = RebalanceLog::default();
        let one = entry("a", 0, RebalanceKind::Assign, partition(0, 0)).rebalance;
        for _ in 0..KEPT + 5 {
            log.push(one.clone());
        }
        let numbers: Vec<u64> = log.newest(KEPT * 2).iter().map(|rebalance| rebalance.number).collect();
        assert_eq!((numbers.len(), numbers[0], numbers[KEPT - 1]), (KEPT, 6, KEPT as u64 + 5));
        assert_eq!(log.newest(1)[0].number, KEPT as u64 + 5);
    }
}
