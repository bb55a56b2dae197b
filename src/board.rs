//! The live state of the process: actors write it; the HTTP server, the metrics and the receipt read it.
//!
//! Bound: one entry per child, consumer and owned partition. Locks are held for a copy and never across an await; a
//! writer that panics while it holds one leaves whole values behind, so a poisoned lock is read on. Nothing here fails.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use crate::domain::audit::AuditResult;
use crate::domain::group::GroupView;
use crate::domain::hold::HoldKind;
use crate::domain::rebalance::{Rebalance, RebalanceLog};
use crate::domain::status::{BreakerStatus, ChildKind, ChildState, ChildStatus, ConsumerStatus};

/// Who this process is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Identity {
    /// Version of drover.
    pub version: String,
    /// The id of this process among the replicas of the group.
    pub replica_id: String,
    /// Consumer group.
    pub group: String,
    /// Topics that are read.
    pub topics: Vec<String>,
    /// The kind of store: `postgres` or `sqlite`.
    pub store: String,
    /// Kafka's cluster id, once a broker has told it.
    pub cluster_id: Option<String>,
}

/// Whether the process does its work, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    /// Every consumer runs, the store answers, and nothing waits for a person.
    pub ready: bool,
    /// One sentence for each thing that is wrong; empty when ready.
    pub reasons: Vec<String>,
}

const STORE_UNKNOWN: u8 = 0;
const STORE_ANSWERS: u8 = 1;
const STORE_SILENT: u8 = 2;
/// No heartbeat was given yet.
const NO_BEAT: u64 = u64::MAX;

/// The live state of the process.
pub struct Board {
    identity: RwLock<Identity>,
    children: watch::Sender<Arc<Vec<ChildStatus>>>,
    /// The generation of each consumer that was seen running.
    has_run: RwLock<HashMap<String, u64>>,
    consumers: RwLock<BTreeMap<String, ConsumerStatus>>,
    /// What consumers that were taken away had done.
    retired: RwLock<ConsumerStatus>,
    breaker: RwLock<BreakerStatus>,
    audit: RwLock<Option<AuditResult>>,
    rebalances: RwLock<RebalanceLog>,
    group: RwLock<Option<Arc<GroupView>>>,
    store: AtomicU8,
    /// What is said of a cluster that does not answer.
    cluster_silent: RwLock<Option<String>>,
    draining: AtomicBool,
    started: Instant,
    started_at_ms: i64,
    beat_ms: AtomicU64,
}

impl Board {
    /// An empty board of a process that started at `started_at_ms` (milliseconds since the epoch).
    #[must_use]
    pub fn new(identity: Identity, started_at_ms: i64) -> Self {
        Self {
            identity: RwLock::new(identity),
            children: watch::Sender::new(Arc::default()),
            has_run: RwLock::default(),
            consumers: RwLock::default(),
            retired: RwLock::default(),
            breaker: RwLock::default(),
            audit: RwLock::default(),
            rebalances: RwLock::default(),
            group: RwLock::default(),
            store: AtomicU8::new(STORE_UNKNOWN),
            cluster_silent: RwLock::default(),
            draining: AtomicBool::new(false),
            started: Instant::now(),
            started_at_ms,
            beat_ms: AtomicU64::new(NO_BEAT),
        }
    }

