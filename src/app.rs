//! The only wiring: from a configuration to running actors, and from a stop to a receipt.
//!
//! [`App::start`] waits for store and cluster at most `startup.wait`, prepares both, and starts the children;
//! [`App::run_until_stopped`] lasts until the stop signal or the supervisor's verdict, then drains. Nothing else builds
//! actors, so tests, commands and programs that embed drover run the same thing.

mod audit;
mod prepare;
mod receipt;

pub use prepare::AppError;
pub use receipt::Receipt;

use crate::actors::breaker::Breaker;
use crate::actors::child::ChildSpec;
use crate::actors::consumer::ConsumerTask;
use crate::actors::consumer::start::Starts;
use crate::actors::db_writer::{DbWriterTask, WriterPool};
use crate::actors::dead_letter::DeadLetterTask;
use crate::actors::memory::MemoryBudget;
use crate::actors::metrics::{EndOffsets, MetricsTask};
use crate::actors::shutdown::ShutDown;
use crate::actors::supervisor::{StartChild, SupervisionObserver, SupervisorHandle, start_supervisor};
use crate::board::{Board, Identity};
use crate::config::{Config, Escalation, EventsConfig, FieldMapping, GroupProtocol, RestartConfig};
use crate::domain::backoff::Backoff;
use crate::domain::event::Mapping;
use crate::domain::restart::{self, RestartPolicy};
use crate::domain::status::{ChildKind, ChildStatus, ExitRecord};
use crate::http::{self, HttpState};
use crate::metrics::Metrics;
use crate::processor::Processor;
use actix_web::dev::ServerHandle;
use prepare::Prepared;
use std::collections::BTreeMap;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Time between two signs of life for `/health/live`.
const BEAT: Duration = Duration::from_secs(1);

/// What a program that embeds drover may add to a configuration.
#[derive(Default)]
pub struct Options {
    /// The step between decoding and storing.
    pub processor: Option<Arc<dyn Processor>>,
}

/// A running drover.
pub struct App {
    board: Arc<Board>,
    metrics: Metrics,
    supervisor: SupervisorHandle,
    http: Option<(ServerHandle, SocketAddr)>,
    grace: Duration,
}

impl App {
    /// Starts everything. Must run on the thread of an `actix::System` over a multi-thread tokio runtime.
    ///
    /// # Errors
    /// The store or the cluster does not answer within `startup.wait`, refuses what it is asked, or belongs to another
    /// cluster or group; a topic is missing; the HTTP address cannot be bound.
    pub async fn start(config: Config, options: Options) -> Result<Self, AppError> {
        let metrics =
            Metrics::new().map_err(|error| AppError::Internal(format!("metrics cannot be declared: {error}")))?;
        let replica_id = config.replica_id.clone().unwrap_or_else(host_name);
        let identity = Identity {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            replica_id,
            group: config.kafka.group.clone(),
            topics: config.kafka.topics.clone(),
            store: config
                .store
                .url
                .split(':')
                .next()
                .map_or("", |scheme| if scheme == "sqlite" { "sqlite" } else { "postgres" })
                .to_owned(),
            cluster_id: None,
        };
        let board = Arc::new(Board::new(identity, chrono::Utc::now().timestamp_millis()));
        // First of all, so that a start that waits can be seen to wait.
        let http = if config.http.enabled {
            let state = HttpState { board: Arc::clone(&board), metrics: metrics.clone(), config: config.http.clone() };
            let (server, addr) = http::serve(state).map_err(AppError::Http)?;
            let handle = server.handle();
            actix::spawn(server);
            Some((handle, addr))
        } else {
            None
        };
        let prepared = prepare::prepare(&config).await?;
        board.set_cluster_id(prepared.identity.cluster_id.clone());
        board.set_store_ok(true);
        let observer = Observer { metrics: metrics.clone() };
        let escalation = match config.supervision.escalation {
            Escalation::KeepOthers => restart::Escalation::KeepOthers,
            Escalation::Exit => restart::Escalation::Exit,
        };
        let supervisor = start_supervisor(escalation, observer);
        let mut children = supervisor.children.clone();
        let shown = Arc::clone(&board);
        actix::spawn(async move {
            while children.changed().await.is_ok() {
                let now = children.borrow_and_update().as_ref().clone();
                shown.set_children(now);
            }
        });
        let beating = Arc::clone(&board);
        actix::spawn(async move {
            // On the System thread, like the supervisor: when it is wedged, so is this.
            let mut beat = tokio::time::interval(BEAT);
            loop {
                beat.tick().await;
                beating.beat();
            }
        });
        let grace = config.shutdown.grace;
        for child in children_of(&config, &prepared, &board, &metrics, options)? {
            let refused = |error: String| AppError::Internal(format!("a child could not be started: {error}"));
            supervisor
                .addr
                .send(StartChild(child))
                .await
                .map_err(|error| refused(error.to_string()))?
                .map_err(|error| refused(error.to_string()))?;
        }
        Ok(Self { board, metrics, supervisor, http, grace })
    }

