//! The heartbeat of the process among the replicas of its group: writes its row, reads those of the others, and leaves the
//! picture of the whole group on the board.
//!
//! Looks at the board and asks the store every [`BEAT`]; the hot path knows nothing of it. An outage of the store costs the
//! picture its freshness and nothing else. Bounded by the processes of the group, one row each.

use super::exit::ExitError;
use super::holds::Holds;
use super::leases::Leases;
use super::lifecycle::{Control, Task, TaskActor};
use crate::board::Board;
use crate::domain::failure::FailureClass;
use crate::domain::group::{
    ConsumerSnapshot, GroupView, PartitionName, Replica, ReplicaSnapshot, ReplicaState, partitions, rebalances,
};
use crate::domain::status::{ChildKind, ChildState};
use crate::kafka::lookup::Lookup;
use crate::kafka::rebalance::TopicPartition;
use crate::store::replicas::{ReplicaBeat, StoredReplica};
use crate::store::{Store, StoreError};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The actor of the heartbeat.
pub type ReplicaActor = TaskActor<ReplicaTask>;

/// Time between two heartbeats: what others see is at most that old, and twenty processes cost seven small writes a second.
const BEAT: Duration = Duration::from_secs(3);
/// Silence after which a process counts as gone: five heartbeats, so that a failover of the store is no death.
const GONE_AFTER: Duration = Duration::from_secs(15);
/// Silence after which a row is removed: long enough to be found by whoever asks what was there yesterday.
const PRUNE_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Time between two removals.
const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// How long the store may take for one look; more would keep a stop waiting.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// Rebalances that others are told of; all that are kept would make the row large.
const REBALANCES_TOLD: usize = 20;
/// Processes of one replica id that are told apart by a number; more have no row.
const MOST_OF_ONE_ID: usize = 64;

/// What does not change while the process lives.
#[derive(Debug, Clone)]
pub struct ProcessFacts {
    /// The replica id, set or the host name.
    pub replica_id: String,
    /// The host.
    pub host: String,
    /// Where HTTP listens.
    pub http: Option<String>,
    /// Its consumers keep their places over a restart.
    pub static_membership: bool,
}

/// What the heartbeat is made of.
pub struct ReplicaTask {
    /// Where the rows are.
    pub store: Arc<dyn Store>,
    /// Ends of partitions that nobody has.
    pub lookup: Arc<Lookup>,
    /// The names of this process.
    pub leases: Arc<Leases>,
    /// Live state.
    pub board: Arc<Board>,
    /// What this process must not read, by the name that it has.
    pub holds: Arc<Holds>,
    /// Who this is.
    pub facts: ProcessFacts,
}

impl Task for ReplicaTask {
    async fn run(self, control: Control) -> Result<(), ExitError> {
        control.set_state(ChildState::Running);
        let mut heart = Heart { task: &self, name: None, known: Known::default(), counted: None, next_prune: None };
        let mut tick = tokio::time::interval(BEAT);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = control.drain_requested() => break,
                () = async { tick.tick().await; heart.beat().await; } => {}
            }
            control.progress();
        }
        if let Some(name) = &heart.name
            && let Err(error) = bounded(self.store.remove_replica(name)).await
        {
            tracing::debug!(replica_id = %name, error = %error, "the row of this process stays; it will count as gone");
        }
        Ok(())
    }
}

/// What was read last.
#[derive(Default)]
struct Known {
    as_of_ms: i64,
    others: Vec<StoredReplica>,
    positions: Vec<(PartitionName, i64)>,
    ends: BTreeMap<PartitionName, i64>,
    error: Option<String>,
}

struct Heart<'t> {
    task: &'t ReplicaTask,
    /// The name that this process got.
    name: Option<String>,
    known: Known,
    /// When the counters of the consumers were read last, and what they said.
    counted: Option<(Instant, BTreeMap<String, u64>)>,
    next_prune: Option<Instant>,
}