    /// Who this process is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        read(&self.identity).clone()
    }

    /// Writes down the cluster id that a broker told.
    pub fn set_cluster_id(&self, cluster_id: String) {
        write(&self.identity).cluster_id = Some(cluster_id);
    }

    /// Writes down the name that this process got among the replicas of the group.
    pub fn set_replica_id(&self, replica_id: String) {
        write(&self.identity).replica_id = replica_id;
    }

    /// Adds a rebalance and gives back its number.
    pub fn add_rebalance(&self, rebalance: Rebalance) -> u64 {
        write(&self.rebalances).push(rebalance)
    }

    /// The newest rebalances of this process, oldest first.
    #[must_use]
    pub fn rebalances(&self, count: usize) -> Vec<Rebalance> {
        read(&self.rebalances).newest(count)
    }

    /// Replaces what is known of the whole group.
    pub fn set_group(&self, group: GroupView) {
        *write(&self.group) = Some(Arc::new(group));
    }

    /// The whole group as it was known last; `None` before the first look.
    #[must_use]
    pub fn group(&self) -> Option<Arc<GroupView>> {
        read(&self.group).clone()
    }

    /// When the process started, in milliseconds since the epoch.
    #[must_use]
    pub fn started_at_ms(&self) -> i64 {
        self.started_at_ms
    }

    /// How long the process has been running.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Replaces the table of children. A consumer that has ended owns nothing, so its partitions go too, except while the
    /// process stops: the receipt tells where each stood. Of a consumer that is not in the table any more the counts are kept.
    pub fn set_children(&self, children: Vec<ChildStatus>) {
        {
            let mut has_run = write(&self.has_run);
            let mut consumers = write(&self.consumers);
            for child in children.iter().filter(|c| c.kind == ChildKind::Consumer) {
                match child.state {
                    ChildState::Running => {
                        has_run.insert(child.id.clone(), child.generation);
                    }
                    ChildState::BackingOff | ChildState::Stopped | ChildState::Failed if !self.draining() => {
                        if let Some(consumer) = consumers.get_mut(&child.id) {
                            consumer.partitions.clear();
                        }
                    }
                    _ => {}
                }
            }
            let there = |id: &str| children.iter().any(|c| c.kind == ChildKind::Consumer && c.id == id);
            let mut retired = write(&self.retired);
            for (_, gone) in consumers.extract_if(.., |id, _| !there(id)) {
                retired.stored += gone.stored;
                retired.dead_letters += gone.dead_letters;
                retired.duplicates += gone.duplicates;
                has_run.remove(&gone.id);
            }
        }
        self.children.send_replace(Arc::new(children));
    }

    /// The children as the supervisor last told them.
    #[must_use]
    pub fn children(&self) -> Arc<Vec<ChildStatus>> {
        self.children.borrow().clone()
    }

    /// A receiver that wakes at every change of the children.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Vec<ChildStatus>>> {
        self.children.subscribe()
    }

    /// Replaces what is known of one consumer.
    pub fn set_consumer(&self, status: ConsumerStatus) {
        write(&self.consumers).insert(status.id.clone(), status);
    }

    /// All consumers, by id.
    #[must_use]
    pub fn consumers(&self) -> Vec<ConsumerStatus> {
        read(&self.consumers).values().cloned().collect()
    }

    /// What consumers that were taken away had done, as one without id and partitions.
    #[must_use]
    pub fn retired(&self) -> ConsumerStatus {
        read(&self.retired).clone()
    }

    /// Replaces the state of the breaker.
    pub fn set_breaker(&self, breaker: BreakerStatus) {
        *write(&self.breaker) = breaker;
    }

    /// The state of the breaker.
    #[must_use]
    pub fn breaker(&self) -> BreakerStatus {
        read(&self.breaker).clone()
    }

    /// Replaces the result of the last audit.
    pub fn set_audit(&self, result: AuditResult) {
        *write(&self.audit) = Some(result);
    }

    /// The result of the last audit of the group, once there was one.
    #[must_use]
    pub fn audit(&self) -> Option<AuditResult> {
        read(&self.audit).clone()
    }

    /// Tells whether the store answered the last time it was asked.
    pub fn set_store_ok(&self, ok: bool) {
        self.store.store(if ok { STORE_ANSWERS } else { STORE_SILENT }, Ordering::Relaxed);
    }

    /// Tells what is to be said of a cluster that does not answer, or that it answers. Gives back whether that is news.
    pub fn set_cluster_silent(&self, silent: Option<String>) -> bool {
        let mut now = write(&self.cluster_silent);
        let news = now.is_some() != silent.is_some();
        *now = silent;
        news
    }

    /// Marks the process as draining; there is no way back.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the process is draining.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The supervisor's sign of life.
    pub fn beat(&self) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(NO_BEAT - 1);
        self.beat_ms.store(ms, Ordering::Relaxed);
    }

    /// Time since the supervisor's last sign of life; `None` before the first.
    #[must_use]
    pub fn beat_age(&self) -> Option<Duration> {
        let at = self.beat_ms.load(Ordering::Relaxed);
        (at != NO_BEAT).then(|| self.started.elapsed().saturating_sub(Duration::from_millis(at)))
    }

    /// Whether the process does its work.
    ///
    /// A consumer that was paused by order is in order, and so is one that rebalances after it has run once: partitions
    /// move whenever a replica comes or goes, and a group must not turn red for that. A writer, the dead-letter actor and
    /// the metrics actor count only when they have failed for good; what their absence does to the store shows in the breaker.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.draining() {
            // While everything is being stopped, that children are stopped is no further news.
            reasons.push("the process is draining and will exit".to_owned());
            return Readiness { ready: false, reasons };
        }
        let children = self.children();
        if !children.iter().any(|c| c.kind == ChildKind::Consumer) {
            reasons.push("no consumer has been started yet".to_owned());
        }
        {
            let has_run = read(&self.has_run);
            reasons.extend(children.iter().filter_map(|c| {
                let ran = has_run.get(&c.id) == Some(&c.generation);
                child_reason(c, ran)
            }));
        }
        let breaker = self.breaker();
        if breaker.open {
            let cause = breaker.cause.as_deref().unwrap_or("the cause is not known");
            reasons.push(format!("the breaker in front of the store is open: {cause}"));
        }
        match self.store.load(Ordering::Relaxed) {
            STORE_ANSWERS => {}
            STORE_UNKNOWN => reasons.push("the store has not answered yet".to_owned()),
            _ if breaker.open => {}
            _ => reasons.push("the store does not answer".to_owned()),
        }
        reasons.extend(read(&self.cluster_silent).clone());
        for consumer in read(&self.consumers).values() {
            for partition in &consumer.partitions {
                if let Some(hold) = partition.held.as_ref().filter(|hold| hold.kind == HoldKind::Quarantined) {
                    reasons.push(format!(
                        "partition {}/{} is quarantined by {}: {}",
                        partition.topic, partition.partition, hold.by, hold.reason
                    ));
                }
                if let Some(stop) = &partition.stopped {
                    reasons.push(format!(
                        "partition {}/{} is stopped with {}: {}",
                        partition.topic, partition.partition, stop.code, stop.message
                    ));
                }
            }
        }
        reasons.extend(self.audit().iter().flat_map(AuditResult::findings));
        Readiness { ready: reasons.is_empty(), reasons }
    }
}

/// What is wrong with this child, if anything is. `ran`: it was seen running since it was last built.
fn child_reason(child: &ChildStatus, ran: bool) -> Option<String> {
    let kind = child.kind.as_str();
    let id = &child.id;
    let cause = || match &child.last_exit {
        Some(exit) => format!("{}: {}", exit.reason.as_str(), exit.message),
        None => "the cause is not known".to_owned(),
    };
    match (child.kind, child.state) {
        (_, ChildState::Failed) => Some(format!("{kind} {id} has failed and is not started again ({})", cause())),
        (ChildKind::Consumer, ChildState::Running | ChildState::Paused) => None,
        (ChildKind::Consumer, ChildState::Rebalancing) if ran => None,
        (ChildKind::Consumer, ChildState::BackingOff) => {
            Some(format!("consumer {id} has ended and will be started again ({})", cause()))
        }
        (ChildKind::Consumer, state) => Some(format!("consumer {id} is {}, not running", state.as_str())),
        _ => None,
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
