//! A process of drover: the real consumers and writers of one replica, restarted when they end, that can be frozen or killed.

use crate::client::SimGroup;
use crate::log::TOPIC;
use crate::questions::SimCluster;
use crate::store::SimStore;
use crate::world::Sim;
use drover::actors::breaker::Breaker;
use drover::actors::consumer::ConsumerTask;
use drover::actors::consumer::start::Starts;
use drover::actors::db_writer::DbWriterTask;
use drover::actors::exit::ExitError;
use drover::actors::holds::Holds;
use drover::actors::lifecycle::{Control, Task};
use drover::actors::memory::MemoryBudget;
use drover::actors::writer_pool::WriterPool;
use drover::board::{Board, Identity};
use drover::config::StartFrom;
use drover::domain::event::Mapping;
use drover::domain::storm::StormLimits;
use drover::metrics::Metrics;
use prometheus::IntGaugeVec;
use prometheus::core::Collector as _;
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How long a drain may take in simulated time.
pub const GRACE: Duration = Duration::from_secs(20);

/// A partition that every process shows as stopped before it owns it.
const LEFT_BEHIND: i32 = 0;

/// Poison is frequent here, and what becomes of it is what is looked at.
const NO_STORM: StormLimits = StormLimits { consecutive: 0, ratio: 0.0, window: 1, release_after: Duration::ZERO };

/// Whether a process stands still.
#[derive(Default)]
pub struct Freezer {
    frozen: Mutex<(bool, Vec<Waker>)>,
}

impl Freezer {
    pub fn set(&self, frozen: bool) {
        let mut state = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = frozen;
        state.1.drain(..).for_each(Waker::wake);
    }

    /// A future that stands still with the process.
    async fn around<T>(self: Arc<Self>, inner: impl Future<Output = T>) -> T {
        let mut inner = std::pin::pin!(inner);
        std::future::poll_fn(|context| self.poll(inner.as_mut(), context)).await
    }

    fn poll<T>(&self, inner: Pin<&mut impl Future<Output = T>>, context: &mut Context<'_>) -> Poll<T> {
        {
            let mut state = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
            if state.0 {
                state.1.push(context.waker().clone());
                return Poll::Pending;
            }
        }
        inner.poll(context)
    }
}

/// A child that runs now.
struct Child {
    task: AbortHandle,
    drain: watch::Sender<Option<Instant>>,
}

pub struct Process {
    pub number: usize,
    sim: Sim,
    freezer: Arc<Freezer>,
    children: Arc<Mutex<BTreeMap<String, Child>>>,
    /// Orders to drain: to the consumers, to the writers.
    drains: [watch::Sender<Option<Instant>>; 2],
    supervisors: Vec<(String, tokio::task::JoinHandle<()>)>,
    metrics: Metrics,
}

/// What all children of a process share.
struct Parts {
    pool: WriterPool,
    breaker: Arc<Breaker>,
    budget: Arc<MemoryBudget>,
    board: Arc<Board>,
    metrics: Metrics,
    store: Arc<SimStore>,
}

