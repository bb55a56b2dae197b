//! How each child is built: what all of them share, and one specification per child.
//!
//! A [`Fleet`] outlives every generation of its children, so that one can be built anew, and one more be added, at any time.
//! Nothing here waits; only the producer of dead letters can fail, at the start.

use super::{AppError, Options, mappings, prepare};
use crate::actors::breaker::Breaker;
use crate::actors::child::ChildSpec;
use crate::actors::consumer::ConsumerTask;
use crate::actors::consumer::start::Starts;
use crate::actors::db_writer::{DbWriterTask, WriterPool};
use crate::actors::dead_letter::DeadLetterTask;
use crate::actors::holds::Holds;
use crate::actors::memory::MemoryBudget;
use crate::actors::metrics::{EndOffsets, MetricsTask};
use crate::board::Board;
use crate::config::{Config, GroupProtocol, KafkaConfig, RestartConfig, StormConfig};
use crate::domain::backoff::Backoff;
use crate::domain::event::Mapping;
use crate::domain::restart::RestartPolicy;
use crate::domain::status::ChildKind;
use crate::domain::storm::StormLimits;
use crate::kafka::group_client::KafkaGroup;
use crate::kafka::lookup::Lookup;
use crate::kafka::producer::EventProducer;
use crate::metrics::Metrics;
use crate::processor::Processor;
use crate::store::Store;
use prepare::Prepared;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Share of the delay between two probes of the store that is random.
const PROBE_JITTER: f64 = 0.5;

/// See the module.
pub struct Fleet {
    config: Config,
    store: Arc<dyn Store>,
    lookup: Arc<Lookup>,
    starts: Starts,
    board: Arc<Board>,
    metrics: Metrics,
    breaker: Arc<Breaker>,
    holds: Arc<Holds>,
    pool: WriterPool,
    writers: usize,
    budget: Arc<MemoryBudget>,
    ends: Arc<EndOffsets>,
    /// Woken when dead letters were stored.
    dead_letters: Arc<Notify>,
    /// There when dead letters are published.
    producer: Option<Arc<EventProducer>>,
    mappings: Arc<BTreeMap<String, Arc<Mapping>>>,
    kafka: Arc<KafkaConfig>,
    processor: Option<Arc<dyn Processor>>,
}

impl Fleet {
    /// What the children of this configuration share.
    pub fn new(
        config: Config,
        prepared: Prepared,
        board: Arc<Board>,
        metrics: Metrics,
        options: Options,
    ) -> Result<Self, AppError> {
        let Prepared { store, lookup, identity, holds } = prepared;
        // SQLite has one write lock: more writers would only wait for each other.
        let writers = if store.kind() == "sqlite" { 1 } else { config.store.writers };
        let producer = if config.dead_letters.publish { Some(prepare::dead_letter_producer(&config)?) } else { None };
        Ok(Self {
            starts: Starts {
                lookup: lookup.clone(),
                store: Arc::clone(&store),
                start_from: config.kafka.start_from,
                store_id: identity.store_id,
            },
            breaker: Arc::new(Breaker::new(Arc::clone(&board), metrics.clone())),
            holds,
            pool: WriterPool::new(writers),
            writers,
            // Half of the memory is for batches, the other half for what is fetched ahead.
            budget: Arc::new(MemoryBudget::new(config.limits.memory / 2)),
            ends: Arc::default(),
            dead_letters: Arc::default(),
            producer,
            mappings: Arc::new(mappings(&config)),
            kafka: Arc::new(config.kafka.clone()),
            processor: options.processor,
            config,
            store,
            lookup,
            board,
            metrics,
        })
    }

    /// All children of the configuration in the order of their start: who is needed comes before who needs it.
    pub fn children(&self) -> Vec<ChildSpec> {
        let mut children = vec![self.metrics()];
        children.extend(self.dead_letter());
        children.extend((1..=self.writers).map(|number| self.writer(number)));
        children.extend(self.config.consumers.ids.iter().map(|id| self.consumer(id)));
        children
    }

    fn metrics(&self) -> ChildSpec {
        let (store, lookup, pool, budget) =
            (Arc::clone(&self.store), Arc::clone(&self.lookup), self.pool.clone(), Arc::clone(&self.budget));
        let (breaker, ends, board, metrics) =
            (Arc::clone(&self.breaker), Arc::clone(&self.ends), Arc::clone(&self.board), self.metrics.clone());
        let holds = Arc::clone(&self.holds);
        let publishes = self.config.dead_letters.publish;
        let patience = self.config.watchdog.timeout;
        let task = move || MetricsTask {
            store: Arc::clone(&store),
            lookup: Arc::clone(&lookup),
            pool: pool.clone(),
            budget: Arc::clone(&budget),
            breaker: Arc::clone(&breaker),
            holds: Arc::clone(&holds),
            ends: Arc::clone(&ends),
            board: Arc::clone(&board),
            metrics: metrics.clone(),
            patience,
            publishes,
        };
        self.watched(ChildSpec::new("metrics", ChildKind::Metrics, policy(&self.config.supervision.metrics), task))
    }

