//! How each child is built: what all of them share, and one specification per child.
//!
//! A [`Fleet`] outlives every generation of its children, so that one can be built anew, and one more be added, at any time.
//! Nothing here waits; only the first producer of dead letters can fail, at the start.

use super::{AppError, Options, mappings, prepare};
use crate::actors::audit::{AuditKafka, AuditTask};
use crate::actors::breaker::Breaker;
use crate::actors::child::ChildSpec;
use crate::actors::consumer::ConsumerTask;
use crate::actors::consumer::start::Starts;
use crate::actors::db_writer::DbWriterTask;
use crate::actors::dead_letter::{DeadLetterTask, Producers};
use crate::actors::drills::obey::Obedient;
use crate::actors::holds::Holds;
use crate::actors::leases::{Leases, Place};
use crate::actors::memory::MemoryBudget;
use crate::actors::metrics::{EndOffsets, MetricsTask};
use crate::actors::replica::{ProcessFacts, ReplicaTask};
use crate::actors::writer_pool::WriterPool;
use crate::board::Board;
use crate::config::{Config, GroupProtocol, KafkaConfig, MOST_WRITERS, RestartConfig, StormConfig};
use crate::domain::backoff::Backoff;
use crate::domain::event::Mapping;
use crate::domain::restart::RestartPolicy;
use crate::domain::status::{ChildKind, ChildState};
use crate::domain::storm::StormLimits;
use crate::feed::Feed;
use crate::kafka::faulty::{ClientFaults, FaultyGroup, FaultyQuestions};
use crate::kafka::group_client::{Group, KafkaGroup, Questions};
use crate::kafka::lookup::Lookup;
use crate::metrics::Metrics;
use crate::processor::Processor;
use crate::store::Store;
use prepare::Prepared;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Share of the delay between two probes of the store that is random.
const PROBE_JITTER: f64 = 0.5;

/// See the module.
pub struct Fleet {
    config: Config,
    pub(super) store: Arc<dyn Store>,
    lookup: Arc<Lookup>,
    starts: Starts,
    pub(super) board: Arc<Board>,
    pub(super) metrics: Metrics,
    leases: Arc<Leases>,
    facts: ProcessFacts,
    breaker: Arc<Breaker>,
    pub(super) holds: Arc<Holds>,
    pool: WriterPool,
    writers: usize,
    budget: Arc<MemoryBudget>,
    ends: Arc<EndOffsets>,
    pub(super) feed: Arc<Feed>,
    /// Woken when dead letters were stored.
    dead_letters: Arc<Notify>,
    /// Makes their producers; there when dead letters are published.
    producers: Option<Producers>,
    mappings: Arc<BTreeMap<String, Arc<Mapping>>>,
    kafka: Arc<KafkaConfig>,
    processor: Option<Arc<dyn Processor>>,
    /// There where drills are allowed.
    client_faults: Option<Arc<ClientFaults>>,
    /// How many consumers share the memory for what is fetched ahead.
    sharing: Arc<AtomicUsize>,
    /// For each consumer that was built: whether it gives up a static place when it stops, and whether however it ends.
    leaving: Mutex<HashMap<String, [Arc<AtomicBool>; 2]>>,
}