impl Process {
    pub fn start(sim: &Sim, number: usize, incarnation: usize) -> Self {
        let plan = sim.lock().plan.clone();
        let metrics = Metrics::new().unwrap();
        // As of a task that had to be left behind with its thread: whoever owns the partition then knows better.
        metrics.set_partition_stopped(TOPIC, LEFT_BEHIND, "position.lost");
        let board = Arc::new(Board::new(Identity::default(), 0));
        let parts = Arc::new(Parts {
            pool: WriterPool::new(plan.writers),
            breaker: Arc::new(Breaker::new(Arc::clone(&board), metrics.clone())),
            budget: Arc::new(MemoryBudget::new(plan.memory)),
            board,
            metrics,
            store: Arc::new(SimStore(sim.clone())),
        });
        let metrics = parts.metrics.clone();
        let mut process = Self {
            metrics,
            number,
            sim: sim.clone(),
            freezer: Arc::default(),
            children: Arc::default(),
            drains: [watch::Sender::new(None), watch::Sender::new(None)],
            supervisors: Vec::new(),
        };
        for writer in 0..plan.writers {
            let parts = Arc::clone(&parts);
            process.supervise(format!("p{number}.{incarnation}/w{writer}"), move |_| DbWriterTask {
                store: Arc::clone(&parts.store) as _,
                pool: parts.pool.clone(),
                breaker: Arc::clone(&parts.breaker),
                metrics: parts.metrics.clone(),
                probe: (Duration::from_millis(100), Duration::from_secs(2)),
                jitter: 0.0,
            });
        }
        let mapping = Arc::new(mapping());
        for consumer in 0..plan.consumers {
            let (parts, sim, mapping) = (Arc::clone(&parts), sim.clone(), Arc::clone(&mapping));
            let plan = plan.clone();
            process.supervise(format!("p{number}.{incarnation}/c{consumer}"), move |id| ConsumerTask {
                id: id.to_owned(),
                instance_id: None,
                group: SimGroup { sim: sim.clone(), process: number },
                lanes: plan.lanes,
                batch_rows: plan.batch_rows,
                batch_bytes: plan.batch_bytes,
                min_batch_age: Duration::from_millis(plan.min_batch_age_ms),
                record_bytes: 1 << 20,
                mappings: Arc::new(BTreeMap::from([(TOPIC.to_owned(), Arc::clone(&mapping))])),
                starts: Starts {
                    lookup: Arc::new(SimCluster(sim.clone())),
                    store: Arc::clone(&parts.store) as _,
                    start_from: StartFrom::Earliest,
                    store_id: "store".into(),
                },
                pool: parts.pool.clone(),
                budget: Arc::clone(&parts.budget),
                breaker: Arc::clone(&parts.breaker),
                dead_letters: Arc::new(Notify::new()),
                processor: None,
                ends: Arc::default(),
                feed: Arc::default(),
                board: Arc::clone(&parts.board),
                metrics: parts.metrics.clone(),
                leave: Arc::new(AtomicBool::new(false)),
                holds: Arc::new(Holds::new(Arc::clone(&parts.store) as _, "replica")),
                place: None,
                storm: NO_STORM,
                watchdog_timeout: Duration::from_secs(30),
            });
        }
        process
    }

    /// Keeps a child running: each generation is made anew, under an id of its own.
    fn supervise<T: Task>(&mut self, name: String, make: impl Fn(&str) -> T + Send + 'static) {
        let (sim, freezer, children) = (self.sim.clone(), Arc::clone(&self.freezer), Arc::clone(&self.children));
        let child = name.clone();
        let order = self.drains[usize::from(name.contains("/w"))].subscribe();
        let metrics = self.metrics.clone();
        let supervisor = tokio::spawn(async move {
            for generation in 1.. {
                let id = format!("{child}.{generation}");
                let (control, drain) = Control::detached(&id);
                // Ordered while it was down: the next one hears of it.
                drain.send_replace(*order.borrow());
                let task = tokio::spawn(Arc::clone(&freezer).around(make(&id).run(control)));
                children
                    .lock()
                    .unwrap()
                    .insert(child.clone(), Child { task: task.abort_handle(), drain: drain.clone() });
                let ended = task.await;
                let drained = drain.borrow().is_some();
                let left = shown(&metrics.consumer_position_offset, "consumer_id").contains(&id);
                if left {
                    sim.lock().violated(format!("series outlive their consumer: {id}"));
                }
                if sim.ended(&id, ended, drained) {
                    break;
                }
                let pause = Duration::from_millis(sim.lock().rng.random_range(0..400));
                tokio::time::sleep(pause).await;
            }
        });
        self.supervisors.push((name, supervisor));
    }

    /// The partitions that its metrics show as stopped; the one of the mark that was left behind counts where it is owned.
    pub fn shown_stopped(&self) -> BTreeSet<i32> {
        let partitions = shown(&self.metrics.partitions_stopped, "partition");
        let partitions = partitions.iter().map(|number| number.parse().unwrap());
        let world = self.sim.lock();
        partitions.filter(|partition| *partition != LEFT_BEHIND || world.holds(self.number, *partition)).collect()
    }

    /// A former owner of its partitions ends late, and takes its series away.
    pub fn lose_marks(&self) {
        for partition in self.shown_stopped() {
            self.metrics.clear_partition("former", TOPIC, partition);
        }
    }