    /// Where HTTP listens, if it does.
    #[must_use]
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|(_, addr)| *addr)
    }

    /// The live state.
    #[must_use]
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Works until `stop` is ready or the supervisor gives up, then drains within `shutdown.grace`.
    pub async fn run_until_stopped(self, stop: impl Future<Output = ()>) -> Receipt {
        let mut verdict = self.supervisor.verdict.clone();
        let verdict = tokio::select! {
            () = stop => None,
            given = async { verdict.wait_for(Option::is_some).await.ok().and_then(|verdict| verdict.clone()) } => given,
        };
        if let Some(verdict) = &verdict {
            tracing::error!(verdict = %verdict, "drover ends");
        }
        tracing::info!(grace_s = self.grace.as_secs_f64(), "draining");
        self.board.set_draining();
        let report = self.supervisor.addr.send(ShutDown { deadline: Instant::now() + self.grace }).await;
        let unfinished = match report {
            Ok(report) => report.unfinished,
            Err(error) => vec![format!("supervisor ({error})")],
        };
        // The last states are published by a task of this thread.
        tokio::task::yield_now().await;
        let receipt = Receipt::of(&self.board, &self.supervisor.children.borrow(), unfinished, verdict);
        if let Some((server, _)) = self.http {
            server.stop(false).await;
        }
        receipt
    }
}

/// Runs work on an actix System over a multi-thread tokio runtime: actors route on this thread, their tasks use all cores.
/// Its threads live until the process ends.
pub fn on_system<T>(work: impl Future<Output = T>) -> T {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("drover")
            .build()
            .expect("a process that cannot start threads cannot do anything")
    };
    // Dropping it would wait without end for whatever still blocks in the background, such as a client that cannot close
    // because its broker is away. Everything that must end has ended in time; the rest ends with the process.
    let system = ManuallyDrop::new(actix::System::with_tokio_rt(runtime));
    system.block_on(work)
}

/// Tells metrics of ends and restarts.
struct Observer {
    metrics: Metrics,
}

impl SupervisionObserver for Observer {
    fn on_exit(&self, _exit: &ExitRecord, _status: &ChildStatus) {}

    fn on_restart(&self, status: &ChildStatus) {
        let cause = status.last_exit.as_ref().map_or("requested", |exit| exit.reason.as_str());
        self.metrics.child_restarts.with_label_values(&[status.id.as_str(), status.kind.as_str(), cause]).inc();
        if status.kind == ChildKind::Consumer {
            self.metrics.consumer_restarts.with_label_values(&[status.id.as_str(), cause]).inc();
        }
    }
}