    /// None when dead letters stay in the table.
    fn dead_letter(&self) -> Option<ChildSpec> {
        let producer = Arc::clone(self.producer.as_ref()?);
        let (store, lookup, stored) =
            (Arc::clone(&self.store), Arc::clone(&self.lookup), Arc::clone(&self.dead_letters));
        let topic = self.config.dead_letters.topic.clone();
        let (group, metrics) = (self.config.kafka.group.clone(), self.metrics.clone());
        let patience = self.config.watchdog.timeout / 2;
        let task = move || DeadLetterTask {
            store: Arc::clone(&store),
            producer: Arc::clone(&producer),
            lookup: Arc::clone(&lookup),
            topic: topic.clone(),
            group: group.clone(),
            stored: Arc::clone(&stored),
            metrics: metrics.clone(),
            patience,
        };
        let policy = policy(&self.config.supervision.dead_letter);
        Some(self.watched(ChildSpec::new("dead-letter", ChildKind::DeadLetter, policy, task)))
    }

    /// The writer with this number, from 1.
    fn writer(&self, number: usize) -> ChildSpec {
        let (store, pool, breaker, metrics) =
            (Arc::clone(&self.store), self.pool.clone(), Arc::clone(&self.breaker), self.metrics.clone());
        let probe = (self.config.store.probe_min, self.config.store.probe_max);
        let task = move || DbWriterTask {
            store: Arc::clone(&store),
            pool: pool.clone(),
            breaker: Arc::clone(&breaker),
            metrics: metrics.clone(),
            probe,
            jitter: PROBE_JITTER,
        };
        let id = format!("writer-{number}");
        self.watched(ChildSpec::new(&id, ChildKind::DbWriter, policy(&self.config.supervision.db_writer), task))
    }

    /// The consumer with this id.
    fn consumer(&self, id: &str) -> ChildSpec {
        let config = &self.config;
        self.metrics.init_consumer(id, &config.kafka.topics);
        let task = ConsumerTask {
            id: id.to_owned(),
            instance_id: instance_id(config, id),
            group: KafkaGroup {
                kafka: Arc::clone(&self.kafka),
                fetch_bytes: (config.limits.memory / 2 / config.consumers.ids.len()).max(config.limits.record_bytes),
                former: Default::default(),
            },
            lanes: config.consumers.lanes,
            batch_rows: config.limits.batch_rows,
            batch_bytes: config.limits.batch_bytes,
            min_batch_age: config.consumers.min_batch_age,
            record_bytes: config.limits.record_bytes,
            storm: storm_limits(&config.storm),
            watchdog_timeout: config.watchdog.timeout,
            mappings: Arc::clone(&self.mappings),
            starts: self.starts.clone(),
            pool: self.pool.clone(),
            budget: Arc::clone(&self.budget),
            breaker: Arc::clone(&self.breaker),
            holds: Arc::clone(&self.holds),
            dead_letters: Arc::clone(&self.dead_letters),
            processor: self.processor.clone(),
            ends: Arc::clone(&self.ends),
            board: Arc::clone(&self.board),
            metrics: self.metrics.clone(),
            leave: config.shutdown.leave,
        };
        let policy = policy(&config.supervision.consumer);
        self.watched(ChildSpec::new(id, ChildKind::Consumer, policy, move || task.clone()))
    }

    /// Ends a child that gives no heartbeat.
    fn watched(&self, child: ChildSpec) -> ChildSpec {
        child.stall_after(self.config.watchdog.timeout)
    }
}

fn storm_limits(config: &StormConfig) -> StormLimits {
    let StormConfig { consecutive, ratio, window, release_after } = *config;
    StormLimits { consecutive, ratio, window, release_after }
}

/// `group.instance.id` of a consumer, where membership is static: in the classic protocol, when the replica has an id. With
/// KIP-848 a static member that was killed is kept out with a fatal error until its session ends.
fn instance_id(config: &Config, consumer_id: &str) -> Option<String> {
    let replica_id = config.replica_id.as_ref()?;
    (config.kafka.protocol == GroupProtocol::Classic).then(|| format!("{replica_id}-{consumer_id}"))
}

fn policy(config: &RestartConfig) -> RestartPolicy {
    RestartPolicy {
        backoff: Backoff {
            min: config.min,
            max: config.max,
            factor: config.factor,
            jitter: config.jitter,
            reset_after: config.reset_after,
        },
        intensity: config.intensity,
        period: config.period,
    }
}