    pub fn freeze(&self, frozen: bool) {
        self.freezer.set(frozen);
        let mut world = self.sim.lock();
        let number = self.number;
        world.tell(|| format!("process {number} {}", if frozen { "stands still" } else { "goes on" }));
        if frozen {
            world.group.frozen.insert(number, Instant::now());
        } else {
            world.group.frozen.remove(&number);
        }
    }

    /// Ends one child, a consumer or a writer, where it stands.
    pub fn crash(&self, consumer: bool, which: usize) {
        let children = self.children.lock().unwrap();
        let kind = if consumer { "/c" } else { "/w" };
        let of_kind: Vec<_> = children.iter().filter(|(name, _)| name.contains(kind)).collect();
        if let Some((name, child)) = of_kind.get(which % of_kind.len().max(1)) {
            self.sim.lock().tell(|| format!("{name} crashes"));
            child.task.abort();
        }
    }

    /// Kills the process.
    pub fn kill(self) {
        let number = self.number;
        self.sim.lock().tell(|| format!("process {number} is killed"));
        self.supervisors.iter().for_each(|(_, supervisor)| supervisor.abort());
        self.children.lock().unwrap().values().for_each(|child| child.task.abort());
        self.sim.lock().group.frozen.remove(&number);
        self.freezer.set(false);
    }

    /// Stops it as a signal would: consumers first, then writers. Gives back the names of what did not end.
    pub async fn drain(self) -> Vec<String> {
        let number = self.number;
        self.sim.lock().tell(|| format!("process {number} drains"));
        let deadline = Instant::now() + GRACE;
        let mut left = Vec::new();
        let (consumers, writers): (Vec<_>, Vec<_>) =
            self.supervisors.into_iter().partition(|(name, _)| name.contains("/c"));
        for (children, order) in [consumers, writers].into_iter().zip(self.drains) {
            order.send_replace(Some(deadline));
            for (name, _) in &children {
                if let Some(child) = self.children.lock().unwrap().get(name) {
                    child.drain.send_replace(Some(deadline));
                }
            }
            for (name, mut supervisor) in children {
                if tokio::time::timeout_at(deadline + Duration::from_secs(1), &mut supervisor).await.is_err() {
                    supervisor.abort();
                    if let Some(child) = self.children.lock().unwrap().get(&name) {
                        child.task.abort();
                    }
                    left.push(name);
                }
            }
        }
        left
    }
}

impl Sim {
    /// Looks at how a child ended; gives back whether it was meant to.
    fn ended(&self, id: &str, ended: Result<Result<(), ExitError>, tokio::task::JoinError>, drained: bool) -> bool {
        let mut world = self.lock();
        // A join error names its task by a number that differs from run to run.
        world.tell(|| format!("{id} ended: {:?}", ended.as_ref().map_err(tokio::task::JoinError::is_panic)));
        match ended {
            Ok(Ok(())) if drained => return true,
            Ok(Ok(())) => world.violated(format!("a child ended without an order: {id}")),
            Ok(Err(error)) => {
                world.count("children that failed");
                if drained {
                    if world.calm {
                        world.violated(format!("a drain left something: {id}: {error:?}"));
                    }
                    return true;
                }
                if world.calm {
                    world.violated(format!("a child failed although nothing is wrong: {id}: {error:?}"));
                }
            }
            Err(error) if error.is_panic() => world.violated(format!("a child panicked: {id}: {error}")),
            Err(_) => world.count("crashes"),
        }
        false
    }
}

/// The values of a label in all series of a gauge.
fn shown(gauge: &IntGaugeVec, label: &str) -> Vec<String> {
    let families = gauge.collect();
    let labels = families.iter().flat_map(|family| family.get_metric()).flat_map(|metric| metric.get_label());
    labels.filter(|pair| pair.name() == label).map(|pair| pair.value().to_owned()).collect()
}

fn mapping() -> Mapping {
    Mapping {
        event_type: "event_type".into(),
        user_id: "user_id".into(),
        element_id: "element_id".into(),
        timestamp: "timestamp".into(),
        required: vec!["event_type".into()],
        store_tombstones: false,
    }
}