fn children_of(
    config: &Config,
    prepared: &Prepared,
    board: &Arc<Board>,
    metrics: &Metrics,
    options: Options,
) -> Result<Vec<ChildSpec>, AppError> {
    let breaker = Arc::new(Breaker::new(Arc::clone(board), metrics.clone()));
    // SQLite has one write lock: more writers would only wait for each other.
    let writers = if prepared.store.kind() == "sqlite" { 1 } else { config.store.writers };
    let pool = WriterPool::new(writers);
    // Half of the memory is for batches, the other half for what is fetched ahead.
    let budget = Arc::new(MemoryBudget::new(config.limits.memory / 2));
    let ends = Arc::new(EndOffsets::default());
    let dead_letters = Arc::new(Notify::new());
    let mut children = Vec::new();
    let metrics_task = {
        let (store, lookup, pool, budget) =
            (Arc::clone(&prepared.store), Arc::clone(&prepared.lookup), pool.clone(), Arc::clone(&budget));
        let (breaker, ends, board, metrics) =
            (Arc::clone(&breaker), Arc::clone(&ends), Arc::clone(board), metrics.clone());
        let publishes = config.dead_letters.publish;
        move || MetricsTask {
            store: Arc::clone(&store),
            lookup: Arc::clone(&lookup),
            pool: pool.clone(),
            budget: Arc::clone(&budget),
            breaker: Arc::clone(&breaker),
            ends: Arc::clone(&ends),
            board: Arc::clone(&board),
            metrics: metrics.clone(),
            publishes,
        }
    };
    children.push(ChildSpec::new("metrics", ChildKind::Metrics, policy(&config.supervision.metrics), metrics_task));
    children.extend(audit::audit_child(config, prepared, board, metrics, &board.identity().replica_id));
    if config.dead_letters.publish {
        let producer = prepare::dead_letter_producer(config)?;
        let (store, lookup, stored) =
            (Arc::clone(&prepared.store), Arc::clone(&prepared.lookup), Arc::clone(&dead_letters));
        let (topic, group, metrics) = (config.dead_letters.topic.clone(), config.kafka.group.clone(), metrics.clone());
        let task = move || DeadLetterTask {
            store: Arc::clone(&store),
            producer: Arc::clone(&producer),
            lookup: Arc::clone(&lookup),
            topic: topic.clone(),
            group: group.clone(),
            stored: Arc::clone(&stored),
            metrics: metrics.clone(),
        };
        children.push(ChildSpec::new(
            "dead-letter",
            ChildKind::DeadLetter,
            policy(&config.supervision.dead_letter),
            task,
        ));
    }
    for number in 1..=writers {
        let (store, pool, breaker, metrics) =
            (Arc::clone(&prepared.store), pool.clone(), Arc::clone(&breaker), metrics.clone());
        let probe = (config.store.probe_min, config.store.probe_max);
        let task = move || DbWriterTask {
            store: Arc::clone(&store),
            pool: pool.clone(),
            breaker: Arc::clone(&breaker),
            metrics: metrics.clone(),
            probe,
        };
        let id = format!("writer-{number}");
        children.push(ChildSpec::new(&id, ChildKind::DbWriter, policy(&config.supervision.db_writer), task));
    }
    let starts = Starts {
        lookup: Arc::clone(&prepared.lookup),
        store: Arc::clone(&prepared.store),
        start_from: config.kafka.start_from,
        store_id: prepared.identity.store_id.clone(),
    };
    let mappings = Arc::new(mappings(config));
    let kafka = Arc::new(config.kafka.clone());
    for id in &config.consumers.ids {
        metrics.init_consumer(id, &config.kafka.topics);
        let task = ConsumerTask {
            id: id.clone(),
            instance_id: instance_id(config, id),
            kafka: Arc::clone(&kafka),
            fetch_bytes: (config.limits.memory / 2 / config.consumers.ids.len()).max(config.limits.record_bytes),
            lanes: config.consumers.lanes,
            batch_rows: config.limits.batch_rows,
            batch_bytes: config.limits.batch_bytes,
            min_batch_age: config.consumers.min_batch_age,
            record_bytes: config.limits.record_bytes,
            mappings: Arc::clone(&mappings),
            starts: starts.clone(),
            pool: pool.clone(),
            budget: Arc::clone(&budget),
            breaker: Arc::clone(&breaker),
            dead_letters: Arc::clone(&dead_letters),
            processor: options.processor.clone(),
            ends: Arc::clone(&ends),
            board: Arc::clone(board),
            metrics: metrics.clone(),
            leave: config.shutdown.leave,
        };
        children
            .push(ChildSpec::new(id, ChildKind::Consumer, policy(&config.supervision.consumer), move || task.clone()));
    }
    Ok(children)
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

/// The mapping of a topic.
#[must_use]
pub fn mapping(events: &EventsConfig, topic: &str) -> Mapping {
    let FieldMapping { event_type, user_id, element_id, timestamp, required, store_tombstones } =
        events.topics.get(topic).unwrap_or(&events.default).clone();
    Mapping { event_type, user_id, element_id, timestamp, required, store_tombstones }
}

fn mappings(config: &Config) -> BTreeMap<String, Arc<Mapping>> {
    config.kafka.topics.iter().map(|topic| (topic.clone(), Arc::new(mapping(&config.events, topic)))).collect()
}

fn host_name() -> String {
    hostname::get().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".to_owned())
}
