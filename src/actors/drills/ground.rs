//! What drills stand on: the store and the brokers as they really are, the faults, and the supervisor.
//!
//! Shared by all drills of a process. Asks and counts; decides nothing. Fails as store and brokers do.

use crate::actors::holds::Holds;
use crate::actors::supervisor::SupervisorActor;
use crate::board::Board;
use crate::config::KafkaConfig;
use crate::domain::drill::DrillSeen;
use crate::domain::event::Mapping;
use crate::domain::status::{ChildState, ChildStatus};
use crate::domain::storm::StormLimits;
use crate::kafka::faulty::ClientFaults;
use crate::kafka::group_client::Questions;
use crate::kafka::lookup::Lookup;
use crate::kafka::rebalance::TopicPartition;
use crate::metrics::{Metrics, total};
use crate::store::Store;
use crate::store::faulty::StoreFaults;
use actix::Addr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Makes the brokers go away (`true`) and come back (`false`): the embedded broker's way of being down. May block for a
/// moment; the error is text for people.
pub type Outage = Arc<dyn Fn(bool) -> Result<(), String> + Send + Sync>;

/// Pause between two looks at a condition.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// See the module.
pub struct Ground {
    /// The store without faults.
    pub store: Arc<dyn Store>,
    /// Questions to the cluster without faults.
    pub lookup: Arc<Lookup>,
    /// Who rebuilds what drills break.
    pub supervisor: Addr<SupervisorActor>,
    /// The live state.
    pub board: Arc<Board>,
    /// Metrics.
    pub metrics: Metrics,
    /// The faults of the store that the children have.
    pub store_faults: Arc<StoreFaults>,
    /// The faults of the group clients that the consumers have.
    pub client_faults: Arc<ClientFaults>,
    /// How the brokers go away, where they can; else they are made to look away.
    pub outage: Option<Outage>,
    /// Brokers, topics and group.
    pub kafka: Arc<KafkaConfig>,
    /// Mappings by topic.
    pub mappings: Arc<BTreeMap<String, Arc<Mapping>>>,
    /// Largest record.
    pub record_bytes: usize,
    /// Whether dead letters are published.
    pub publishes: bool,
    /// What keeps partitions from being read.
    pub holds: Arc<Holds>,
    /// When the storm guard puts a partition into quarantine.
    pub storm: StormLimits,
    /// How long a stall may last before the watchdog finds it.
    pub stall_limit: Duration,
    /// Marks the events of this process's drills.
    pub stamp: String,
}

impl Ground {
    /// The children as they are now.
    pub fn children(&self) -> Arc<Vec<ChildStatus>> {
        self.board.children()
    }

    /// One child.
    pub fn child(&self, id: &str) -> Option<ChildStatus> {
        self.children().iter().find(|child| child.id == id).cloned()
    }

    /// The children that run now.
    pub fn running(&self) -> BTreeSet<String> {
        let children = self.children();
        children.iter().filter(|child| child.state == ChildState::Running).map(|child| child.id.clone()).collect()
    }

    /// Where the logs end now.
    pub async fn ends(&self) -> Result<BTreeMap<TopicPartition, i64>, String> {
        let mut partitions = Vec::new();
        for topic in &self.kafka.topics {
            let described =
                Questions::topic(Arc::clone(&self.lookup), topic.clone()).await.map_err(|error| error.to_string())?;
            let described = described.ok_or_else(|| format!("topic \"{topic}\" does not exist"))?;
            let ids = described.partitions.iter().map(|&partition| TopicPartition { topic: topic.clone(), partition });
            partitions.extend(ids);
        }
        let asked = partitions.len();
        let ends = Questions::ends(Arc::clone(&self.lookup), partitions).await.map_err(|error| error.to_string())?;
        match asked - ends.len() {
            0 => Ok(ends),
            missing => Err(format!("{missing} of {asked} partitions tell no end")),
        }
    }

    /// How far the store has each partition.
    pub async fn positions(&self) -> Result<BTreeMap<TopicPartition, i64>, String> {
        let mut positions = BTreeMap::new();
        for topic in &self.kafka.topics {
            let Some(known) = self.store.topic(topic).await.map_err(|error| error.message)? else { continue };
            for (&partition, progress) in &known.partitions {
                positions.insert(TopicPartition { topic: topic.clone(), partition }, progress.next_offset);
            }
        }
        Ok(positions)
    }

    /// What was counted since the process started.
    pub fn seen(&self) -> DrillSeen {
        DrillSeen {
            restarts: self.children().iter().map(|child| child.restarts).sum(),
            position_resets: total(&self.metrics.position_resets),
            rebalances: total(&self.metrics.consumer_rebalances),
            breaker_trips: self.board.breaker().trips,
            store_errors: total(&self.metrics.store_errors),
            duplicates_skipped: self.board.consumers().iter().map(|consumer| consumer.duplicates).sum(),
        }
    }

    /// Whether the brokers are away, or look so.
    pub async fn set_brokers_down(&self, down: bool) -> Result<(), String> {
        match &self.outage {
            Some(outage) => {
                let outage = Arc::clone(outage);
                let done = tokio::task::spawn_blocking(move || outage(down)).await;
                done.map_err(|error| error.to_string())?
            }
            None => {
                self.client_faults.set_down(down);
                Ok(())
            }
        }
    }

    /// Ends every fault, whatever became of the drill.
    pub async fn clear(&self) {
        self.store_faults.clear();
        self.client_faults.clear();
        if let Some(outage) = &self.outage
            && let Err(error) = outage(false)
        {
            tracing::warn!(error, "the broker could not be brought back");
        }
    }
}

/// Waits until the expression gives something, at most so long; the error says what was waited for in vain. A macro, since a
/// closure that lends what it awaits cannot be sent to another thread.
macro_rules! wait_for {
    ($what:expr, $longest:expr, $look:expr) => {{
        let (longest, began): (std::time::Duration, _) = ($longest, tokio::time::Instant::now());
        loop {
            if let Some(found) = $look {
                break Ok(found);
            }
            if began.elapsed() >= longest {
                break Err(format!("waited {} s in vain for {}", longest.as_secs(), $what));
            }
            tokio::time::sleep($crate::actors::drills::ground::LOOK_AGAIN).await;
        }
    }};
}
pub(super) use wait_for;

/// What was counted between two looks.
pub(super) fn between(before: &DrillSeen, now: &DrillSeen) -> DrillSeen {
    DrillSeen {
        restarts: now.restarts.saturating_sub(before.restarts),
        position_resets: now.position_resets.saturating_sub(before.position_resets),
        rebalances: now.rebalances.saturating_sub(before.rebalances),
        breaker_trips: now.breaker_trips.saturating_sub(before.breaker_trips),
        store_errors: now.store_errors.saturating_sub(before.store_errors),
        duplicates_skipped: now.duplicates_skipped.saturating_sub(before.duplicates_skipped),
    }
}