impl Heart<'_> {
    async fn beat(&mut self) {
        let snapshot = self.snapshot();
        let failed = self.exchange(&snapshot).await.err();
        match (&failed, &self.known.error) {
            (Some(error), None) => {
                tracing::warn!(error = %error, "the heartbeat could not be written; others will take this process for gone");
            }
            (None, Some(_)) => tracing::info!("the heartbeat is written again"),
            _ => {}
        }
        self.known.error = failed.map(|error| error.message);
        self.task.board.set_group(self.view(snapshot));
    }

    async fn exchange(&mut self, snapshot: &ReplicaSnapshot) -> Result<(), StoreError> {
        let store = &self.task.store;
        let name = bounded(self.name()).await?;
        let beat = ReplicaBeat {
            replica_id: name.clone(),
            started_at_ms: self.task.board.started_at_ms(),
            version: self.task.board.identity().version,
            snapshot: serde_json::to_value(snapshot).unwrap_or_default(),
        };
        bounded(store.beat(&beat)).await?;
        self.name = Some(name);
        let others = bounded(store.replicas()).await?;
        let positions = bounded(store.positions()).await?;
        self.known.others = others;
        self.known.positions = positions.into_iter().map(|at| ((at.topic, at.partition), at.next_offset)).collect();
        self.known.as_of_ms = chrono::Utc::now().timestamp_millis();
        self.known.ends = self.ends_of_unowned(snapshot).await;
        if self.next_prune.is_none_or(|at| Instant::now() >= at) {
            self.next_prune = Some(Instant::now() + PRUNE_EVERY);
            match bounded(store.prune_replicas(PRUNE_AFTER)).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "removed the rows of processes that have been gone for a day"),
                // Only what is shown depends on it: a role without the right to delete goes on.
                Err(error) => tracing::warn!(error = %error, "rows of processes that are gone could not be removed"),
            }
        }
        Ok(())
    }

    /// The name of this process: its replica id, or that with a number where another process has it.
    async fn name(&self) -> Result<String, StoreError> {
        let base = &self.task.facts.replica_id;
        let numbered = |number: usize| if number == 1 { base.clone() } else { format!("{base}#{number}") };
        let had = self.name.iter().cloned();
        for name in had.chain((1..=MOST_OF_ONE_ID).map(numbered)) {
            let lease = format!("replica {name}");
            if self.task.leases.take(&lease).await?.is_none() {
                if self.name.as_ref() != Some(&name) {
                    tracing::info!(replica_id = %name, "name of this process among the replicas");
                    self.task.board.set_replica_id(name.clone());
                    self.task.holds.set_replica_id(&name);
                }
                return Ok(name);
            }
        }
        Err(StoreError {
            class: FailureClass::Configuration,
            code: None,
            message: format!("{MOST_OF_ONE_ID} processes have the replica id \"{base}\" already; set replica_id"),
        })
    }

    /// Ends of the partitions that no living process says it has.
    async fn ends_of_unowned(&self, own: &ReplicaSnapshot) -> BTreeMap<PartitionName, i64> {
        let owned: Vec<PartitionName> = self
            .replicas(own)
            .into_iter()
            .filter(|replica| replica.state == ReplicaState::Alive)
            .flat_map(|replica| replica.snapshot.unwrap_or_default().consumers)
            .flat_map(|consumer| consumer.status.partitions)
            .map(|partition| (partition.topic, partition.partition))
            .collect();
        let topics = self.task.board.identity().topics;
        let unowned: Vec<TopicPartition> = self
            .known
            .positions
            .iter()
            .filter(|(name, _)| !owned.contains(name) && topics.contains(&name.0))
            .map(|((topic, partition), _)| TopicPartition { topic: topic.clone(), partition: *partition })
            .collect();
        if unowned.is_empty() {
            return BTreeMap::new();
        }
        let lookup = Arc::clone(&self.task.lookup);
        match tokio::task::spawn_blocking(move || lookup.known_ends(&unowned)).await {
            Ok(Ok(ends)) => ends.offsets.into_iter().map(|(id, end)| ((id.topic, id.partition), end)).collect(),
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "ends of partitions that nobody has could not be read");
                BTreeMap::new()
            }
            Err(_) => BTreeMap::new(),
        }
    }

    /// What this process says of itself.
    fn snapshot(&mut self) -> ReplicaSnapshot {
        let ReplicaTask { board, facts, .. } = self.task;
        let (readiness, children) = (board.readiness(), board.children());
        let now = Instant::now();
        let statuses = board.consumers();
        let counts: BTreeMap<String, u64> =
            statuses.iter().map(|status| (status.id.clone(), status.stored + status.dead_letters)).collect();
        let before = self.counted.replace((now, counts.clone()));
        let per_second = |id: &str| {
            let (then, before) = before.as_ref()?;
            let stored = counts.get(id)?.saturating_sub(before.get(id).copied().unwrap_or(0));
            Some(stored as f64 / now.duration_since(*then).as_secs_f64().max(0.001))
        };
        let consumers = statuses.into_iter().map(|status| {
            let child = children.iter().find(|child| child.kind == ChildKind::Consumer && child.id == status.id);
            ConsumerSnapshot {
                state: child.map_or(ChildState::Stopped, |child| child.state),
                restarts: child.map_or(0, |child| child.restarts),
                lag: status.partitions.iter().map(|partition| partition.lag).sum(),
                per_second: per_second(&status.id).unwrap_or(0.0),
                status,
            }
        });
        ReplicaSnapshot {
            host: facts.host.clone(),
            pid: std::process::id(),
            http: facts.http.clone(),
            static_membership: facts.static_membership,
            ready: readiness.ready,
            reasons: readiness.reasons,
            draining: board.draining(),
            breaker: board.breaker(),
            consumers: consumers.collect(),
            children: children.as_ref().clone(),
            rebalances: board.rebalances(REBALANCES_TOLD),
        }
    }

    /// All processes: this one as it is now, the others as they were last heard of.
    fn replicas(&self, own: &ReplicaSnapshot) -> Vec<Replica> {
        let identity = self.task.board.identity();
        let mut all = vec![Replica {
            replica_id: identity.replica_id.clone(),
            state: ReplicaState::Alive,
            age_ms: 0,
            started_at_ms: self.task.board.started_at_ms(),
            version: identity.version,
            snapshot: Some(own.clone()),
        }];
        for StoredReplica { beat, age } in &self.known.others {
            if beat.replica_id == identity.replica_id {
                continue;
            }
            all.push(Replica {
                replica_id: beat.replica_id.clone(),
                state: if *age < GONE_AFTER { ReplicaState::Alive } else { ReplicaState::Gone },
                age_ms: i64::try_from(age.as_millis()).unwrap_or(i64::MAX),
                started_at_ms: beat.started_at_ms,
                version: beat.version.clone(),
                snapshot: serde_json::from_value(beat.snapshot.clone()).ok(),
            });
        }
        all.sort_by(|a, b| a.replica_id.cmp(&b.replica_id));
        all
    }

    fn view(&self, own: ReplicaSnapshot) -> GroupView {
        let identity = self.task.board.identity();
        let replicas = self.replicas(&own);
        GroupView {
            group: identity.group,
            replica_id: identity.replica_id,
            as_of_ms: self.known.as_of_ms,
            store_error: self.known.error.clone(),
            partitions: partitions(&replicas, self.known.positions.iter().cloned(), &self.known.ends),
            rebalances: rebalances(&replicas),
            replicas,
        }
    }
}

async fn bounded<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match tokio::time::timeout(STORE_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError {
            class: FailureClass::Breaker,
            code: None,
            message: format!("the store did not answer within {STORE_TIMEOUT:?}"),
        }),
    }
}
