//! The whole group as one process sees it: what every process says of itself, and every partition with its owner.
//!
//! Pure. As large as the processes, their children and the partitions of the group. What a process of another version
//! says and this one cannot read is left out, never an error.

use super::hold::Hold;
use super::rebalance::{Rebalance, ReplicaRebalance, tell_who_took};
use super::status::{BreakerStatus, ChildState, ChildStatus, ConsumerStatus, PartitionStop};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a process says of itself to the others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ReplicaSnapshot {
    /// The host that it runs on.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// Where it serves HTTP, if it does; a loopback address counts on its host alone.
    pub http: Option<String>,
    /// Its consumers keep their places over a restart.
    pub static_membership: bool,
    /// It does its work.
    pub ready: bool,
    /// Why it does not.
    pub reasons: Vec<String>,
    /// It is stopping.
    pub draining: bool,
    /// The breaker in front of its store.
    pub breaker: BreakerStatus,
    /// Its consumers.
    pub consumers: Vec<ConsumerSnapshot>,
    /// All that its supervisor watches.
    pub children: Vec<ChildStatus>,
    /// Its last rebalances, oldest first.
    pub rebalances: Vec<Rebalance>,
}

/// A consumer of a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ConsumerSnapshot {
    /// What it says of itself.
    #[serde(flatten)]
    pub status: ConsumerStatus,
    /// What its supervisor says of it.
    pub state: ChildState,
    /// How often it was started again.
    pub restarts: u64,
    /// Records behind, in all its partitions; `None` while that is unknown of one.
    pub lag: Option<i64>,
    /// Rows and dead letters stored per second since the last heartbeat.
    pub per_second: f64,
}

/// Whether a process gives signs of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    /// Its heartbeat is young.
    Alive,
    /// It has been silent: it died, or does not reach the store.
    Gone,
}

/// A process of the group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Replica {
    /// Its name.
    pub replica_id: String,
    /// Whether it gives signs of life.
    pub state: ReplicaState,
    /// Age of its last heartbeat.
    pub age_ms: i64,
    /// When it started, in milliseconds since the epoch.
    pub started_at_ms: i64,
    /// Version of drover.
    pub version: String,
    /// What it says of itself; `None` when this version cannot read it.
    #[serde(flatten)]
    pub snapshot: Option<ReplicaSnapshot>,
}

/// Who reads a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Owner {
    /// The process.
    pub replica_id: String,
    /// The consumer.
    pub consumer_id: String,
}

/// What becomes of a partition's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartitionState {
    /// Its owner reads it.
    Owned,
    /// Its owner does not read it on, for the reason of the stop.
    Stopped,
    /// Its owner was heard of too long ago, and nobody else has it yet.
    OwnerGone,
    /// Nobody has it: it is being moved, or no consumer is there.
    Unowned,
}

/// A partition of the group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GroupPartition {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// What becomes of its records.
    pub state: PartitionState,
    /// Who reads it.
    pub owner: Option<Owner>,
    /// The state of that consumer.
    pub owner_state: Option<ChildState>,
    /// The stored position.
    pub next_offset: i64,
    /// The end of the log, where it is known.
    pub end_offset: Option<i64>,
    /// Records between the two.
    pub lag: Option<i64>,
    /// Why it is not read on.
    pub stopped: Option<PartitionStop>,
    /// The order by which it is not read on.
    pub held: Option<Hold>,
}

/// The group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GroupView {
    /// The consumer group.
    pub group: String,
    /// The process that says so.
    pub replica_id: String,
    /// When the store was last asked, in milliseconds since the epoch.
    pub as_of_ms: i64,
    /// Why it has not answered since then.
    pub store_error: Option<String>,
    /// Its processes, by name.
    pub replicas: Vec<Replica>,
    /// Its partitions, by topic and number.
    pub partitions: Vec<GroupPartition>,
    /// Rebalances of all processes, oldest first.
    pub rebalances: Vec<ReplicaRebalance>,
}

/// A partition's name.
pub type PartitionName = (String, i32);

