//! The metrics actor: samples what nobody counts by itself, once a second.
//!
//! Ends of the owned partitions (lag, also of paused ones), depth of queues, the byte budget, whether the store answers,
//! dead letters that wait. The hot path never sends to it; what it learns it leaves where others read it. When it fails
//! only these samples stand still.

use super::breaker::Breaker;
use super::exit::ExitError;
use super::holds::Holds;
use super::lifecycle::{Control, Task, TaskActor};
use super::memory::MemoryBudget;
use super::writer_pool::WriterPool;
use crate::board::Board;
use crate::domain::failure::FailureClass;
use crate::domain::status::{ChildKind, ChildState, ChildStatus};
use crate::kafka::lookup::Lookup;
use crate::kafka::rebalance::TopicPartition;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The actor that samples.
pub type MetricsActor = TaskActor<MetricsTask>;

/// Time between two samples: lag on the page is at most that old, and a sample costs about a millisecond.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the store may take to answer a look; longer counts as no answer.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// Ends of partitions (last stable offsets) as they were sampled last. Bounded by the partitions that this process owns.
#[derive(Debug, Default)]
pub struct EndOffsets(RwLock<BTreeMap<TopicPartition, i64>>);

impl EndOffsets {
    /// The end of a partition, once it was sampled.
    #[must_use]
    pub fn of(&self, id: &TopicPartition) -> Option<i64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    /// Samples the ends of these partitions. One that has no answer has no end from then on, and is told of when it begins:
    /// it is in `refused` for as long. Only a cluster that gives no answer at all is an error.
    async fn sample(
        &self,
        lookup: &Arc<Lookup>,
        partitions: Vec<TopicPartition>,
        refused: &mut BTreeSet<TopicPartition>,
    ) -> Result<(), String> {
        if partitions.is_empty() {
            return Ok(());
        }
        let lookup = Arc::clone(lookup);
        match tokio::task::spawn_blocking(move || lookup.known_ends(&partitions)).await {
            Ok(Ok(known)) => {
                for (id, error) in known.refused.iter().filter(|(id, _)| !refused.contains(id)) {
                    tracing::warn!(
                        topic = %id.topic, partition = id.partition, error = %error,
                        "the end of a partition is not known; its lag is not known, and its watchdog waits, until it is"
                    );
                }
                *refused = known.refused.into_keys().collect();
                self.replace(known.offsets);
                Ok(())
            }
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "ends of partitions could not be sampled");
                Err(error.to_string())
            }
            Err(error) => Err(format!("sampling was not finished: {error}")),
        }
    }

    fn replace(&self, ends: BTreeMap<TopicPartition, i64>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ends;
    }
}

/// What the metrics actor is made of.
pub struct MetricsTask {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Questions to the cluster.
    pub lookup: Arc<Lookup>,
    /// The writers' queue.
    pub pool: WriterPool,
    /// The byte budget.
    pub budget: Arc<MemoryBudget>,
    /// Opened when the store does not answer an idle process either.
    pub breaker: Arc<Breaker>,
    /// Read from the store, so that orders of other replicas arrive.
    pub holds: Arc<Holds>,
    /// Where ends are left.
    pub ends: Arc<EndOffsets>,
    /// Live state.
    pub board: Arc<Board>,
    /// Metrics.
    pub metrics: Metrics,
    /// How long the cluster may be silent.
    pub patience: Duration,
    /// Publish dead letters at all: otherwise none waits.
    pub publishes: bool,
}

impl Task for MetricsTask {
    async fn run(self, control: Control) -> Result<(), ExitError> {
        control.set_state(ChildState::Running);
        // Each on its own: a cluster that is silent must not hold up what the store says, and the other way round. All of
        // them wait for bounded times, so the heartbeat is that of the quickest.
        let sample = async {
            tokio::join!(
                every(|| {
                    control.progress();
                    self.sample_queues();
                    std::future::ready(())
                }),
                self.watch_cluster(),
                every(|| self.sample_store()),
                every(|| self.refresh_holds()),
            )
        };
        tokio::select! {
            biased;
            _ = control.drain_requested() => Ok(()),
            _ = sample => Ok(()),
        }
    }
}

/// Does something again and again.
async fn every<Fut: Future<Output = ()>>(mut work: impl FnMut() -> Fut) {
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        work().await;
    }
}

