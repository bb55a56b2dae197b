//! The only wiring: from a configuration to running actors, and from a stop to a receipt.
//!
//! [`App::start`] waits for store and cluster at most `startup.wait`, prepares both, and starts the children;
//! [`App::run_until_stopped`] lasts until the stop signal or the supervisor's verdict, then drains. Nothing else builds
//! actors, so tests, commands and programs that embed drover run the same thing.

mod children;
mod drills;
mod hold_orders;
mod operator;
mod prepare;
mod receipt;
mod scale;

pub use prepare::AppError;
pub use receipt::Receipt;

use crate::actors::drills::Outage;
use crate::actors::replica::ProcessFacts;
use crate::actors::shutdown::ShutDown;
use crate::actors::supervisor::{StartChild, SupervisionObserver, SupervisorHandle, start_supervisor};
use crate::board::{Board, Identity};
use crate::config::{Config, Escalation, EventsConfig, FieldMapping};
use crate::domain::event::Mapping;
use crate::domain::restart;
use crate::domain::status::{ChildKind, ChildStatus, ExitRecord};
use crate::http::{self, DrillSlot, HttpState, OperatorSlot};
use crate::metrics::Metrics;
use crate::processor::Processor;
use actix_web::dev::ServerHandle;
use children::Fleet;
use operator::AppOperator;
use std::collections::BTreeMap;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Threads of the runtime beyond one for each core where there are processors. One that blocks takes a thread away for good; the
/// others go on until the watchdog has ended its consumer, and afterwards. Without processors nothing blocks, and threads beyond
/// the cores only wake each other: at 20,000 events a second the median latency was a fifth higher.
const SPARE_WORKERS: usize = 4;

/// Time between two signs of life for `/health/live`.
const BEAT: Duration = Duration::from_secs(1);

/// What a program that embeds drover may add to a configuration.
#[derive(Default)]
pub struct Options {
    /// The step between decoding and storing.
    pub processor: Option<Arc<dyn Processor>>,
    /// How the brokers go away in a drill, where this program can make them; else they are made to look away.
    pub outage: Option<Outage>,
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
        let host = host_name();
        let replica_id = config.replica_id.clone().unwrap_or_else(|| host.clone());
        let identity = Identity {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            replica_id: replica_id.clone(),
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
        let (orders, rehearsals) = (OperatorSlot::default(), DrillSlot::new(&config.drills));
        let http = if config.http.enabled {
            let state = HttpState {
                board: Arc::clone(&board),
                metrics: metrics.clone(),
                config: config.http.clone(),
                operator: orders.clone(),
                drills: rehearsals.clone(),
            };
            let (server, addr) = http::serve(state).map_err(AppError::Http)?;
            let handle = server.handle();
            actix::spawn(server);
            Some((handle, addr))
        } else {
            None
        };
        let prepared = prepare::prepare(&config, &board.identity().replica_id).await?;
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
        let drills = drills::drills(&config, &prepared, &supervisor, (&board, &metrics), options.outage.clone());
        let facts = ProcessFacts {
            replica_id,
            host,
            http: http.as_ref().map(|(_, addr)| format!("http://{addr}/")),
            static_membership: children::is_static(&config),
        };
        let fleet = Arc::new(Fleet::new(config, prepared, Arc::clone(&board), metrics.clone(), options, facts)?);
        // Before anything joins the group: a second process that was started by mistake disturbs nobody and says why it ends.
        fleet.take_places().await?;
        for child in fleet.children() {
            let refused = |error: String| AppError::Internal(format!("a child could not be started: {error}"));
            supervisor
                .addr
                .send(StartChild(child))
                .await
                .map_err(|error| refused(error.to_string()))?
                .map_err(|error| refused(error.to_string()))?;
        }
        orders.set(Arc::new(AppOperator::new(supervisor.addr.clone(), fleet, grace)));
        if let Some(drills) = drills {
            rehearsals.set(drills);
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
/// Its threads live until the process ends. `processors` tells that what runs may have processors, which may block.
pub fn on_system<T>(processors: bool, work: impl Future<Output = T>) -> T {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).max(2);
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .worker_threads(cores + if processors { SPARE_WORKERS } else { 0 })
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