/// All partitions of the group: those that the store knows with their positions, and those that a process says it has.
/// `ends` are for partitions that nobody has. Of two that say they have one, the younger heartbeat is believed.
#[must_use]
pub fn partitions(
    replicas: &[Replica],
    stored: impl IntoIterator<Item = (PartitionName, i64)>,
    ends: &BTreeMap<PartitionName, i64>,
) -> Vec<GroupPartition> {
    let mut all: BTreeMap<PartitionName, (GroupPartition, i64)> = BTreeMap::new();
    for ((topic, partition), next_offset) in stored {
        let end_offset = ends.get(&(topic.clone(), partition)).copied();
        let unowned = GroupPartition {
            topic: topic.clone(),
            partition,
            state: PartitionState::Unowned,
            owner: None,
            owner_state: None,
            next_offset,
            end_offset,
            lag: end_offset.map(|end| (end - next_offset).max(0)),
            stopped: None,
            held: None,
        };
        all.insert((topic, partition), (unowned, i64::MAX));
    }
    for replica in replicas {
        for consumer in replica.snapshot.iter().flat_map(|snapshot| &snapshot.consumers) {
            for owned in &consumer.status.partitions {
                let name = (owned.topic.clone(), owned.partition);
                if all.get(&name).is_some_and(|(_, age_ms)| *age_ms <= replica.age_ms) {
                    continue;
                }
                let partition = GroupPartition {
                    topic: owned.topic.clone(),
                    partition: owned.partition,
                    state: match (replica.state, &owned.stopped) {
                        (ReplicaState::Gone, _) => PartitionState::OwnerGone,
                        (ReplicaState::Alive, Some(_)) => PartitionState::Stopped,
                        (ReplicaState::Alive, None) => PartitionState::Owned,
                    },
                    owner: Some(Owner {
                        replica_id: replica.replica_id.clone(),
                        consumer_id: consumer.status.id.clone(),
                    }),
                    owner_state: Some(consumer.state),
                    next_offset: owned.next_offset,
                    end_offset: owned.end_offset,
                    lag: owned.lag,
                    stopped: owned.stopped.clone(),
                    held: owned.held.clone(),
                };
                all.insert(name, (partition, replica.age_ms));
            }
        }
    }
    all.into_values().map(|(partition, _)| partition).collect()
}

/// Rebalances of all processes, oldest first, with who took what was given up.
#[must_use]
pub fn rebalances(replicas: &[Replica]) -> Vec<ReplicaRebalance> {
    let of = |replica: &Replica| -> Vec<ReplicaRebalance> {
        let entry = |rebalance: &Rebalance| ReplicaRebalance {
            replica_id: replica.replica_id.clone(),
            rebalance: rebalance.clone(),
        };
        replica.snapshot.iter().flat_map(|snapshot| &snapshot.rebalances).map(entry).collect()
    };
    tell_who_took(replicas.iter().flat_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::super::status::PartitionStatus;
    use super::*;

    fn replica(id: &str, state: ReplicaState, age_ms: i64, owned: &[i32]) -> Replica {
        let partition = |&partition: &i32| PartitionStatus {
            topic: "t".into(),
            partition,
            next_offset: 10 + age_ms,
            read_offset: None,
            end_offset: Some(100),
            lag: Some(90),
            newest_timestamp_ms: None,
            stopped: None,
            held: None,
        };
        let status = ConsumerStatus {
            id: "consumer-1".into(),
            partitions: owned.iter().map(partition).collect(),
            ..ConsumerStatus::default()
        };
        let consumer =
            ConsumerSnapshot { status, state: ChildState::Running, restarts: 0, lag: Some(90), per_second: 0.0 };
        Replica {
            replica_id: id.into(),
            state,
            age_ms,
            started_at_ms: 0,
            version: "1".into(),
            snapshot: Some(ReplicaSnapshot { consumers: vec![consumer], ..ReplicaSnapshot::default() }),
        }
    }

    #[test]
    fn every_partition_is_shown_with_its_owner_or_without_one() {
        let replicas = [
            replica("a", ReplicaState::Alive, 2, &[0, 1]),
            replica("b", ReplicaState::Alive, 1, &[1]),
            replica("c", ReplicaState::Gone, 99, &[2]),
        ];
        let stored = (0..4).map(|partition| (("t".to_owned(), partition), 5));
        let ends = BTreeMap::from([(("t".to_owned(), 3), 8)]);
        let all = partitions(&replicas, stored, &ends);
        let shown: Vec<(i32, PartitionState, Option<&str>)> = all
            .iter()
            .map(|p| (p.partition, p.state, p.owner.as_ref().map(|owner| owner.replica_id.as_str())))
            .collect();
        assert_eq!(
            shown,
            [
                (0, PartitionState::Owned, Some("a")),
                (1, PartitionState::Owned, Some("b")),
                (2, PartitionState::OwnerGone, Some("c")),
                (3, PartitionState::Unowned, None),
            ]
        );
        assert_eq!((all[3].next_offset, all[3].lag), (5, Some(3)));
    }

    #[test]
    fn what_another_version_says_is_read_as_far_as_it_goes() {
        let json = serde_json::json!({"host": "h", "pid": 7, "something_new": {"a": 1}});
        let snapshot: ReplicaSnapshot = serde_json::from_value(json).expect("unknown fields are left out");
        assert_eq!((snapshot.host.as_str(), snapshot.pid, snapshot.consumers.len()), ("h", 7, 0));
    }

    #[test]
    fn a_process_comes_back_from_json_as_it_went() {
        let one = replica("a", ReplicaState::Alive, 2, &[0]);
        let json = serde_json::to_value(one.snapshot.as_ref()).expect("it is plain data");
        assert_eq!(
            serde_json::from_value::<Option<ReplicaSnapshot>>(json).expect("and so it comes back"),
            one.snapshot
        );
    }
}