impl MetricsTask {
    fn sample_queues(&self) {
        let count = |items: usize| i64::try_from(items).unwrap_or(i64::MAX);
        let (depth, capacity) = self.pool.depth();
        self.metrics.queue_depth.with_label_values(&["writers"]).set(count(depth));
        self.metrics.queue_capacity.with_label_values(&["writers"]).set(count(capacity));
        self.metrics.memory_reserved_bytes.set(count(self.budget.reserved()));
        self.metrics.memory_limit_bytes.set(count(self.budget.limit()));
        let children = self.board.children();
        let consumers: Vec<&ChildStatus> = children.iter().filter(|child| child.kind == ChildKind::Consumer).collect();
        for child in &consumers {
            self.metrics.set_consumer_state(&child.id, child.state.as_str());
        }
        let consumers: Vec<&str> = consumers.iter().map(|child| child.id.as_str()).collect();
        let all: Vec<&str> = children.iter().map(|child| child.id.as_str()).collect();
        self.metrics.forget_others(&consumers, &all);
    }

    /// Samples the ends; a cluster that answers nothing for too long is told of, and turns readiness red.
    async fn watch_cluster(&self) {
        let (mut answered, mut refused) = (Instant::now(), BTreeSet::new());
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // The question has a deadline of its own; a thread that never comes back must not be waited for either.
            let sampled = tokio::time::timeout(self.patience, self.sample_ends(&mut refused)).await;
            let why = match sampled {
                Ok(Ok(())) => {
                    answered = Instant::now();
                    self.board.set_cluster_silent(None);
                    continue;
                }
                Ok(Err(why)) => why,
                Err(_) => "the question never came back".to_owned(),
            };
            // An unknown lag is no lag of zero: the last figures go, and with them the series of the page.
            self.ends.replace(BTreeMap::new());
            if answered.elapsed() >= self.patience {
                let silent = format!("the Kafka cluster has not answered for {:?}: {why}", self.patience);
                if self.board.set_cluster_silent(Some(silent.clone())) {
                    tracing::warn!("{silent}");
                    self.metrics.cluster_silences.inc();
                }
            }
        }
    }

    async fn sample_ends(&self, refused: &mut BTreeSet<TopicPartition>) -> Result<(), String> {
        let partitions: Vec<TopicPartition> = self
            .board
            .consumers()
            .into_iter()
            .flat_map(|consumer| consumer.partitions)
            .map(|partition| TopicPartition { topic: partition.topic, partition: partition.partition })
            .collect();
        self.ends.sample(&self.lookup, partitions, refused).await
    }

    async fn refresh_holds(&self) {
        let refresh = self.holds.refresh(chrono::Utc::now().timestamp_millis());
        match tokio::time::timeout(STORE_TIMEOUT, refresh).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = %error, "holds could not be read; the last list stands"),
            Err(_) => tracing::debug!("holds were not read in time; the last list stands"),
        }
    }

    async fn sample_store(&self) {
        match tokio::time::timeout(STORE_TIMEOUT, self.store.ping()).await {
            Ok(Ok(())) => self.breaker.answered(),
            Ok(Err(error)) => self.breaker.open(&error, INTERVAL),
            Err(_) => {
                let message = format!("looking at the store: no answer within {STORE_TIMEOUT:?}");
                self.breaker.open(&StoreError { class: FailureClass::Breaker, code: None, message }, INTERVAL);
            }
        }
        if !self.publishes {
            return;
        }
        if let Ok(Ok(waiting)) = tokio::time::timeout(STORE_TIMEOUT, self.store.unpublished()).await {
            self.metrics.dead_letter_backlog_messages.set(waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::kafka::embedded::EmbeddedBroker;
    use crate::kafka::test_support::kafka_config;

    #[tokio::test]
    async fn a_partition_without_an_answer_takes_no_end_from_the_others_and_is_no_silence() {
        let broker = EmbeddedBroker::start().unwrap();
        broker.create_topic("user_events", 2).unwrap();
        let config = kafka_config(broker.bootstrap_servers());
        let lookup = Arc::new(Lookup::new(&config, Duration::from_secs(20)).unwrap());
        let of = |partition| TopicPartition { topic: "user_events".into(), partition };
        let (ends, mut refused) = (EndOffsets::default(), BTreeSet::new());
        ends.sample(&lookup, vec![of(0), of(1), of(9)], &mut refused).await.unwrap();
        assert_eq!((ends.of(&of(0)), ends.of(&of(1)), ends.of(&of(9))), (Some(0), Some(0), None));
        assert_eq!(refused, BTreeSet::from([of(9)]));
        ends.sample(&lookup, vec![of(0), of(1)], &mut refused).await.unwrap();
        assert!(refused.is_empty(), "it is told of again when it begins again");
        broker.set_down(true).unwrap();
        let lookup = Arc::new(Lookup::new(&config, Duration::from_millis(500)).unwrap());
        ends.sample(&lookup, vec![of(0)], &mut refused).await.unwrap_err();
    }
}