impl Fleet {
    /// What the children of this configuration share.
    pub fn new(
        config: Config,
        prepared: Prepared,
        board: Arc<Board>,
        metrics: Metrics,
        options: Options,
        feed: Arc<Feed>,
        facts: ProcessFacts,
    ) -> Result<Self, AppError> {
        let Prepared { store, lookup, identity, holds, faults } = prepared;
        let client_faults = faults.map(|faults| faults.clients);
        let asked: Arc<dyn Questions> = match &client_faults {
            Some(faults) => Arc::new(FaultyQuestions { inner: lookup.clone(), faults: Arc::clone(faults) }),
            None => lookup.clone(),
        };
        let processor: Option<Arc<dyn Processor>> = match config.drills.enabled {
            true => Some(Arc::new(Obedient::new(options.processor))),
            false => options.processor,
        };
        // SQLite has one write lock: more writers would only wait for each other.
        let writers = if store.kind() == "sqlite" { 1 } else { config.store.writers };
        let publishes = config.dead_letters.publish;
        let producers = publishes.then(|| prepare::dead_letter_producers(&config, letter_patience(&config)));
        Ok(Self {
            starts: Starts {
                lookup: asked,
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
            feed,
            dead_letters: Arc::default(),
            producers: producers.transpose()?,
            mappings: Arc::new(mappings(&config)),
            kafka: Arc::new(config.kafka.clone()),
            processor,
            client_faults,
            sharing: Arc::new(AtomicUsize::new(config.consumers.ids.len())),
            leaving: Mutex::default(),
            leases: Arc::new(Leases::new(
                Arc::clone(&store),
                &config.kafka.group,
                &format!("pid {} on {}", std::process::id(), facts.host),
            )),
            facts,
            config,
            store,
            lookup,
            board,
            metrics,
        })
    }

    /// All children of the configuration in the order of their start: who is needed comes before who needs it.
    pub fn children(&self) -> Vec<ChildSpec> {
        let mut children = vec![self.replica(), self.metrics()];
        children.extend(self.dead_letter());
        children.extend(self.audit());
        children.extend((1..=self.writers).map(|number| self.writer(&format!("writer-{number}"))));
        children.extend(self.config.consumers.ids.iter().map(|id| self.consumer(id)));
        children
    }

    /// The way to the writers.
    pub fn pool(&self) -> &WriterPool {
        &self.pool
    }

    /// Most writers that this store can use, and why not more.
    pub fn most_writers(&self) -> (usize, &'static str) {
        if self.store.kind() == "sqlite" {
            (1, "SQLite has one write lock, so more would only wait for each other")
        } else {
            (MOST_WRITERS, "each is a connection of its own")
        }
    }

    /// Consumers that are built from now on share the memory for what is fetched ahead with so many.
    pub fn share_among(&self, consumers: usize) {
        self.sharing.store(consumers, Ordering::Release);
    }

    /// A consumer gives its static place in the group up, however it ends, because it does not come back.
    pub fn leave_for_good(&self, consumer_id: &str) {
        let gone = self.leaving.lock().unwrap_or_else(PoisonError::into_inner).remove(consumer_id);
        for leave in gone.into_iter().flatten() {
            leave.store(true, Ordering::Release);
        }
    }

    /// Whether a consumer in this state cannot leave its group, which keeps a static place for it: it has no client any more.
    pub fn cannot_leave(&self, state: ChildState) -> bool {
        let ended = match state {
            ChildState::BackingOff | ChildState::Failed => true,
            ChildState::Stopped => !self.config.shutdown.leave,
            _ => false,
        };
        ended && is_static(&self.config)
    }

    /// Takes the places of all consumers, waiting a while for a process that is about to leave them.
    pub async fn take_places(&self) -> Result<(), AppError> {
        let places = self.config.consumers.ids.iter().filter_map(|id| self.place(id));
        for taken in futures::future::join_all(places.map(|place| async move { place.take().await })).await {
            taken?;
        }
        Ok(())
    }

    fn replica(&self) -> ChildSpec {
        let (store, lookup, leases) = (Arc::clone(&self.store), Arc::clone(&self.lookup), Arc::clone(&self.leases));
        let (board, holds, facts) = (Arc::clone(&self.board), Arc::clone(&self.holds), self.facts.clone());
        let task = move || ReplicaTask {
            store: Arc::clone(&store),
            lookup: Arc::clone(&lookup),
            leases: Arc::clone(&leases),
            board: Arc::clone(&board),
            holds: Arc::clone(&holds),
            facts: facts.clone(),
        };
        ChildSpec::new("replica", ChildKind::Replica, policy(&self.config.supervision.replica), task)
    }

    /// The place of a consumer, where the replica has an id of its own: without one no two processes have the same.
    pub fn place(&self, id: &str) -> Option<Place> {
        self.config.replica_id.as_ref().map(|replica_id| Place::new(&self.leases, replica_id, id))
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
        let producers = Arc::clone(self.producers.as_ref()?);
        let (store, lookup, stored) =
            (Arc::clone(&self.store), Arc::clone(&self.lookup), Arc::clone(&self.dead_letters));
        let topic = self.config.dead_letters.topic.clone();
        let (group, metrics) = (self.config.kafka.group.clone(), self.metrics.clone());
        let patience = letter_patience(&self.config);
        let task = move || DeadLetterTask {
            store: Arc::clone(&store),
            producers: Arc::clone(&producers),
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

    /// None when the audit is only made by command. It restarts like the metrics actor: both only look.
    fn audit(&self) -> Option<ChildSpec> {
        let interval = self.config.audit.interval;
        let kafka = AuditKafka { config: Arc::clone(&self.kafka), lookup: Arc::clone(&self.lookup) };
        let (store, board, metrics) = (Arc::clone(&self.store), Arc::clone(&self.board), self.metrics.clone());
        let task = move || AuditTask {
            store: Arc::clone(&store),
            kafka: kafka.clone(),
            interval,
            replica_id: board.identity().replica_id,
            board: Arc::clone(&board),
            metrics: metrics.clone(),
        };
        let policy = policy(&self.config.supervision.metrics);
        (!interval.is_zero()).then(|| ChildSpec::new("audit", ChildKind::Audit, policy, task))
    }

    /// The writer with this id.
    pub fn writer(&self, id: &str) -> ChildSpec {
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
        self.watched(ChildSpec::new(id, ChildKind::DbWriter, policy(&self.config.supervision.db_writer), task))
    }

    /// The consumer with this id.
    pub fn consumer(&self, id: &str) -> ChildSpec {
        let gone = Arc::default();
        let group = KafkaGroup {
            kafka: Arc::clone(&self.kafka),
            fetch_bytes: 0,
            former: Default::default(),
            gone: Arc::clone(&gone),
        };
        let group = move |fetch_bytes| KafkaGroup { fetch_bytes, ..group.clone() };
        match self.client_faults.clone() {
            Some(faults) => self
                .consumer_of(id, gone, move |bytes| FaultyGroup { inner: group(bytes), faults: Arc::clone(&faults) }),
            None => self.consumer_of(id, gone, group),
        }
    }

    /// `group` gives the group for a client that fetches at most so many bytes at once.
    fn consumer_of<G: Group>(
        &self,
        id: &str,
        gone: Arc<AtomicBool>,
        group: impl Fn(usize) -> G + Send + Sync + 'static,
    ) -> ChildSpec {
        let config = &self.config;
        self.metrics.init_consumer(id, &config.kafka.topics);
        let leave = Arc::new(AtomicBool::new(config.shutdown.leave));
        let task = ConsumerTask {
            id: id.to_owned(),
            instance_id: instance_id(config, id),
            group: group(config.limits.record_bytes),
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
            feed: Arc::clone(&self.feed),
            board: Arc::clone(&self.board),
            metrics: self.metrics.clone(),
            place: self.place(id),
            leave: Arc::clone(&leave),
        };
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), [leave, gone]);
        // A client keeps what it was made with; each generation takes the share of its time.
        let (sharing, half, least) = (Arc::clone(&self.sharing), config.limits.memory / 2, config.limits.record_bytes);
        let built = move || {
            let share = half / sharing.load(Ordering::Acquire).max(1);
            ConsumerTask { group: group(share.max(least)), ..task.clone() }
        };
        self.watched(ChildSpec::new(id, ChildKind::Consumer, policy(&config.supervision.consumer), built))
    }

    /// Ends a child that gives no heartbeat.
    fn watched(&self, child: ChildSpec) -> ChildSpec {
        child.stall_after(self.config.watchdog.timeout)
    }
}

/// How long the dead-letter actor waits for one answer: short of what the watchdog takes for a stall.
fn letter_patience(config: &Config) -> Duration {
    config.watchdog.timeout / 2
}

/// The limits of the storm guard.
pub(super) fn storm_limits(config: &StormConfig) -> StormLimits {
    let StormConfig { consecutive, ratio, window, release_after } = *config;
    StormLimits { consecutive, ratio, window, release_after }
}

/// `group.instance.id` of a consumer, where membership is static: in the classic protocol, when the replica has an id. With
/// KIP-848 a static member that was killed is kept out with a fatal error until its session ends.
fn instance_id(config: &Config, consumer_id: &str) -> Option<String> {
    let replica_id = config.replica_id.as_ref()?;
    is_static(config).then(|| format!("{replica_id}-{consumer_id}"))
}

/// Whether consumers keep their places in the group over a restart.
pub fn is_static(config: &Config) -> bool {
    config.replica_id.is_some() && config.kafka.protocol == GroupProtocol::Classic
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
